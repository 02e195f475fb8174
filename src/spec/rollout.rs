//! `rollout`: how texts are generated, and after how many tokens they are judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Horizon;

/// How texts are generated. One rollout to the longest horizon serves every horizon.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutSpec {
    /// Numbers of generated tokens after which an answer is judged, increasing.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-source" = "published"))]
    pub horizons: Vec<Horizon>,
    /// Sampling from the model's distribution; greedy decoding when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample: Option<SampleSpec>,
    /// Whether a rollout stops at the model's end-of-text token.
    #[serde(default = "yes")]
    #[schemars(extend("x-source" = "ours"))]
    pub stop_at_end: bool,
    /// Whether a steered rollout stops as soon as the collapse detector `repetition` fires. A loop stays in every longer excerpt, so at
    /// the later horizons it counts as collapsed as well, and verdicts stay the same. What it would still have said is not judged, and is
    /// not in the measured cosθ nor in what the other detectors count. Saves time where much collapses.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schemars(extend("x-source" = "ours"))]
    pub stop_at_collapse: bool,
}

/// Seeded sampling. Every rollout has its own random stream, derived from the study's `seed` and the trial.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SampleSpec {
    /// Divisor of the logits, above 0.
    #[serde(default = "one")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub temperature: f64,
    /// Keep only the likeliest tokens whose probabilities add up to this; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.0))]
    pub top_p: Option<f64>,
    /// Keep only this many of the likeliest tokens; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub top_k: Option<usize>,
}

fn yes() -> bool {
    true
}

fn one() -> f64 {
    1.0
}
