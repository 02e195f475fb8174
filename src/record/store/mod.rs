//! The trial store: every rollout of a run, in one SQLite file that other tools can read (see `schema.sql`).
//!
//! *Durability.* A rollback journal that is deleted at each commit, with full synchronisation: a commit survives `kill -9` and power
//! loss, nothing is left beside the file after a clean close, and the file can be read from read-only folders and written on network
//! file systems. (A write-ahead log needs shared memory, which those lack, and two more files to be copied with the database.)
//!
//! *Size.* New trials are appended; their keys stand in a small index of their own.

mod judged;
mod judging;
mod merge;
mod read;
#[cfg(test)]
mod tests;
mod write;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};

pub use judged::{HorizonJudgement, JudgedTrial, NeuronFilter};
pub use judging::JudgementWriter;
pub use read::StoreDigest;
pub use write::TrialWriter;

use super::error::RecordError;
use super::reading::check_is_file;
use crate::{fault, files};

/// Version of the tables, in `user_version`.
const VERSION: i64 = 2;

/// Pages of the file that are kept in memory, in KiB.
const CACHE: i64 = 32 << 10;

/// `RchS` in `application_id`: tells a trial store from other SQLite files.
const APPLICATION: i64 = 0x5263_6853;

/// Longest text, blob or row, in bytes: a rollout has thousands of tokens, not millions.
const LONGEST: i32 = 16 << 20;

/// The trials of a run, and their judgements.
pub struct TrialStore {
    connection: Connection,
    path: PathBuf,
}

