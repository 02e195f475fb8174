//! `behaviors`: what steering should change, and how that is judged.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::oracle::OracleSpec;

/// A behaviour: prompts, and how an answer is judged. Give exactly one of `flipped_when` and `outcomes`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BehaviorSpec {
    /// What the behaviour is, in one sentence for the report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Name of the prompt set on which the behaviour is measured.
    pub prompts: String,
    /// The behaviour has flipped when this oracle is true of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flipped_when: Option<OracleSpec>,
    /// A typed behaviour: outcome classes in order, the first whose oracle is true wins; `other` when none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    #[schemars(extend("x-source" = "published"))]
    pub outcomes: Option<Vec<OutcomeSpec>>,
    /// Perturbed prompts for the contrastive screen, paired with `prompts` by position.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "published"))]
    pub contrast: Option<ContrastSpec>,
    /// Texts whose first token the flipped behaviour favours: the positive end of the readout axis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-source" = "published"))]
    pub target_tokens: Vec<String>,
    /// Texts whose first token the unflipped behaviour favours: the negative end of the readout axis.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-source" = "published"))]
    pub control_tokens: Vec<String>,
    /// Expected trigger, as cosθ, used for the sealed open/closed forecast. Published: about 0.3 for mode switches,
    /// 0.45 for refusal, 0.6 for task framing (arXiv 2606.19831).
    #[serde(default = "mode_switch_trigger")]
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-source" = "published"))]
    pub expected_trigger: f64,
}

/// One outcome class of a typed behaviour.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OutcomeSpec {
    /// Name of the class. `collapse` and `other` are taken: the first is judged by `coherence`, the second is what no class claims.
    pub name: String,
    /// The oracle that claims an answer for this class.
    pub when: OracleSpec,
    /// Whether this class counts as a flip of the behaviour.
    #[serde(default)]
    pub flipped: bool,
}

/// The perturbed prompts of the contrastive screen.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ContrastSpec {
    /// Name of the prompt set, of the same length as the behaviour's.
    pub prompts: String,
    /// Text put behind both prompts of a pair, so that the contrast is read where the answer is decided, such as `the result is`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub prefill: Option<String>,
}

fn mode_switch_trigger() -> f64 {
    0.3
}
