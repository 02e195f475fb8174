//! Judgements beside the trials: derived, and replaced as a whole.

use std::collections::BTreeMap;

use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};

use super::TrialStore;
use super::read::{COLUMNS, JOINS, trial_at};
use super::write::{Table, intern};
use crate::record::canonical;
use crate::record::error::RecordError;
use crate::record::key::TrialKey;
use crate::record::packing::{pack_measurements, unpack_measurements};
use crate::record::trial::Trial;
use crate::stages::judge::RolloutJudgement;
use crate::units::{Horizon, NeuronId};

/// A trial with its judgement under one behaviour.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgedTrial {
    /// Name of the behaviour.
    pub behavior: String,
    /// Identifier of the prompt in the behaviour's set.
    pub prompt_id: String,
    /// The trial.
    pub trial: Trial,
    /// One entry per horizon, in the order in which they were judged.
    pub horizons: Vec<HorizonJudgement>,
}

/// The judgement of a rollout at one horizon.
#[derive(Clone, Debug, PartialEq)]
pub struct HorizonJudgement {
    /// The horizon.
    pub horizon: Horizon,
    /// Outcome class, `other`, or `collapse`.
    pub outcome: String,
    /// Whether the outcome counts as a flip.
    pub flipped: bool,
    /// The deciding rule.
    pub rule: String,
    /// Mean negative log-likelihood under the unsteered model (nats per token), kept to 1/1024.
    pub mean_nll: f64,
}

/// Which trials to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeuronFilter {
    /// All of them.
    All,
    /// Those of the unsteered model.
    Unsteered,
    /// Those of one neuron, at every dose.
    Only(NeuronId),
}

/// What a judgement says apart from its likelihood: few distinct values over all trials, so each is stored once.
#[derive(Serialize, Deserialize)]
struct StoredOutcome {
    horizon: Horizon,
    outcome: String,
    flipped: bool,
    rule: String,
}

impl TrialStore {
    /// Replaces all judgements in one transaction. Those of one trial under one behaviour must follow each other, horizons increasing.
    /// Behaviours and prompts are later read in the order in which they first appear here.
    ///
    /// # Errors
    /// If a judgement is of a trial that is not recorded, or its likelihood is not finite; the earlier judgements then stay.
    pub fn replace_judgements(
        &mut self,
        judgements: impl IntoIterator<Item = RolloutJudgement>,
    ) -> Result<(), RecordError> {
        let path = self.path.clone();
        let error = |source| RecordError::store("record judgements", &path, source);
        let transaction = self.connection.transaction().map_err(error)?;
        transaction
            .execute_batch("DELETE FROM judgements; DELETE FROM outcomes; DELETE FROM names;")
            .map_err(error)?;
        let mut group: Vec<RolloutJudgement> = Vec::new();
        for judgement in judgements {
            check(&judgement)?;
            if group
                .last()
                .is_some_and(|last| !same_trial(last, &judgement))
            {
                insert_group(&transaction, &group)
                    .map_err(error)?
                    .ok_or_else(|| unknown(&group[0]))?;
                group.clear();
            }
            group.push(judgement);
        }
        if !group.is_empty() {
            insert_group(&transaction, &group)
                .map_err(error)?
                .ok_or_else(|| unknown(&group[0]))?;
        }
        transaction.commit().map_err(error)
    }

    /// Calls `visit` with every judged trial, one at a time in memory: by behaviour, then neuron (the unsteered model first), dose, prompt.
    ///
    /// # Errors
    /// If the store cannot be read, and whatever `visit` fails with.
    pub fn for_each_judged<E: From<RecordError>>(
        &self,
        behavior: Option<&str>,
        neurons: NeuronFilter,
        mut visit: impl FnMut(JudgedTrial) -> Result<(), E>,
    ) -> Result<(), E> {
        let error = |source| E::from(self.error("read its judgements", source));
        let (names, outcomes) = self.shared_values().map_err(error)?;
        // Only these small rows are sorted (on disk where they are many); each trial is then read by its number.
        let mut order = self
            .connection
            .prepare(
                "SELECT behavior, prompt_id, outcome, mean_nll, trial FROM judgements JOIN trials ON trials.id = trial
                 WHERE (?1 IS NULL OR behavior = (SELECT id FROM names WHERE name = ?1))
                   AND (?2 IS NULL OR layer = ?2 AND neuron = ?3) AND (NOT ?4 OR layer IS NULL)
                 ORDER BY behavior, layer, neuron, dose, prompt_id, trial",
            )
            .map_err(error)?;
        let neuron = match neurons {
            NeuronFilter::Only(neuron) => Some(neuron),
            NeuronFilter::All | NeuronFilter::Unsteered => None,
        };
        let filter = params![
            behavior,
            neuron.map(|n| n.layer as i64),
            neuron.map(|n| n.index as i64),
            neurons == NeuronFilter::Unsteered,
        ];
        let mut rows = order.query(filter).map_err(error)?;
        while let Some(row) = rows.next().map_err(error)? {
            let stored = StoredJudgement::read(row).map_err(error)?;
            let damaged = || self.integrity("a judgement cannot be read: the file was changed");
            let judged = StoredJudgement::name(&stored, &names, &outcomes).ok_or_else(damaged)?;
            let trial = self.trial_by_number(stored.trial)?;
            visit(judged.with(trial))?;
        }
        Ok(())
    }

