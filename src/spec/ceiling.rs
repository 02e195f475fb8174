//! `calibration`, `ceiling`, `thresholds` and `verdict`: the law's choices.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::units::Horizon;

/// How coherence budgets are measured.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CalibrationSpec {
    /// Name of the prompt set with generic text.
    pub prompts: String,
    /// Tokens at which the residual stream is read.
    #[schemars(extend("x-source" = "ours"))]
    pub positions: CalibrationPositions,
    /// How residual norms over positions become one number.
    #[schemars(extend("x-source" = "ours"))]
    pub statistic: Statistic,
    /// Strength, in budgets, of the one-step push screen.
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[schemars(extend("x-source" = "ours"))]
    pub push: f64,
    /// Name of the prompt set on which the calibration neurons are steered; the generic one when absent. Collapse comes sooner on
    /// some kinds of text than on others, so requests like those of the behaviours fit best; no prompt may stand in both.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub steer_on: Option<String>,
    /// Name of a prompt set with the same requests in the behaviour's other mode, paired with `steer_on` by position: the unsteered
    /// answers to it are what a coherent flip would say. With it the predictor `push` foresees where flipped text collapses.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub contrast: Option<String>,
    /// How many of those prompts are used; budgets are always read on all generic ones.
    #[schemars(range(min = 1))]
    #[schemars(extend("x-source" = "ours"))]
    pub rollout_prompts: usize,
}

impl Default for CalibrationSpec {
    fn default() -> Self {
        Self {
            prompts: "generic".into(),
            positions: CalibrationPositions::default(),
            statistic: Statistic::default(),
            push: 0.6,
            steer_on: None,
            contrast: None,
            rollout_prompts: 16,
        }
    }
}

/// Tokens at which the residual stream is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CalibrationPositions {
    /// The last prompt token and every token of an unsteered rollout to the longest horizon.
    #[default]
    Generation,
    /// Every token of the generic prompt, without a rollout.
    Prompt,
}

/// How numbers over positions become one number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// Arithmetic mean.
    #[default]
    Mean,
    /// Median.
    Median,
}

/// How the collapse ceiling is predicted. All named predictors are scored side by side.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CeilingSpec {
    /// The predictors to score.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-source" = "ours"))]
    pub predictors: Vec<Predictor>,
    /// The predictor behind the sealed open/closed forecast; the last of `constant`, `participation_ratio`, `calibrated`, `regression`,
    /// `one_step` that is listed when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub headline: Option<Predictor>,
    /// Collapse multiple of the predictor `constant`: collapse at `t = m*·B`. Published: 1.46 for Llama-3.1-8B.
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[schemars(extend("x-source" = "published"))]
    pub constant: f64,
    /// Factor `κ` of the predictor `participation_ratio`; fitted on the calibration neurons when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    #[schemars(extend("x-source" = "ours"))]
    pub kappa: Option<f64>,
    /// Relative depth from which, and up to which, a layer counts as bulk.
    #[schemars(extend("x-source" = "ours"))]
    pub bulk: (f64, f64),
    /// Level of the prediction intervals of predictors that are fitted: the share of branches that they should cover.
    #[schemars(range(min = 0.5, max = 0.999))]
    #[schemars(extend("x-source" = "ours"))]
    pub interval: f64,
}

impl Default for CeilingSpec {
    fn default() -> Self {
        Self {
            predictors: vec![
                Predictor::Constant,
                Predictor::ParticipationRatio,
                Predictor::Calibrated,
            ],
            headline: None,
            constant: 1.46,
            kappa: None,
            bulk: (0.15, 0.85),
            interval: 0.9,
        }
    }
}

/// A predictor of the collapse ceiling.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Predictor {
    /// `m*` as given by `constant`.
    #[schemars(extend("x-source" = "published"))]
    Constant,
    /// `m* = κ·√(1 − λ₁/Σλ)`, with `λ` the spectrum of the uncentred second moment of the residual stream at the neuron's layer.
    #[schemars(extend("x-source" = "ours"))]
    ParticipationRatio,
    /// Median `m*` of the calibration neurons, steered on the calibration prompts (`calibration.steer_on`).
    #[schemars(extend("x-source" = "ours"))]
    Calibrated,
    /// Ours: a ridge regression, fitted on the calibration neurons, of the ceiling's coordinate on features of the neuron that need
    /// weights and one generic forward pass only.
    #[schemars(extend("x-source" = "ours"))]
    Regression,
    /// Ours: single steered forward steps along the unsteered answers to the calibration prompts, in which no token is generated. The
    /// ceiling lies where the likeliest next token becomes as unlikely, under the unsteered model, as a collapsed text is. With enough
    /// calibration neurons, a ridge regression of their ceilings on the doses at which half, the whole and twice that limit is crossed.
    #[schemars(extend("x-source" = "ours"))]
    OneStep,
}

impl Predictor {
    /// The predictor's name, as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Predictor::Constant => "constant",
            Predictor::ParticipationRatio => "participation_ratio",
            Predictor::Calibrated => "calibrated",
            Predictor::Regression => "regression",
            Predictor::OneStep => "one_step",
        }
    }
}

