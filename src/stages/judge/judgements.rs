//! What judging results in: outcomes per dose, the curves that they add up to, and what curves are asked.

use serde::{Deserialize, Serialize};

use crate::oracles::Span;
use crate::spec::coherence::Detector;
use crate::stages::prompt_set::PromptSet;
use crate::stages::search::{self, DoseReason};
use crate::stages::threshold::{Estimated, Estimator, Kind};
use crate::study::Study;
use crate::units::{Horizon, NeuronId, Sign};

/// All judgements of a study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Judgements {
    /// Unsteered behaviour, one entry per behaviour.
    pub baselines: Vec<Baseline>,
    /// One curve per neuron, behaviour and branch, sorted by behaviour, neuron, branch.
    pub curves: Vec<Curve>,
    /// How the detectors compare, one entry per behaviour.
    pub detectors: Vec<DetectorComparison>,
}

/// What the unsteered model does.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Baseline {
    /// Name of the behaviour.
    pub behavior: String,
    /// Number of prompts.
    pub prompts: usize,
    /// Mean negative log-likelihood above which the detector `likelihood` fires (nats per token), by horizon.
    pub likelihood_limits: Vec<f64>,
    /// Outcomes at each horizon.
    pub horizons: Vec<HorizonShares>,
}

/// One neuron's dose–response on one branch of one behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Curve {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// Number of prompts at each dose.
    pub prompts: usize,
    /// One point per dose, magnitudes increasing.
    pub points: Vec<DosePoint>,
}

impl Curve {
    /// A threshold at horizon number `horizon`, in budgets. `baseline`: of the same prompts, as dose 0. Needs to know which prompts
    /// flipped and collapsed: not to be asked of a curve that was read back from a record.
    pub fn estimate(
        &self,
        estimator: &Estimator<'_>,
        baseline: &Baseline,
        kind: Kind,
        horizon: usize,
    ) -> Estimated {
        let outcomes = || {
            std::iter::once(&baseline.horizons[horizon])
                .chain(self.points.iter().map(|point| &point.horizons[horizon]))
        };
        let budgets: Vec<f64> = std::iter::once(0.0)
            .chain(self.points.iter().map(|point| point.budgets))
            .collect();
        let hits: Vec<&PromptSet> = outcomes()
            .map(|shares| match kind {
                Kind::Trigger => &shares.flipped_prompts,
                Kind::Ceiling => &shares.collapsed_prompts,
            })
            .collect();
        estimator.estimate(kind, &budgets, &hits)
    }

    /// The dose that a search would run next, and why; none without a search, or at its end.
    pub fn next_dose(&self, study: &Study) -> Option<(f64, DoseReason)> {
        let tolerance = study.doses.tolerance?;
        let horizon = study.rollout.verdict_place();
        let known: Vec<search::Known> = (self.points.iter())
            .map(|point| search::Known {
                budgets: point.budgets,
                flipped: point.horizons[horizon].flipped,
                collapsed: point.horizons.last().map_or(0, |h| h.collapsed),
            })
            .collect();
        search::next(&known, self.prompts, &study.thresholds, tolerance)
    }

    /// Adds a dose where it belongs.
    pub fn add(&mut self, point: DosePoint) {
        let place = (self.points).partition_point(|known| known.budgets < point.budgets);
        self.points.insert(place, point);
    }
}

/// One dose of a curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DosePoint {
    /// `|g|`, in budgets.
    pub budgets: f64,
    /// Why this dose was run.
    #[serde(default, skip_serializing_if = "DoseReason::is_grid")]
    pub why: DoseReason,
    /// Activation units, signed: what entered the forward pass.
    pub dose: f32,
    /// The law's coordinate along the branch (its own sign counted as positive).
    pub law_coordinate: f64,
    /// Mean measured cosθ along the branch, over prompts and steered steps.
    pub measured_coordinate: f64,
    /// Outcomes at each horizon.
    pub horizons: Vec<HorizonShares>,
}

/// Outcomes at one horizon. Counts are numbers of prompts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HorizonShares {
    /// The horizon.
    pub horizon: Horizon,
    /// Prompts whose rollout has collapsed by this horizon.
    pub collapsed: usize,
    /// Prompts whose outcome counts as a flip, without collapse.
    pub flipped: usize,
    /// Prompts by outcome class, in the order of the behaviour's classes, then `other`, then `collapse`.
    pub outcomes: Vec<usize>,
    /// Which prompts flipped. Not written: empty when read back from a record, as is the next one.
    #[serde(skip)]
    pub flipped_prompts: PromptSet,
    /// Which prompts collapsed.
    #[serde(skip)]
    pub collapsed_prompts: PromptSet,
}

/// How often each detector fires, and how often it agrees with the deciding rule, over all rollouts at the longest horizon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetectorComparison {
    /// Name of the behaviour.
    pub behavior: String,
    /// Number of rollouts.
    pub rollouts: usize,
    /// How many the deciding rule calls collapsed.
    pub collapsed: usize,
    /// One entry per detector.
    pub detectors: Vec<DetectorCount>,
}

/// One detector's counts.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DetectorCount {
    /// Which detector.
    pub detector: Detector,
    /// Whether it is one of those that decide.
    pub decides: bool,
    /// Rollouts on which it fires.
    pub fired: usize,
    /// Rollouts on which it says the same as the deciding rule.
    pub agreed: usize,
}

/// The judgement of one rollout under one behaviour at one horizon, as stored beside the trials.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RolloutJudgement {
    /// Key of the trial.
    pub trial: String,
    /// Name of the behaviour.
    pub behavior: String,
    /// Identifier of the prompt in the behaviour's set.
    pub prompt_id: String,
    /// The horizon.
    pub horizon: Horizon,
    /// Outcome class, `other`, or `collapse`.
    pub outcome: String,
    /// Whether the outcome counts as a flip.
    pub flipped: bool,
    /// The deciding rule: the detectors that fired, or the oracle that claimed the answer, in words.
    pub rule: String,
    /// The bytes that decided, in the rollout's text up to the horizon; absent for a collapse, for `other`, and for rules about what is
    /// not in the text.
    pub span: Option<Span>,
    /// Mean negative log-likelihood under the unsteered model (nats per token).
    pub mean_nll: f64,
}

impl RolloutJudgement {
    /// Whether another one is of the same rollout under the same behaviour, at whatever horizon.
    pub fn is_of_same_rollout(&self, other: &Self) -> bool {
        (&self.trial, &self.behavior, &self.prompt_id)
            == (&other.trial, &other.behavior, &other.prompt_id)
    }
}
