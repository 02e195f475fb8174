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
    pub positions: CalibrationPositions,
    /// How residual norms over positions become one number.
    pub statistic: Statistic,
    /// Strength, in budgets, of the one-step push screen.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub push: f64,
    /// Name of the prompt set on which the calibration neurons are steered; the generic one when absent. Collapse comes sooner on
    /// some kinds of text than on others, so requests like those of the behaviours fit best; no prompt may stand in both.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steer_on: Option<String>,
    /// How many of those prompts are used; budgets are always read on all generic ones.
    #[schemars(range(min = 1))]
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
    pub predictors: Vec<Predictor>,
    /// The predictor behind the sealed open/closed forecast; `calibrated` when it is listed, else the first listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub headline: Option<Predictor>,
    /// Collapse multiple of the predictor `constant`: collapse at `t = m*·B`. Published: 1.46 for Llama-3.1-8B.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub constant: f64,
    /// Factor `κ` of the predictor `participation_ratio`; fitted on the calibration neurons when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub kappa: Option<f64>,
    /// Relative depth from which, and up to which, a layer counts as bulk.
    pub bulk: (f64, f64),
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
    Constant,
    /// `m* = κ·√(1 − λ₁/Σλ)`, with `λ` the spectrum of the uncentred second moment of the residual stream at the neuron's layer.
    ParticipationRatio,
    /// Median `m*` of the calibration neurons, steered on the calibration prompts (`calibration.steer_on`).
    Calibrated,
}

impl Predictor {
    /// The predictor's name, as in the spec.
    pub fn name(self) -> &'static str {
        match self {
            Predictor::Constant => "constant",
            Predictor::ParticipationRatio => "participation_ratio",
            Predictor::Calibrated => "calibrated",
        }
    }
}

/// Shares of prompts at which a dose counts as flipped or collapsed.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ThresholdsSpec {
    /// Trigger: the smallest dose at which at least this share of prompts has flipped without collapse.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.0))]
    pub flip_share: f64,
    /// Ceiling: the smallest dose at which at least this share of rollouts has collapsed.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.0))]
    pub collapse_share: f64,
    /// The coordinate in which triggers and ceilings are stated.
    pub coordinate: Coordinate,
    /// Level of the confidence intervals.
    #[schemars(range(min = 0.5, max = 0.999))]
    pub confidence: f64,
}

impl Default for ThresholdsSpec {
    fn default() -> Self {
        Self {
            flip_share: 0.5,
            collapse_share: 0.5,
            coordinate: Coordinate::default(),
            confidence: 0.95,
        }
    }
}

/// The coordinate in which triggers and ceilings are stated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Coordinate {
    /// The law's `(c0 + g) / √(1 + 2·c0·g + g²)`, known before steering.
    #[default]
    Law,
    /// The mean cosθ measured at the steered positions.
    Measured,
}

/// How verdicts and their reasons are formed.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VerdictSpec {
    /// The horizon of the verdict; the longest when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub horizon: Option<Horizon>,
    /// Settings for the reasons of closed windows.
    pub reasons: ReasonsSpec,
}

/// Criteria for the reasons of closed windows.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReasonsSpec {
    /// A closed branch whose layer lies at this relative depth or deeper is called too late to propagate.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub late_depth: f64,
    /// A branch is called capped by a normalisation when, at its largest dose, the measured cosθ falls short of the law's by more than this.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1.0))]
    pub cap_shortfall: f64,
}

impl Default for ReasonsSpec {
    fn default() -> Self {
        Self {
            late_depth: 0.85,
            cap_shortfall: 0.1,
        }
    }
}