/// How the trigger is predicted, before a held-out neuron is steered.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TriggerSpec {
    /// The predictors to score.
    #[schemars(length(min = 1))]
    #[schemars(extend("x-source" = "ours"))]
    pub predictors: Vec<TriggerPredictor>,
    /// The predictor behind the sealed open/closed forecast; `push` when it is listed, else `expected`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub headline: Option<TriggerPredictor>,
    /// How far, in cosθ, the predicted trigger must lie below the predicted ceiling for a window to be forecast open. When absent: 0 for
    /// `expected`; for `push` half the prediction interval of the headline ceiling, or 0.1 where that has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = -1.0, max = 1.0))]
    #[schemars(extend("x-source" = "ours"))]
    pub margin: Option<f64>,
}

impl Default for TriggerSpec {
    fn default() -> Self {
        Self {
            predictors: vec![TriggerPredictor::Expected],
            headline: None,
            margin: None,
        }
    }
}

/// A predictor of the trigger.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum TriggerPredictor {
    /// The behaviour's `expected_trigger`, the same for every neuron.
    #[schemars(extend("x-source" = "published"))]
    Expected,
    /// Ours: the dose at which single steered forward steps on the calibration prompts, in which no token is generated, bring the mean
    /// target-minus-control logit difference above 0. Needs `target_tokens` and `control_tokens`.
    #[schemars(extend("x-source" = "ours"))]
    Push,
}

impl TriggerPredictor {
    /// The predictor's name, as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            TriggerPredictor::Expected => "expected",
            TriggerPredictor::Push => "push",
        }
    }
}

/// Shares of prompts at which a dose counts as flipped or collapsed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ThresholdsSpec {
    /// Trigger: the smallest dose at which at least this share of prompts has flipped without collapse.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.0))]
    #[schemars(extend("x-source" = "published"))]
    pub flip_share: f64,
    /// Ceiling: the smallest dose at which at least this share of rollouts has collapsed.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.0))]
    #[schemars(extend("x-source" = "published"))]
    pub collapse_share: f64,
    /// The coordinate in which triggers and ceilings are stated.
    #[schemars(extend("x-source" = "ours"))]
    pub coordinate: Coordinate,
    /// How a threshold is read off the shares at the doses.
    #[schemars(extend("x-source" = "ours"))]
    pub estimate: Estimate,
    /// Level of the confidence intervals.
    #[schemars(range(min = 0.5, max = 0.999))]
    #[schemars(extend("x-source" = "ours"))]
    pub confidence: f64,
    /// Bootstrap resamples of the prompts behind the interval of each trigger and ceiling.
    #[schemars(range(min = 50, max = 100000))]
    #[schemars(extend("x-source" = "ours"))]
    pub resamples: usize,
}

impl Default for ThresholdsSpec {
    fn default() -> Self {
        Self {
            flip_share: 0.5,
            collapse_share: 0.5,
            coordinate: Coordinate::default(),
            estimate: Estimate::default(),
            confidence: 0.95,
            resamples: 400,
        }
    }
}

/// How a threshold is read off the shares at the doses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Estimate {
    /// Interpolated between doses on a monotone (isotonic) fit, dose 0 included. For the trigger, on the doses up to the one that
    /// flips most prompts: beyond it collapse takes flips away.
    #[default]
    #[schemars(extend("x-source" = "ours"))]
    Isotonic,
    /// The first dose that reaches the share.
    #[schemars(extend("x-source" = "ours"))]
    Grid,
}

/// The coordinate in which triggers and ceilings are stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coordinate {
    /// The law's `(c0 + g) / √(1 + 2·c0·g + g²)`, known before steering.
    #[default]
    #[schemars(extend("x-source" = "published"))]
    Law,
    /// The mean cosθ measured at the steered positions.
    #[schemars(extend("x-source" = "ours"))]
    Measured,
}

/// How verdicts and their reasons are formed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerdictSpec {
    /// The horizon of the verdict; the longest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-source" = "ours"))]
    pub horizon: Option<Horizon>,
    /// Settings for the reasons of closed windows.
    pub reasons: ReasonsSpec,
}

/// Criteria for the reasons of closed windows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReasonsSpec {
    /// A closed branch is called too late to propagate when what survives of its write off its own axis, in the residual stream before
    /// the final norm after one step of `calibration.push` budgets, is less than this share of the median of the branches that are open.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-source" = "ours"))]
    pub late_survival: f64,
    /// A branch that reached neither threshold is called capped by a normalisation when the largest coordinate that its neuron can reach
    /// lies below the median trigger of the branches that have one, or below the predicted ceiling, or when its largest dose came within
    /// this margin of it: no other dose would push further.
    #[schemars(range(min = 0.0, max = 1.0))]
    #[schemars(extend("x-source" = "ours"))]
    pub cap_margin: f64,
}

impl Default for ReasonsSpec {
    fn default() -> Self {
        Self {
            late_survival: 0.25,
            cap_margin: 0.01,
        }
    }
}
