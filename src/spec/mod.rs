//! What was written: the study spec, one element per file.
//!
//! These types mirror the YAML text key by key and know nothing of the model. [`crate::study::Study`] is what is made of them:
//! every default filled in, every reference resolved. The JSON schema in `schemas/` is generated from these types.

pub mod behavior;
pub mod ceiling;
pub mod coherence;
pub mod doses;
pub mod hub;
pub mod load;
pub mod located;
pub mod model;
pub mod neurons;
pub mod oracle;
pub mod path;
pub mod problem;
pub mod prompts;
pub mod range;
pub mod reference;
pub mod report;
pub mod resolve;
pub mod rollout;
pub mod schema;
pub mod set;
pub mod source;
pub mod starter;
pub(crate) mod suggest;
pub mod summary;
pub mod target;
pub mod tree;
pub mod value;
mod violations;
pub mod written;

pub use load::{LoadError, Loaded, load_study};
pub use problem::{Problem, SpecError};
pub use resolve::resolve;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A study of single-neuron steering: one file, kept in version control.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "reachspec study, version 1")]
pub struct StudySpec {
    /// Version of the spec language.
    pub schema: SchemaVersion,
    /// Name of the study: letters, digits, `-` and `_`. The default run folder is `runs/<name>`.
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9_-]*$"), length(max = 100))]
    pub name: String,
    /// What the study asks, in a few sentences for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The model under study.
    pub model: model::ModelSpec,
    /// Seed of every random choice: drawn neurons, sampling, bootstrap.
    #[serde(default)]
    pub seed: u64,
    /// Named sets of prompts. `calibration` needs one with generic text, named `generic` unless it says otherwise.
    pub prompts: BTreeMap<String, prompts::PromptSetSpec>,
    /// Named behaviours.
    #[schemars(extend("minProperties" = 1))]
    pub behaviors: BTreeMap<String, behavior::BehaviorSpec>,
    /// Groups of neurons, each in one role.
    #[schemars(length(min = 1))]
    pub neurons: Vec<neurons::NeuronGroupSpec>,
    /// The doses.
    pub doses: doses::DosesSpec,
    /// How texts are generated and judged.
    pub rollout: rollout::RolloutSpec,
    /// How coherence budgets are measured.
    #[serde(default)]
    pub calibration: ceiling::CalibrationSpec,
    /// How the collapse ceiling is predicted.
    #[serde(default)]
    pub ceiling: ceiling::CeilingSpec,
    /// How the trigger is predicted.
    #[serde(default)]
    pub trigger: ceiling::TriggerSpec,
    /// When a rollout counts as collapsed.
    #[serde(default)]
    pub coherence: coherence::CoherenceSpec,
    /// Shares at which a dose counts as flipped or collapsed.
    #[serde(default)]
    pub thresholds: ceiling::ThresholdsSpec,
    /// How verdicts and their reasons are formed.
    #[serde(default)]
    pub verdict: ceiling::VerdictSpec,
    /// What the reports show.
    #[serde(default)]
    pub report: report::ReportSpec,
}

/// Version of the spec language.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum SchemaVersion {
    /// The first version.
    #[serde(rename = "reachspec/study/v1")]
    V1,
}
