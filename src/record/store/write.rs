//! Recording trials.

use std::time::{Duration, Instant};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};

use super::TrialStore;
use crate::fault;
use crate::record::canonical;
use crate::record::error::RecordError;
use crate::record::packing::{pack_measurements, pack_tokens};
use crate::record::trial::Trial;
use crate::spec::coherence::RepetitionSpec;
use crate::spec::doses::{Apply, StepWindow};
use crate::spec::rollout::SampleSpec;

/// What many trials have in common, stored once as canonical JSON.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting {
    /// Fingerprint of the model.
    pub model: String,
    /// Steered positions; absent for clean rollouts, like `window`.
    pub apply: Option<Apply>,
    pub window: Option<StepWindow>,
    pub horizon: usize,
    pub stop_at_end: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_at_loop: Option<RepetitionSpec>,
    pub sample: Option<SampleSpec>,
}

impl TrialStore {
    /// Records trials in one transaction: all of them, or none. A trial that is there already is left as it is.
    ///
    /// # Errors
    /// If the file cannot be written; or if a recorded trial has the same key and another rollout, which cannot happen on one
    /// machine: a file was changed, or two machines do not agree.
    pub fn insert(&mut self, trials: &[Trial]) -> Result<(), RecordError> {
        let path = self.path.clone();
        let error = |source| RecordError::store("record trials", &path, source);
        let transaction = self.connection.transaction().map_err(error)?;
        let mut present = Vec::new();
        for trial in trials {
            if !insert_one(&transaction, trial).map_err(error)? {
                present.push(trial);
            }
        }
        // Compared before the commit, so that a contradiction leaves the store as it was.
        for trial in present {
            super::read::get(&transaction, &path, &trial.key())?
                .filter(|recorded| recorded == trial)
                .ok_or_else(|| contradiction(&path, trial))?;
        }
        fault::point();
        transaction.commit().map_err(error)?;
        fault::point();
        Ok(())
    }

    /// A writer that records trials in batches.
    pub fn writer(&mut self) -> TrialWriter<'_> {
        TrialWriter {
            store: self,
            pending: Vec::new(),
            committed: Instant::now(),
        }
    }
}

/// Records trials as they finish: in batches of at most [`TrialWriter::BATCH`], none waiting for longer than about
/// [`TrialWriter::WAIT`] while others finish. Call [`TrialWriter::finish`] at the end: what is pending on drop is lost.
pub struct TrialWriter<'a> {
    store: &'a mut TrialStore,
    pending: Vec<Trial>,
    committed: Instant,
}

impl TrialWriter<'_> {
    /// Most trials in one transaction.
    pub const BATCH: usize = 1024;
    /// Longest time between two transactions while trials finish.
    pub const WAIT: Duration = Duration::from_secs(1);

    /// Takes a finished trial.
    ///
    /// # Errors
    /// Those of [`TrialStore::insert`].
    pub fn push(&mut self, trial: Trial) -> Result<(), RecordError> {
        self.pending.push(trial);
        if self.pending.len() >= Self::BATCH || self.committed.elapsed() >= Self::WAIT {
            self.commit()?;
        }
        Ok(())
    }

    /// Records what is pending.
    ///
    /// # Errors
    /// Those of [`TrialStore::insert`].
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.commit()
    }

    fn commit(&mut self) -> Result<(), RecordError> {
        self.store.insert(&self.pending)?;
        self.pending.clear();
        self.committed = Instant::now();
        Ok(())
    }
}

/// Appends a trial unless its key is there; says whether it was appended.
fn insert_one(connection: &Connection, trial: &Trial) -> rusqlite::Result<bool> {
    let key = trial.key();
    let mut known = connection.prepare_cached("SELECT 1 FROM keys WHERE key = ?1")?;
    if known.exists([key.bytes()])? {
        return Ok(false);
    }
    let (cell, rollout, steering) = (trial.cell(), trial.rollout(), trial.steering());
    let prompt = intern(connection, Table::Prompts, &pack_tokens(cell.prompt))?;
    let setting = intern(
        connection,
        Table::Settings,
        &canonical::json(&Setting {
            model: trial.model().as_str().to_owned(),
            apply: steering.map(|s| s.apply),
            window: steering.and_then(|s| s.window),
            horizon: cell.horizon,
            stop_at_end: cell.stop_at_end,
            stop_at_loop: cell.stop_at_loop,
            sample: cell.sample.map(|(spec, _)| spec),
        }),
    )?;
    connection
        .prepare_cached(
            "INSERT INTO trials (prompt, setting, layer, neuron, dose, seed, ended, tokens, nll, cosines, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        )?
        .execute(params![
            prompt,
            setting,
            steering.map(|s| s.neuron.layer as i64),
            steering.map(|s| s.neuron.index as i64),
            steering.map(|s| f64::from(s.dose.0)),
            cell.sample.map(|(_, seed)| seed.cast_signed()),
            rollout.ended,
            pack_tokens(&rollout.tokens),
            pack_measurements(&rollout.nll, false),
            pack_measurements(&rollout.cosines, true),
            trial.text(),
        ])?;
    connection
        .prepare_cached("INSERT INTO keys (key, trial) VALUES (?1, ?2)")?
        .execute(params![key.bytes(), connection.last_insert_rowid()])?;
    Ok(true)
}

/// Tables of values that many rows share.
#[derive(Clone, Copy)]
pub(super) enum Table {
    Prompts,
    Settings,
    Names,
    Outcomes,
}

/// The number of a shared value, which is added where it is new.
pub(super) fn intern(
    connection: &Connection,
    table: Table,
    value: &dyn rusqlite::ToSql,
) -> rusqlite::Result<i64> {
    let (find, add) = match table {
        Table::Prompts => (
            "SELECT id FROM prompts WHERE tokens = ?1",
            "INSERT INTO prompts (tokens) VALUES (?1)",
        ),
        Table::Settings => (
            "SELECT id FROM settings WHERE json = ?1",
            "INSERT INTO settings (json) VALUES (?1)",
        ),
        Table::Names => (
            "SELECT id FROM names WHERE name = ?1",
            "INSERT INTO names (name) VALUES (?1)",
        ),
        Table::Outcomes => (
            "SELECT id FROM outcomes WHERE json = ?1",
            "INSERT INTO outcomes (json) VALUES (?1)",
        ),
    };
    let found = connection
        .prepare_cached(find)?
        .query_row([value], |row| row.get(0))
        .optional()?;
    match found {
        Some(id) => Ok(id),
        None => connection.prepare_cached(add)?.insert([value]),
    }
}

fn contradiction(path: &std::path::Path, trial: &Trial) -> RecordError {
    RecordError::integrity(
        path,
        format!(
            "trial {} is recorded with another rollout than the one just made; \
             the store was changed, or was written on a machine that computes differently: start over with --fresh",
            trial.key()
        ),
    )
}
