//! `doses`: how hard each neuron is pushed, and where.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Sign;

/// The doses. Give exactly one of `grid`, `linear` and `geometric`; with `search` it may be left out.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DosesSpec {
    /// Unit of the magnitudes.
    #[serde(default)]
    #[schemars(extend("x-source" = "published"))]
    pub unit: DoseUnit,
    /// Magnitudes, increasing and above 0. Dose 0 is always measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub grid: Option<Vec<f64>>,
    /// Magnitudes at equal distances.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub linear: Option<DoseRange>,
    /// Magnitudes at equal ratios.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub geometric: Option<DoseRange>,
    /// Refine the grid where it decides something: between the doses that enclose a threshold, further doses are run until the
    /// threshold is known to `tolerance`. Without a grid, six magnitudes from 0.2 to 3 budgets at equal ratios are the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub search: Option<Search>,
    /// How closely a search encloses trigger and ceiling, in budgets; 0.05 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[schemars(extend("x-source" = "ours"))]
    pub tolerance: Option<f64>,
    /// The branches to measure.
    #[serde(default = "both_signs")]
    #[schemars(length(min = 1))]
    #[schemars(extend("x-source" = "published"))]
    pub signs: Vec<Sign>,
    /// The positions at which the dose is added.
    #[serde(default)]
    #[schemars(extend("x-source" = "ours"))]
    pub apply: Apply,
    /// With `apply: generation`, only these generation steps; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub window: Option<StepWindow>,
}

/// How further doses are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Search {
    /// Halve the interval that encloses the ceiling, then the one that encloses the trigger at the verdict horizon.
    Bisect,
}

/// Unit of the dose magnitudes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DoseUnit {
    /// Coherence budgets: `g = t / B`, each neuron in units of its own `B = ‖r_L‖ / ‖v‖`.
    #[default]
    #[schemars(extend("x-source" = "published"))]
    Budget,
    /// Activation units: the same `t` for every neuron.
    #[schemars(extend("x-source" = "published"))]
    Activation,
}

/// A range of magnitudes, both ends included.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DoseRange {
    /// The smallest magnitude, above 0.
    pub from: f64,
    /// The largest magnitude.
    pub to: f64,
    /// How many magnitudes.
    #[schemars(range(min = 2, max = 10000))]
    pub count: usize,
}

/// The positions at which the dose is added.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Apply {
    /// The last prompt token and every generated token (what the author's own probing tool does).
    #[default]
    #[schemars(extend("x-source" = "ours"))]
    Generation,
    /// Every token of the prompt, and every generated token.
    #[schemars(extend("x-source" = "ours"))]
    All,
}

/// A window of generation steps; step 0 is the last prompt token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepWindow {
    /// First steered step.
    #[serde(default)]
    pub from: usize,
    /// First step that is not steered any more.
    pub to: usize,
}

fn both_signs() -> Vec<Sign> {
    vec![Sign::Positive, Sign::Negative]
}
