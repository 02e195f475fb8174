//! Judge: outcome and collapse of every rollout at every horizon, and the dose–response curves they add up to.

use serde::{Deserialize, Serialize};

use crate::spec::coherence::Detector;
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

/// One dose of a curve.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DosePoint {
    /// `|g|`, in budgets.
    pub budgets: f64,
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
    /// Mean negative log-likelihood under the unsteered model (nats per token).
    pub mean_nll: f64,
}
