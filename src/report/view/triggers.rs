//! How triggers were predicted: before any rollout of the neuron, and from triggers at shorter horizons.

use serde::Serialize;

use super::scoreboard::{ErrorCell, error_cell};
use crate::report::format::{fixed, keyword, listed};
use crate::report::input::Input;
use crate::report::text::label;
use crate::spec::ceiling::TriggerPredictor;
use crate::stages::scoreboard::{TriggerScore, TriggerSource};

/// What a trigger was predicted from.
#[derive(Clone, Debug, Serialize)]
pub struct TriggerRow {
    /// Name of the predictor, or `τ = 8`.
    pub source: String,
    /// Whether it was sealed before the first rollout.
    pub sealed: bool,
    /// Whether the sealed forecast rests on it.
    pub headline: bool,
    /// What was fitted, in words.
    pub fitted: String,
    /// Mean absolute error in cosθ over branches with a measured trigger and a predicted one.
    pub overall: ErrorCell,
    /// Branches with a measured trigger for which none was predicted.
    pub missed: usize,
    /// Branches without a measured trigger for which one below the predicted ceiling was predicted.
    pub false_alarms: usize,
}

/// One row of the scoreboard.
pub fn row(input: &Input, score: &TriggerScore) -> TriggerRow {
    let (source, sealed, headline) = match score.source {
        TriggerSource::Sealed(predictor) => (
            keyword(predictor),
            true,
            predictor == input.study.trigger.headline,
        ),
        TriggerSource::Horizon(horizon) => (format!("τ = {horizon}"), false, false),
    };
    TriggerRow {
        source,
        sealed,
        headline,
        fitted: fitted(input, score.source),
        overall: error_cell(score.overall.as_ref()),
        missed: score.missed,
        false_alarms: score.false_alarms,
    }
}

/// What was fitted for each behaviour: coordinates, or ratios.
fn fitted(input: &Input, source: TriggerSource) -> String {
    let predictions = input.predictions;
    let by_behavior: Vec<String> = match source {
        TriggerSource::Sealed(predictor) => (predictions.trigger_predictors.iter())
            .filter(|fitted| fitted.predictor == predictor)
            .map(|fitted| of_behavior(&fitted.behavior, &fitted.parameters))
            .collect(),
        TriggerSource::Horizon(horizon) => (predictions.ratios.iter())
            .filter(|ratio| ratio.horizon == horizon)
            .map(|ratio| of_behavior(&ratio.behavior, &[ratio.ratio]))
            .collect(),
    };
    let what = match source {
        TriggerSource::Sealed(TriggerPredictor::Expected) => "cosθ",
        TriggerSource::Sealed(TriggerPredictor::Push) | TriggerSource::Horizon(_) => "ratio",
    };
    match by_behavior.len() {
        0 => String::new(),
        _ => format!("{what}: {}", listed(&by_behavior)),
    }
}

fn of_behavior(behavior: &str, parameters: &[f64]) -> String {
    let numbers: Vec<String> = parameters.iter().map(|p| fixed(*p, 2)).collect();
    format!("{} {}", label(behavior, 40), numbers.join(", "))
}