impl TrialStore {
    /// Opens a store for writing, and creates it where there is none.
    ///
    /// # Errors
    /// If the file cannot be opened, is damaged, or is no trial store of this version.
    pub fn open_or_create(path: &Path) -> Result<Self, RecordError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut store = Self::connect(path, flags)?;
        store.set_up().map_err(|e| store.error("be set up", e))?;
        if store.is_blank()? {
            store
                .create_tables()
                .map_err(|e| store.error("be created", e))?;
        }
        store.check_kind()?;
        Ok(store)
    }

    /// Opens a store for reading. A transaction that a killed run left half written is rolled back first, which needs permission to write.
    ///
    /// # Errors
    /// If there is no such file, or it is damaged or no trial store of this version.
    pub fn open_read_only(path: &Path) -> Result<Self, RecordError> {
        if beside(path, "-journal").exists() {
            let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            store.is_blank()?;
        }
        let store = Self::connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        store.check_kind()?;
        Ok(store)
    }

    /// Whether a file begins as a store does. Not while this process has it open: on closing it, the operating system would drop its locks.
    pub fn is_at(path: &Path) -> bool {
        let mut header = [0; 72];
        let read = files::open(path).and_then(|mut file| file.read_exact(&mut header));
        let ours = header[68..] == APPLICATION.to_be_bytes()[4..];
        read.is_ok() && header.starts_with(b"SQLite format 3\0") && ours
    }

    /// Where the store lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn connect(path: &Path, flags: OpenFlags) -> Result<Self, RecordError> {
        refuse_what_is_no_file(path)?;
        let error = |source| RecordError::store("be opened", path, source);
        let connection = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
            .map_err(error)?;
        // Whoever made the file may have made it compute its values as they are read.
        (connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, LONGEST)).map_err(error)?;
        // Other programs may look at the store while it is written.
        connection
            .busy_timeout(Duration::from_secs(30))
            .map_err(error)?;
        // Enough for the keys of a million trials, which are looked up in random order.
        connection
            .pragma_update(None, "cache_size", -CACHE)
            .map_err(error)?;
        Ok(Self {
            connection,
            path: path.to_owned(),
        })
    }

    fn set_up(&self) -> rusqlite::Result<()> {
        self.connection.execute_batch(
            "PRAGMA journal_mode = DELETE; PRAGMA synchronous = FULL; PRAGMA foreign_keys = OFF;
             PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        )
    }

    /// Whether the file holds nothing yet: new, or its creator was killed before the tables were committed.
    fn is_blank(&self) -> Result<bool, RecordError> {
        let tables = self
            .connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| {
                row.get::<_, i64>(0)
            });
        tables
            .map(|count| count == 0)
            .map_err(|e| self.error("be read", e))
    }

    fn create_tables(&mut self) -> rusqlite::Result<()> {
        let transaction = self.connection.transaction()?;
        transaction.execute_batch(&schema())?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        fault::point();
        transaction.commit()?;
        fault::point();
        Ok(())
    }

    fn check_kind(&self) -> Result<(), RecordError> {
        let pragma = |name| {
            let value = self
                .connection
                .pragma_query_value(None, name, |row| row.get::<_, i64>(0));
            value.map_err(|e| self.error("be read", e))
        };
        if pragma("application_id")? != APPLICATION {
            return Err(self.integrity(
                "this is no trial store of reachspec; choose another folder with --out",
            ));
        }
        match pragma("user_version")? {
            VERSION => self.check_schema(),
            other => Err(self.integrity(format!(
                "the trial store has version {other}, this program reads version {VERSION} (since version 2 the deciding bytes of a text stand beside its judgement); use the program that wrote it, or start anew with --fresh"
            ))),
        }
    }

    /// Tables and indices are those that this program makes, and nothing happens when a table is written to. Views have their names, and
    /// are made anew with the judgements ([`Self::replace_judgements`]): other versions of this program word them in other ways.
    fn check_schema(&self) -> Result<(), RecordError> {
        let failed = |e| self.error("be read", e);
        let expected = expected_schema().map_err(failed)?;
        let mut found = schema_of(&self.connection).map_err(failed)?;
        let damaged = |problem: String| {
            self.integrity(format!(
                "the trial store {problem}: the file was changed; restore it from a copy, or start anew with `--fresh`"
            ))
        };
        for (name, (kind, sql)) in &expected {
            match found.remove(name) {
                None => return Err(damaged(format!("has no {kind} `{name}`"))),
                Some((other, _)) if other == "view" && kind == "view" => {}
                Some(found) if found != (kind.clone(), sql.clone()) => {
                    return Err(damaged(format!(
                        "has another {kind} `{name}` than reachspec makes"
                    )));
                }
                Some(_) => {}
            }
        }
        match found.first_key_value() {
            None => Ok(()),
            Some((name, (kind, _))) => Err(damaged(format!(
                "has the {kind} `{name}`, which reachspec does not make"
            ))),
        }
    }

    /// Makes the views anew that are not as this program words them: whoever queries one is told what the rollouts say.
    fn renew_views(&self) -> rusqlite::Result<()> {
        let found = schema_of(&self.connection)?;
        let views = expected_schema()?
            .into_iter()
            .filter(|(_, (kind, _))| kind == "view");
        for (name, view) in views.filter(|(name, view)| found.get(name) != Some(view)) {
            let sql = view.1.unwrap_or_default();
            (self.connection).execute_batch(&format!("DROP VIEW IF EXISTS {name}; {sql};"))?;
        }
        Ok(())
    }

    fn error(&self, action: &'static str, source: rusqlite::Error) -> RecordError {
        RecordError::store(action, &self.path, source)
    }

    fn integrity(&self, problem: impl Into<String>) -> RecordError {
        RecordError::integrity(&self.path, problem)
    }
}

/// The statements that make the tables and views of a store.
fn schema() -> String {
    ["prompts.tokens", "trials.tokens", "judgements.spans"]
        .iter()
        .fold(include_str!("schema.sql").to_owned(), |schema, blob| {
            let expression = include_str!("unpacked.sql").replace("BLOB", blob);
            schema.replace(&format!("unpacked({blob})"), expression.trim_end())
        })
}

/// By its name, the kind of everything that a database has, and the statement that made it.
type Schema = BTreeMap<String, (String, Option<String>)>;

/// What a store has, from one in memory.
fn expected_schema() -> rusqlite::Result<Schema> {
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(&schema())?;
    schema_of(&connection)
}

fn schema_of(connection: &Connection) -> rusqlite::Result<Schema> {
    let mut statement = connection.prepare("SELECT name, type, sql FROM sqlite_schema")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    rows.collect()
}

/// A file that SQLite keeps beside a store.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// SQLite opens the store and what lies beside it under its name, whatever that is: it would wait for a pipe for ever. (Nothing is opened to
/// find out: on closing it, the operating system would drop the locks that this process has on the store.)
fn refuse_what_is_no_file(path: &Path) -> Result<(), RecordError> {
    let paths = ["", "-journal", "-wal", "-shm"].map(|ending| beside(path, ending));
    (paths.iter())
        .filter(|path| path.exists() || path.is_symlink())
        .try_for_each(|path| check_is_file(path))
}
