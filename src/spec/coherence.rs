//! `coherence`: when a rollout counts as collapsed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::oracle::OracleSpec;

/// When a rollout counts as collapsed. Every detector is evaluated and reported; those in `collapsed_if` decide.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CoherenceSpec {
    /// A rollout has collapsed when at least one of these detectors fires.
    #[serde(default = "default_detectors")]
    #[schemars(length(min = 1))]
    #[schemars(extend("x-source" = "ours"))]
    pub collapsed_if: Vec<Detector>,
    /// Settings of the detector `likelihood`.
    #[serde(default)]
    pub likelihood: LikelihoodSpec,
    /// Settings of the detector `repetition`.
    #[serde(default)]
    pub repetition: RepetitionSpec,
    /// Settings of the detector `distinct`.
    #[serde(default)]
    pub distinct: DistinctSpec,
    /// The detector `oracle`: fires when this oracle is true of the text, for example the negation of a grammar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub oracle: Option<OracleSpec>,
}

impl Default for CoherenceSpec {
    fn default() -> Self {
        Self {
            collapsed_if: default_detectors(),
            likelihood: LikelihoodSpec::default(),
            repetition: RepetitionSpec::default(),
            distinct: DistinctSpec::default(),
            oracle: None,
        }
    }
}

/// A collapse detector.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// The text is too unlikely under the unsteered model.
    #[schemars(extend("x-source" = "ours"))]
    Likelihood,
    /// The text ends in, or runs into, a repetition loop.
    #[schemars(extend("x-source" = "ours"))]
    Repetition,
    /// Too few of the text's n-grams are distinct.
    #[schemars(extend("x-source" = "ours"))]
    Distinct,
    /// The oracle given under `oracle` is true.
    #[schemars(extend("x-source" = "ours"))]
    Oracle,
}

impl Detector {
    /// The detector's name, as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Detector::Likelihood => "likelihood",
            Detector::Repetition => "repetition",
            Detector::Distinct => "distinct",
            Detector::Oracle => "oracle",
        }
    }
}

/// Fires when the mean negative log-likelihood of the generated tokens under the *unsteered* model, given the prompt, exceeds
/// the `clean_quantile` of the clean (dose 0) rollouts of the same prompts by more than `margin`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LikelihoodSpec {
    /// Nats per token above the clean quantile.
    #[schemars(range(min = 0.0))]
    #[schemars(extend("x-source" = "ours"))]
    pub margin: f64,
    /// Quantile of the clean rollouts' mean negative log-likelihood.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-source" = "ours"))]
    pub clean_quantile: f64,
}

impl Default for LikelihoodSpec {
    fn default() -> Self {
        Self {
            margin: 1.0,
            clean_quantile: 0.95,
        }
    }
}

/// Fires when a block of 1 to `max_period` tokens repeats immediately until the repeated stretch is at least `min_tokens` long
/// and holds at least `min_repeats` copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RepetitionSpec {
    /// Longest block, in tokens.
    #[schemars(range(min = 1))]
    #[schemars(extend("x-source" = "ours"))]
    pub max_period: usize,
    /// Least number of copies of the block, the first included.
    #[schemars(range(min = 2))]
    #[schemars(extend("x-source" = "ours"))]
    pub min_repeats: usize,
    /// Least length of the repeated stretch, in tokens.
    #[schemars(range(min = 2))]
    #[schemars(extend("x-source" = "ours"))]
    pub min_tokens: usize,
}

impl Default for RepetitionSpec {
    fn default() -> Self {
        Self {
            max_period: 8,
            min_repeats: 3,
            min_tokens: 6,
        }
    }
}

/// Fires when distinct n-grams ÷ all n-grams of the generated tokens is below `below`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DistinctSpec {
    /// Length of the n-grams, in tokens.
    #[schemars(range(min = 1))]
    #[schemars(extend("x-source" = "ours"))]
    pub n: usize,
    /// The share below which the detector fires.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-source" = "ours"))]
    pub below: f64,
}

impl Default for DistinctSpec {
    fn default() -> Self {
        Self { n: 2, below: 0.6 }
    }
}

fn default_detectors() -> Vec<Detector> {
    vec![Detector::Likelihood, Detector::Repetition]
}
