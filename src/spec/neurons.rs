//! `neurons`: which neurons are steered, and in which role.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::range::IndexRange;

/// A group of neurons in one role. Give exactly one of `at`, `random`, `rest`, `screen` and `random_directions`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeuronGroupSpec {
    /// What the group is for. No neuron may have two roles.
    pub role: Role,
    /// Name of the group in the report; its role when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Neurons by position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub at: Option<Vec<NeuronsAt>>,
    /// Neurons drawn at random, without those named elsewhere in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random: Option<RandomSpec>,
    /// The best-scoring neurons of a screen, without those named elsewhere in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "published"))]
    pub screen: Option<ScreenSpec>,
    /// Every neuron that no other group names or draws: for a census. A study may have one such group, and no screen beside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<RestSpec>,
    /// Seeded random directions of the residual stream instead of neurons, written at the same place and in the same budgets: the
    /// control that shows whether any push of this size would do. Only with `role: control`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub random_directions: Option<DirectionsSpec>,
    /// Names of the behaviours that the group is measured on; all when absent. Calibration neurons are steered on the calibration prompts (`calibration.steer_on`) instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub behaviors: Option<Vec<String>>,
}

/// What a group of neurons is for.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Steered on the calibration prompts (`calibration.steer_on`) to fit the predictors; never scored.
    Calibration,
    /// Predicted and sealed first, then measured and scored.
    HeldOut,
    /// Measured beside the held-out neurons for comparison; never scored.
    Control,
}

/// Neurons by position.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeuronsAt {
    /// Layer, counted from 0: a number, or a range such as `0..4` (without its end).
    pub layer: IndexRange,
    /// Neuron in the layer, counted from 0: a number, or a range such as `0..64` (without its end).
    pub index: IndexRange,
}

/// Neurons drawn at random.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RandomSpec {
    /// How many neurons, in all.
    #[schemars(range(min = 1))]
    pub count: usize,
    /// Seed of the draw; the study's `seed` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Layers to draw from, evenly; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<IndexRange>,
}

/// Every neuron that no other group names or draws.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RestSpec {
    /// Layers to take; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<IndexRange>,
}

/// Seeded random directions of the residual stream.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DirectionsSpec {
    /// How many directions, in all.
    #[schemars(range(min = 1, max = 100000))]
    pub count: usize,
    /// Layers to write to, evenly; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<IndexRange>,
}

/// The best-scoring neurons of a screen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScreenSpec {
    /// Name of the behaviour whose contrast is screened.
    pub behavior: String,
    /// How many neurons are taken.
    #[schemars(range(min = 1))]
    pub top: usize,
    /// Whether `top` is counted in each layer rather than in all: a global count tends to take only the first or the last layer.
    #[serde(default)]
    #[schemars(extend("x-source" = "ours"))]
    pub per_layer: bool,
    /// The score that ranks the neurons.
    #[serde(default)]
    #[schemars(extend("x-source" = "ours"))]
    pub score: ScreenScore,
    /// Layers to choose from; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layers: Option<IndexRange>,
}

impl ScreenScore {
    /// Prompts that [`ScreenScore::OneStepPush`] pushes: its score is a mean over them, and each costs two steps per neuron.
    pub const PUSHED_PROMPTS: usize = 6;

    /// Forward passes that score `neurons` neurons on `prompts` prompts.
    pub fn forward_steps(self, neurons: usize, prompts: usize) -> usize {
        match self {
            ScreenScore::OneStepPush => (2 * neurons + 1) * prompts.min(Self::PUSHED_PROMPTS),
            // A backward pass costs about twice a forward pass.
            ScreenScore::GradientActivation | ScreenScore::GradientBudgets => 3 * prompts,
            ScreenScore::Random => 0,
            _ => 2 * prompts,
        }
    }
}

/// The score that ranks neurons in a screen.
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
pub enum ScreenScore {
    /// `|mean Δa| / B`: how many budgets the natural contrast moves the neuron. Needs `contrast`.
    #[default]
    #[schemars(extend("x-source" = "ours"))]
    ContrastBudgets,
    /// `|mean (d·v)·Δa|`, the published direct importance (arXiv 2604.27401). Needs `contrast`, `target_tokens` and `control_tokens`.
    #[schemars(extend("x-source" = "published"))]
    DirectImportance,
    /// Root mean square of `(d·v)·Δa` over pairs, its effect magnitude. Needs the same.
    #[schemars(extend("x-source" = "published"))]
    DirectImportanceRms,
    /// Change of the target-minus-control logit difference after one steered forward step of `calibration.push` budgets, the
    /// larger of both signs: an intervention, not a passive contrast. Needs `target_tokens` and `control_tokens`.
    #[schemars(extend("x-source" = "ours"))]
    OneStepPush,
    /// `|mean gradient × activation|`, the attribution baseline: the gradient of the target-minus-control logit difference with respect
    /// to the neuron's activation, times that activation, at the last token. Needs `target_tokens` and `control_tokens`.
    #[schemars(extend("x-source" = "published"))]
    GradientActivation,
    /// `|mean gradient| · B`: to first order, the change of the logit difference per budget of dose. Needs the same.
    #[schemars(extend("x-source" = "ours"))]
    GradientBudgets,
    /// A seeded random order, as a screen without knowledge.
    #[schemars(extend("x-source" = "ours"))]
    Random,
}
