//! Screen: which neurons are measured.

use serde::{Deserialize, Serialize};

use crate::spec::neurons::{Role, ScreenScore};
use crate::units::{NeuronId, Sign};

/// Every neuron of the study, and the scores that chose some of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Screening {
    /// The groups of the study with their neurons, in the order of the spec.
    pub groups: Vec<Group>,
    /// Scores of the neurons that a screen chose, one entry per screened group.
    pub screens: Vec<ScreenResult>,
}

/// A group with its neurons.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Group {
    /// Name in the report.
    pub name: String,
    /// What the group is for.
    pub role: Role,
    /// Names of the behaviours it is measured on; empty for calibration neurons.
    pub behaviors: Vec<String>,
    /// The neurons, sorted.
    pub neurons: Vec<NeuronId>,
}

/// What a screen found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ScreenResult {
    /// Name of the group it filled.
    pub group: String,
    /// Name of the behaviour whose contrast was screened.
    pub behavior: String,
    /// The score that ranked.
    pub score: ScreenScore,
    /// How many neurons were scored.
    pub scored: usize,
    /// The chosen neurons, best first.
    pub chosen: Vec<Scored>,
}

/// A neuron with its score.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scored {
    /// The neuron.
    pub neuron: NeuronId,
    /// The score, at least 0; larger is better.
    pub score: f64,
    /// The branch that the score favours.
    pub sign: Sign,
}
