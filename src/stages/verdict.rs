//! Verdict: triggers, ceilings, windows, and how the sealed predictions fared.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::attribution::{self, BehaviorAttribution};
use super::judge::{Curve, Judgements};
use super::predict::SealedPredictions;
use super::scoreboard::{self, Scoreboard};
use super::screen::Group;
use super::window;
use crate::spec::neurons::Role;
use crate::study::Study;
use crate::units::{Horizon, NeuronId, Sign};

/// Draws triggers, ceilings and windows from the curves, and scores the sealed predictions. `judgements` must be fresh: those read back
/// from a record do not say which prompts flipped.
pub fn verdict(study: &Study, sealed: &SealedPredictions, judgements: &Judgements) -> Verdicts {
    let mut neurons = Vec::new();
    for (behavior, baseline) in study.behaviors.iter().zip(&judgements.baselines) {
        let curves: Vec<&Curve> = (judgements.curves.iter())
            .filter(|curve| curve.behavior == behavior.name)
            .collect();
        let branches = window::branch_verdicts(study, sealed, behavior, baseline, &curves);
        let groups = &sealed.predictions().screening.groups;
        neurons.extend(neuron_verdicts(groups, &behavior.name, &curves, branches));
    }
    Verdicts {
        study: study.hash(),
        seal: sealed.seal().sha256.clone(),
        scoreboard: scoreboard::scoreboard(study, sealed, &neurons),
        attribution: attribution::attribution(study, sealed, judgements, &neurons),
        neurons,
    }
}

/// Gathers the branches of each neuron.
fn neuron_verdicts(
    groups: &[Group],
    behavior: &str,
    curves: &[&Curve],
    branches: Vec<BranchVerdict>,
) -> Vec<NeuronVerdict> {
    let mut neurons: BTreeMap<NeuronId, Vec<BranchVerdict>> = BTreeMap::new();
    for (curve, branch) in curves.iter().zip(branches) {
        neurons.entry(curve.neuron).or_default().push(branch);
    }
    let roles = roles(groups, behavior);
    (neurons.into_iter())
        .map(|(neuron, branches)| NeuronVerdict {
            behavior: behavior.to_owned(),
            neuron,
            role: roles.get(&neuron).copied().unwrap_or(Role::Control),
            open: either_open(&branches),
            branches,
        })
        .collect()
}

/// The role of each neuron on a behaviour: that of the first group that measures it.
fn roles(groups: &[Group], behavior: &str) -> BTreeMap<NeuronId, Role> {
    let mut roles = BTreeMap::new();
    for group in groups {
        if group.behaviors.iter().any(|name| name == behavior) {
            for &neuron in &group.neurons {
                roles.entry(neuron).or_insert(group.role);
            }
        }
    }
    roles
}

/// Open when one branch is; unknown when none is and one was censored or undecided.
fn either_open(branches: &[BranchVerdict]) -> Option<bool> {
    if branches.iter().any(|branch| branch.window == Window::Open) {
        return Some(true);
    }
    let unknown = |branch: &BranchVerdict| {
        matches!(
            branch.window,
            Window::Censored { .. } | Window::Undecided { .. }
        )
    };
    (!branches.iter().any(unknown)).then_some(false)
}

impl Threshold {
    /// `|g|`, in budgets: of the estimate, or of the bound.
    pub fn budgets(&self) -> f64 {
        match *self {
            Threshold::At { budgets, .. } | Threshold::Above { budgets, .. } => budgets,
        }
    }

    /// Coordinate along the branch: of the estimate, or of the bound.
    pub fn coordinate(&self) -> f64 {
        match *self {
            Threshold::At { coordinate, .. } | Threshold::Above { coordinate, .. } => coordinate,
        }
    }

    /// Whether the threshold was reached within the doses.
    pub fn reached(&self) -> bool {
        matches!(self, Threshold::At { .. })
    }
}

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
    /// Scores against measured control, one entry per behaviour.
    pub attribution: Vec<BehaviorAttribution>,
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
    /// Open on either branch; absent when no branch is open and one is censored or undecided.
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
    /// Its bootstrap interval over prompts; absent with a single prompt, or when all of it lies beyond the doses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling_interval: Option<ThresholdInterval>,
    /// Open, or closed with its reason, at the verdict horizon.
    pub window: Window,
    /// When each class is reached, for typed behaviours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<ClassReach>,
}

/// When an outcome class is reached on a branch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClassReach {
    /// Name of the class.
    pub class: String,
    /// Most prompts that fell into it at any dose and horizon.
    pub most: usize,
    /// First dose, and first horizon, at which any prompt did.
    pub seen: Option<FirstReach>,
    /// First dose, and first horizon, at which as many prompts did as make a trigger.
    pub reached: Option<FirstReach>,
}

/// The smallest dose and, apart from it, the shortest horizon.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct FirstReach {
    /// `|g|`, in budgets.
    pub budgets: f64,
    /// The horizon.
    pub horizon: Horizon,
}

/// A trigger at one horizon.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HorizonThreshold {
    /// The horizon.
    pub horizon: Horizon,
    /// The trigger.
    pub trigger: Threshold,
    /// Its bootstrap interval over prompts; absent with a single prompt, or when all of it lies beyond the doses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<ThresholdInterval>,
}

/// A confidence interval of a threshold. An upper end that lies beyond the doses is a bound.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ThresholdInterval {
    /// Lower end.
    pub low: Threshold,
    /// Upper end.
    pub high: Threshold,
}

/// A threshold on a branch: an estimate, or a bound where the doses ended first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Threshold {
    /// Reached at this dose, by the study's estimate.
    At {
        /// `|g|`, in budgets.
        budgets: f64,
        /// Coordinate along the branch.
        coordinate: f64,
    },
    /// Not reached up to this dose, the largest that was run.
    Above {
        /// `|g|`, in budgets.
        budgets: f64,
        /// Coordinate along the branch.
        coordinate: f64,
    },
}

/// The verdict on a window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Window {
    /// The trigger lies below the ceiling, and so do their intervals.
    Open,
    /// The trigger lies below the ceiling, but their intervals overlap: these prompts are too few to tell.
    Undecided {
        /// The evidence, in words with its figures.
        evidence: String,
    },
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
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The output collapses before the behaviour flips.
    CollapseBeforeTrigger,
    /// The write is too late to propagate.
    TooLate,
    /// A normalisation caps how far the neuron can push.
    NormalisationCap,
}