    fn trial_by_number(&self, number: i64) -> Result<Trial, RecordError> {
        let error = |source| self.error("read a trial", source);
        let sql = format!("SELECT {COLUMNS} FROM (SELECT ?1 AS trial) {JOINS}");
        let mut statement = self.connection.prepare_cached(&sql).map_err(error)?;
        statement
            .query_row([number], |row| Ok(trial_at(row, &self.path)))
            .map_err(error)?
    }

    fn shared_values(&self) -> rusqlite::Result<(Shared, Shared)> {
        let read = |sql| {
            let mut statement = self.connection.prepare(sql)?;
            let values = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
            values.collect::<rusqlite::Result<Shared>>()
        };
        Ok((
            read("SELECT id, name FROM names")?,
            read("SELECT id, json FROM outcomes")?,
        ))
    }
}

/// Shared values by number.
type Shared = BTreeMap<i64, String>;

/// A row of `judgements`.
struct StoredJudgement {
    behavior: i64,
    prompt_id: i64,
    outcome: i64,
    mean_nll: Vec<u8>,
    trial: i64,
}

/// A judgement with its names, still without its trial.
struct Named {
    behavior: String,
    prompt_id: String,
    horizons: Vec<HorizonJudgement>,
}

impl StoredJudgement {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            behavior: row.get(0)?,
            prompt_id: row.get(1)?,
            outcome: row.get(2)?,
            mean_nll: row.get(3)?,
            trial: row.get(4)?,
        })
    }

    fn name(&self, names: &Shared, outcomes: &Shared) -> Option<Named> {
        let stored: Vec<StoredOutcome> = serde_json::from_str(outcomes.get(&self.outcome)?).ok()?;
        let mean_nll = unpack_measurements(&self.mean_nll, false)?;
        if mean_nll.len() != stored.len() {
            return None;
        }
        let horizons = stored
            .into_iter()
            .zip(mean_nll)
            .map(|(at, mean_nll)| HorizonJudgement {
                horizon: at.horizon,
                outcome: at.outcome,
                flipped: at.flipped,
                rule: at.rule,
                mean_nll: mean_nll.into(),
            });
        Some(Named {
            behavior: names.get(&self.behavior)?.clone(),
            prompt_id: names.get(&self.prompt_id)?.clone(),
            horizons: horizons.collect(),
        })
    }
}

impl Named {
    fn with(self, trial: Trial) -> JudgedTrial {
        JudgedTrial {
            behavior: self.behavior,
            prompt_id: self.prompt_id,
            trial,
            horizons: self.horizons,
        }
    }
}

fn same_trial(one: &RolloutJudgement, other: &RolloutJudgement) -> bool {
    (&one.trial, &one.behavior, &one.prompt_id) == (&other.trial, &other.behavior, &other.prompt_id)
}

/// Records the judgements of one trial under one behaviour; `None` when the trial is not recorded.
fn insert_group(
    connection: &Connection,
    group: &[RolloutJudgement],
) -> rusqlite::Result<Option<()>> {
    let first = &group[0];
    let Ok(key) = first.trial.parse::<TrialKey>() else {
        return Ok(None);
    };
    let mut find = connection.prepare_cached("SELECT trial FROM keys WHERE key = ?1")?;
    let mut found = find.query([key.bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let trial: i64 = row.get(0)?;
    let stored: Vec<StoredOutcome> = group.iter().map(StoredOutcome::of).collect();
    let mean_nll: Vec<f32> = group.iter().map(|at| at.mean_nll as f32).collect();
    connection
        .prepare_cached(
            "INSERT INTO judgements (behavior, trial, prompt_id, outcome, mean_nll) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![
            intern(connection, Table::Names, &first.behavior)?,
            trial,
            intern(connection, Table::Names, &first.prompt_id)?,
            intern(connection, Table::Outcomes, &canonical::json(&stored))?,
            pack_measurements(&mean_nll, false),
        ])?;
    Ok(Some(()))
}

impl StoredOutcome {
    fn of(judgement: &RolloutJudgement) -> Self {
        Self {
            horizon: judgement.horizon,
            outcome: judgement.outcome.clone(),
            flipped: judgement.flipped,
            rule: judgement.rule.clone(),
        }
    }
}

fn check(judgement: &RolloutJudgement) -> Result<(), RecordError> {
    if judgement.mean_nll.abs() <= 1e6 {
        return Ok(());
    }
    Err(RecordError::Unrecordable {
        trial: judgement.trial.clone(),
        problem: format!(
            "its mean negative log-likelihood at horizon {} is {}",
            judgement.horizon, judgement.mean_nll
        ),
    })
}

fn unknown(judgement: &RolloutJudgement) -> RecordError {
    RecordError::Unrecordable {
        trial: judgement.trial.clone(),
        problem: "it was judged, and is not in the store".into(),
    }
}
