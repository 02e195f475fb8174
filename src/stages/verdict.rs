//! Verdict: triggers, ceilings, windows, and how the sealed predictions fared.

use serde::{Deserialize, Serialize};

use crate::spec::ceiling::Predictor;
use crate::spec::neurons::Role;
use crate::stats::Interval;
use crate::units::{Horizon, NeuronId, Sign};

/// The study's answer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdicts {
    /// Hash of the study.
    pub study: String,
    /// Hash of the seal.
    pub seal: String,
    /// One entry per neuron and behaviour, sorted by behaviour, neuron.
    pub neurons: Vec<NeuronVerdict>,
    /// How the predictions fared on held-out neurons.
    pub scoreboard: Scoreboard,
}

/// The verdict on one neuron and one behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeuronVerdict {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// Its role.
    pub role: Role,
    /// Open on either branch; absent when no branch is open and one is censored.
    pub open: Option<bool>,
    /// One entry per measured branch.
    pub branches: Vec<BranchVerdict>,
}

/// The verdict on one branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BranchVerdict {
    /// The branch.
    pub sign: Sign,
    /// Trigger at each horizon of the study.
    pub triggers: Vec<HorizonThreshold>,
    /// Ceiling at the longest horizon.
    pub ceiling: Threshold,
    /// Open, or closed with its reason, at the verdict horizon.
    pub window: Window,
}

/// A trigger at one horizon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HorizonThreshold {
    /// The horizon.
    pub horizon: Horizon,
    /// The trigger.
    pub trigger: Threshold,
}

/// A threshold on a branch: a grid dose, or a bound where the grid ended first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// Reached at this dose.
    At {
        /// `|g|`, in budgets.
        budgets: f64,
        /// Coordinate along the branch.
        coordinate: f64,
    },
    /// Not reached up to this dose, the largest of the grid.
    Above {
        /// `|g|`, in budgets.
        budgets: f64,
        /// Coordinate along the branch.
        coordinate: f64,
    },
}

/// The verdict on a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The trigger lies below the ceiling.
    Open,
    /// It does not.
    Closed {
        /// Why.
        reason: Reason,
        /// The evidence, in words with its figures.
        evidence: String,
    },
    /// The dose grid ended before either threshold was reached: nothing is known.
    Censored {
        /// The evidence, in words with its figures.
        evidence: String,
    },
}

/// Why a window is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The output collapses before the behaviour flips.
    CollapseBeforeTrigger,
    /// The write is too late to propagate.
    TooLate,
    /// A normalisation caps how far the neuron can push.
    NormalisationCap,
}

/// How the sealed predictions fared on held-out neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scoreboard {
    /// One entry per predictor, in the order of the study.
    pub ceilings: Vec<CeilingScore>,
    /// Open/closed forecasts, one entry per behaviour, then one named `all`.
    pub forecasts: Vec<ForecastScore>,
}

/// A predictor's error in cosθ over held-out (neuron, behaviour, branch) triples whose ceiling was reached.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CeilingScore {
    /// Which predictor.
    pub predictor: Predictor,
    /// Mean absolute error overall; absent when nothing could be compared.
    pub overall: Option<ErrorEstimate>,
    /// The same in bulk layers.
    pub bulk: Option<ErrorEstimate>,
    /// Branches left out because the grid ended before the ceiling.
    pub censored: usize,
}

/// A mean absolute error with its bootstrap interval over neurons.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct ErrorEstimate {
    /// Mean absolute error in cosθ.
    pub mean_absolute_error: f64,
    /// Bootstrap interval.
    pub interval: Interval,
    /// Branches compared.
    pub branches: usize,
    /// Neurons they belong to.
    pub neurons: usize,
}

/// How often the sealed open/closed forecast was right.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForecastScore {
    /// Name of the behaviour, or `all`.
    pub behavior: String,
    /// Forecasts that could be scored.
    pub scored: usize,
    /// Forecasts that were right.
    pub right: usize,
    /// Wilson interval of the share that was right; absent when nothing was scored.
    pub interval: Option<Interval>,
    /// Size of the majority class: what always saying the commoner answer would have got right.
    pub majority: usize,
    /// Neurons found open.
    pub open: usize,
    /// Neurons left out because the measurement was censored or no prediction could be made.
    pub undecided: usize,
}
