//! What can go wrong with a record: what, where, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// What kind of failure it is; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request cannot be met: no such run, or it has not finished (exit 2).
    Usage,
    /// The record could not be read or written, or was given numbers that cannot be recorded (exit 4).
    Failed,
    /// The record is not what was written, or contradicts itself (exit 5).
    Integrity,
}

/// A failure of the run folder.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The folder is not one that the command can use.
    #[error("{}: {problem}", path.display())]
    Unusable {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Another process writes to the folder.
    #[error(
        "{} is in use by process {pid}, started {since}; wait until it ends, stop it, or choose another folder with --out",
        path.display()
    )]
    Locked {
        /// The run folder.
        path: PathBuf,
        /// Process that holds the lock, as it said itself.
        pid: String,
        /// When it took the lock, as it said itself.
        since: String,
    },
    /// The folder is another one than the run began in.
    #[error(
        "{}: this is not the folder any more in which the run began: its disk has vanished, or somebody moved or removed it; bring it back and run the same command again: what was recorded is kept in it",
        path.display()
    )]
    Vanished {
        /// The run folder.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action} {}: {remedy}", path.display())]
    Io {
        /// What was tried, such as `write`.
        action: &'static str,
        /// The folder or file.
        path: PathBuf,
        /// What to do.
        remedy: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The trial store failed.
    #[error("{}: the trial store could not {action}: {remedy}", path.display())]
    Store {
        /// The store.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What to do.
        remedy: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A rollout that cannot be recorded.
    #[error("the rollout of {trial} cannot be recorded: {problem}")]
    Unrecordable {
        /// Which rollout.
        trial: String,
        /// Why.
        problem: String,
    },
    /// A result with a number that JSON cannot hold.
    #[error("{} {problem}", path.display())]
    Number {
        /// The file that was to hold it.
        path: PathBuf,
        /// Which number.
        problem: String,
    },
    /// A file of the record does not hold what was written, or contradicts another.
    #[error("{}: {problem}", path.display())]
    Integrity {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
}

impl RecordError {
    /// What kind of failure it is.
    pub fn kind(&self) -> ErrorKind {
        match self {
            RecordError::Unusable { .. } => ErrorKind::Usage,
            RecordError::Locked { .. }
            | RecordError::Vanished { .. }
            | RecordError::Io { .. }
            | RecordError::Number { .. }
            | RecordError::Unrecordable { .. } => ErrorKind::Failed,
            RecordError::Store { source, .. } => match source.sqlite_error_code() {
                // A text that is too big was not written by this program.
                Some(
                    rusqlite::ErrorCode::DatabaseCorrupt
                    | rusqlite::ErrorCode::NotADatabase
                    | rusqlite::ErrorCode::TooBig,
                ) => ErrorKind::Integrity,
                _ => ErrorKind::Failed,
            },
            RecordError::Integrity { .. } => ErrorKind::Integrity,
        }
    }

    /// A folder or file that the command cannot use.
    pub fn unusable(path: &Path, problem: impl Into<String>) -> Self {
        RecordError::Unusable {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// An operating-system error, with its remedy.
    pub fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        RecordError::Io {
            action,
            path: path.to_owned(),
            remedy: io_remedy(action, source.kind()),
            source,
        }
    }

    /// An SQLite error, with its remedy. A value of another kind than the program writes is one that somebody changed.
    pub fn store(action: &'static str, path: &Path, source: rusqlite::Error) -> Self {
        if is_of_another_kind(&source) {
            let problem = format!(
                "the trial store could not {action}: {source}; the file was changed: restore it from a copy, or start anew with `--fresh`"
            );
            return Self::integrity(path, problem);
        }
        RecordError::Store {
            action,
            path: path.to_owned(),
            remedy: match source.sqlite_error() {
                Some(error) if error.extended_code == rusqlite::ffi::SQLITE_READONLY_DBMOVED => {
                    "its disk has vanished, or somebody moved or removed it; bring it back and run the same command again: what was recorded is kept in it"
                }
                _ => store_remedy(source.sqlite_error_code()),
            },
            source,
        }
    }

    /// A file that is not as it was written.
    pub fn integrity(path: &Path, problem: impl Into<String>) -> Self {
        RecordError::Integrity {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }
}

/// Whether a row was read, and holds a value that is not of the type, length or range of its column.
pub(super) fn is_of_another_kind(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    matches!(
        error,
        InvalidColumnType(..) | FromSqlConversionFailure(..) | IntegralValueOutOfRange(..)
    )
}

fn io_remedy(action: &str, kind: io::ErrorKind) -> &'static str {
    use io::ErrorKind::{
        AlreadyExists, IsADirectory, NotADirectory, NotFound, PermissionDenied, QuotaExceeded,
        ReadOnlyFilesystem, StorageFull, Unsupported,
    };
    match kind {
        PermissionDenied if ["read", "list"].contains(&action) => {
            "it may not be read; change its permissions"
        }
        PermissionDenied => "change its permissions, or choose another folder with --out",
        ReadOnlyFilesystem => "its file system is read-only; choose another folder with --out",
        StorageFull | QuotaExceeded => {
            "the disk is full; free some space and run the same command again: what was recorded is kept"
        }
        NotFound => "it does not exist, or has vanished",
        AlreadyExists => {
            "a file of that name is in the way; move it, or choose another folder with --out"
        }
        IsADirectory => "it is a folder, and a file is to be written; give the name of a file",
        NotADirectory => "a part of the path is a file; choose another folder with --out",
        Unsupported => "the file system cannot do this; choose a folder on another one with --out",
        _ => "solve what the system says and run the same command again: what was recorded is kept",
    }
}

fn store_remedy(code: Option<rusqlite::ErrorCode>) -> &'static str {
    use rusqlite::ErrorCode::{
        CannotOpen, DatabaseBusy, DatabaseCorrupt, DatabaseLocked, DiskFull, NotADatabase,
        PermissionDenied, ReadOnly,
    };
    match code {
        Some(DiskFull) => {
            "the disk is full; free some space and run the same command again: what was recorded is kept"
        }
        Some(ReadOnly | PermissionDenied) => {
            "it cannot be written; change the permissions of file and folder, or choose another folder with --out"
        }
        Some(CannotOpen) => "it does not exist or may not be opened; check path and permissions",
        Some(DatabaseBusy | DatabaseLocked) => "another program is using it; close that first",
        Some(DatabaseCorrupt | NotADatabase) => {
            "the file is damaged; restore it from a copy, or start over with --fresh"
        }
        _ => "what was committed before is kept; run the same command again",
    }
}
