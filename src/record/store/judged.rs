//! Reading the judgements beside the trials.

use std::collections::BTreeMap;

use rusqlite::{OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::TrialStore;
use super::judging::unpack_spans;
use super::read::{COLUMNS, JOINS, trial_at};
use crate::oracles::Span;
use crate::record::error::RecordError;
use crate::record::key::TrialKey;
use crate::record::packing::{kept, unpack_measurements};
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
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HorizonJudgement {
    /// The horizon.
    pub horizon: Horizon,
    /// Outcome class, `other`, or `collapse`.
    pub outcome: String,
    /// Whether the outcome counts as a flip.
    pub flipped: bool,
    /// The deciding rule.
    pub rule: String,
    /// The bytes that decided, in the text up to the horizon; see [`RolloutJudgement::span`].
    pub span: Option<Span>,
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

/// What a judgement says apart from its likelihood and its span: few distinct values over all trials, so each is stored once.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredOutcome {
    horizon: Horizon,
    outcome: String,
    flipped: bool,
    rule: String,
}

impl TrialStore {
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
                "SELECT behavior, prompt_id, outcome, mean_nll, spans, trial FROM judgements JOIN trials ON trials.id = trial
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

    /// The judgements of one trial under one behaviour; `None` when there are none.
    ///
    /// # Errors
    /// If the store cannot be read, or they are damaged.
    pub fn judgements_of(
        &self,
        key: &TrialKey,
        behavior: &str,
        prompt_id: &str,
    ) -> Result<Option<Vec<HorizonJudgement>>, RecordError> {
        let read = || {
            self.connection
                .prepare_cached(
                    "SELECT json, mean_nll, spans FROM judgements JOIN outcomes ON outcomes.id = outcome
                     WHERE behavior = (SELECT id FROM names WHERE name = ?1)
                       AND trial = (SELECT trial FROM keys WHERE key = ?2)
                       AND prompt_id = (SELECT id FROM names WHERE name = ?3)",
                )?
                .query_row(params![behavior, key.bytes(), prompt_id], |row| {
                    let (json, mean_nll, spans): (String, Vec<u8>, Option<Vec<u8>>) = row.try_into()?;
                    Ok(horizons(&json, &mean_nll, spans.as_deref()))
                })
                .optional()
        };
        match read().map_err(|e| self.error("read a judgement", e))? {
            None => Ok(None),
            Some(Some(horizons)) => Ok(Some(horizons)),
            Some(None) => Err(self.integrity(format!(
                "the judgement of trial {key} under `{behavior}` cannot be read: the file was changed"
            ))),
        }
    }

    /// Number of rollouts that are judged, each behaviour counted by itself.
    pub fn judged_count(&self) -> Result<usize, RecordError> {
        let count = self
            .connection
            .query_row("SELECT count(*) FROM judgements", [], |row| {
                row.get::<_, i64>(0)
            });
        count
            .map(|n| n as usize)
            .map_err(|e| self.error("count its judgements", e))
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
    spans: Option<Vec<u8>>,
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
            spans: row.get(4)?,
            trial: row.get(5)?,
        })
    }

    fn name(&self, names: &Shared, outcomes: &Shared) -> Option<Named> {
        let outcomes = outcomes.get(&self.outcome)?;
        let horizons = horizons(outcomes, &self.mean_nll, self.spans.as_deref())?;
        Some(Named {
            behavior: names.get(&self.behavior)?.clone(),
            prompt_id: names.get(&self.prompt_id)?.clone(),
            horizons,
        })
    }
}

/// The judgements of one rollout; `None` when its columns do not fit each other.
fn horizons(
    outcomes: &str,
    mean_nll: &[u8],
    spans: Option<&[u8]>,
) -> Option<Vec<HorizonJudgement>> {
    let stored: Vec<StoredOutcome> = serde_json::from_str(outcomes).ok()?;
    let mean_nll = unpack_measurements(mean_nll, false)?;
    let spans = unpack_spans(spans, stored.len())?;
    if mean_nll.len() != stored.len() {
        return None;
    }
    let parts = stored.into_iter().zip(mean_nll).zip(spans);
    let horizons = parts.map(|((at, mean_nll), span)| HorizonJudgement {
        horizon: at.horizon,
        outcome: at.outcome,
        flipped: at.flipped,
        rule: at.rule,
        span,
        mean_nll: mean_nll.into(),
    });
    Some(horizons.collect())
}

impl HorizonJudgement {
    /// A judgement as it is kept.
    pub fn of(judgement: &RolloutJudgement) -> Self {
        Self {
            horizon: judgement.horizon,
            outcome: judgement.outcome.clone(),
            flipped: judgement.flipped,
            rule: judgement.rule.clone(),
            span: judgement.span,
            mean_nll: kept(judgement.mean_nll as f32).into(),
        }
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

impl StoredOutcome {
    pub(super) fn of(judgement: &RolloutJudgement) -> Self {
        Self {
            horizon: judgement.horizon,
            outcome: judgement.outcome.clone(),
            flipped: judgement.flipped,
            rule: judgement.rule.clone(),
        }
    }
}
