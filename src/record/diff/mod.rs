//! What differs between two finished runs.
//!
//! | part | what is compared | by |
//! |---|---|---|
//! | [`inputs`] | the spec, key by key; files of the model, prompts and the spec's text by their hashes | key, name |
//! | [`measured`] | behaviours, neurons, doses, branches and horizons that only one of the runs has | |
//! | [`predictions`] | what was sealed: fitted parameters, ceilings, triggers, forecasts | neuron, branch, predictor |
//! | [`verdicts`] | triggers, ceilings, windows and outcome classes | behaviour, neuron, branch |
//! | [`scores`] | the scoreboard, and what the screens' scores say about control | score |
//!
//! Everything is compared that both have, largest changes first; [`markdown`] writes it down. Trials are compared by the digest in the
//! manifests alone, so that a comparison takes no longer with a million of them. Programs, machines, times and paths are none of the result.

pub mod inputs;
pub mod markdown;
pub mod measured;
pub mod predictions;
pub mod scores;
mod summary;
#[cfg(test)]
mod tests;
pub mod verdicts;

use schemars::JsonSchema;
use serde::Serialize;

use super::by_key::KeyChange;
use super::error::RecordError;
use super::run_record::{RunRecord, unfinished};
use inputs::InputChange;
use measured::OnlyInOne;
use predictions::PredictionChanges;
use scores::ScoreChange;
use verdicts::{ThresholdChange, VerdictChanges};

/// What differs between two finished runs; the shape of `reachspec diff --json`. Lists are empty where nothing differs, and hold their
/// largest changes first.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// Whether nothing differs.
    pub same: bool,
    /// What differs and what is the same, in one sentence.
    pub conclusion: String,
    /// The first run.
    pub first: RunIdentity,
    /// The second run.
    pub second: RunIdentity,
    /// Changes of thresholds and predictions by no more than this, in cosθ, are not listed; 0 unless the user asks for it.
    pub tolerance: f64,
    /// Keys of the resolved study with other values; prompts and files of the model are among the inputs.
    pub spec: Vec<KeyChange>,
    /// Files of the model, prompt sets and the spec's text with other hashes.
    pub inputs: Vec<InputChange>,
    /// What only one of the runs has. The other lists are about what both have.
    pub only_in_one: OnlyInOne,
    /// What was sealed.
    pub predictions: PredictionChanges,
    /// The trials, when there is any difference in them or in their judgements; null when they are the same. Which of them differ is
    /// not said: they are compared by their digests.
    pub rollouts: Option<RolloutChange>,
    /// Branches that were measured in both runs: only these have thresholds and windows to compare.
    pub compared: usize,
    /// Triggers at each horizon, and ceilings. Those of which nothing but a bound was measured in either run come last.
    pub thresholds: Vec<ThresholdChange>,
    /// Windows, neurons and outcome classes.
    pub verdicts: VerdictChanges,
    /// How the predictions fared; then the screens' scores against control.
    pub scoreboard: Vec<ScoreChange>,
}

/// Which run it is. Two runs with other names, hashes or programs may still have the same results.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunIdentity {
    /// The run's folder, as it was given.
    pub folder: String,
    /// Name of the study.
    pub study: String,
    /// SHA-256 of the resolved study.
    pub study_sha256: String,
    /// SHA-256 that seals the predictions. It covers the question that was asked: another question has another seal, even with the same
    /// predictions.
    pub seal_sha256: String,
    /// Program and version that made it; no part of the result.
    pub program: String,
}

/// Trials that are not the same in both runs.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RolloutChange {
    /// Number of trials in the first run.
    pub first: usize,
    /// Number of trials in the second run.
    pub second: usize,
    /// SHA-256 of the first run's trials and their judgements.
    pub first_sha256: String,
    /// SHA-256 of the second run's.
    pub second_sha256: String,
}

impl Difference {
    /// Compares two finished runs. Changes of thresholds and predictions by no more than `tolerance`, in cosθ, are left out.
    ///
    /// # Errors
    /// If a run has not finished.
    pub fn between(
        first: &RunRecord,
        second: &RunRecord,
        tolerance: f64,
    ) -> Result<Self, RecordError> {
        let mut difference = Self {
            same: false,
            conclusion: String::new(),
            first: identity(first),
            second: identity(second),
            tolerance,
            spec: inputs::spec(first.study(), second.study()),
            inputs: inputs::inputs(&first.manifest, &second.manifest),
            only_in_one: measured::only_in_one(first, second),
            predictions: predictions::changes(first, second, tolerance),
            rollouts: rollouts(first, second)?,
            compared: verdicts::compared(&first.verdicts, &second.verdicts),
            thresholds: verdicts::thresholds(&first.verdicts, &second.verdicts, tolerance),
            verdicts: verdicts::changes(&first.verdicts, &second.verdicts),
            scoreboard: scores::changes(&first.verdicts, &second.verdicts),
        };
        difference.same = difference.is_empty();
        difference.conclusion = difference.concluded();
        Ok(difference)
    }

    fn is_empty(&self) -> bool {
        self.spec.is_empty()
            && self.inputs.is_empty()
            && self.only_in_one.is_empty()
            && self.predictions.is_empty()
            && self.rollouts.is_none()
            && self.thresholds.is_empty()
            && self.verdicts.is_empty()
            && self.scoreboard.is_empty()
    }
}

fn identity(run: &RunRecord) -> RunIdentity {
    RunIdentity {
        folder: run.folder.root().display().to_string(),
        study: run.study().name.clone(),
        study_sha256: run.manifest.study_sha256.clone(),
        seal_sha256: run.sealed.seal().sha256.clone(),
        program: run.manifest.program.clone(),
    }
}

fn rollouts(first: &RunRecord, second: &RunRecord) -> Result<Option<RolloutChange>, RecordError> {
    let digest = |run: &RunRecord| match &run.manifest.evidence {
        Some(evidence) => Ok(evidence.trials.clone()),
        None => Err(unfinished(&run.folder.manifest())),
    };
    let (one, other) = (digest(first)?, digest(second)?);
    Ok((one != other).then_some(RolloutChange {
        first: one.trials,
        second: other.trials,
        first_sha256: one.sha256,
        second_sha256: other.sha256,
    }))
}

/// How far a number has moved; none where only one run has it.
fn moved(first: Option<f64>, second: Option<f64>) -> Option<f64> {
    Some((first? - second?).abs())
}

/// Largest first: what only one run has lies above every number.
fn largest_first(one: Option<f64>, other: Option<f64>) -> std::cmp::Ordering {
    let size = |size: Option<f64>| size.unwrap_or(f64::INFINITY);
    size(other).total_cmp(&size(one))
}
