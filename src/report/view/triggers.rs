//! How triggers were predicted: before any rollout of the neuron, and from triggers at shorter horizons.

use schemars::JsonSchema;
use serde::Serialize;

use super::scoreboard::{ErrorCell, error_cell};
use crate::report::format::{counted, fixed, keyword};
use crate::report::input::Input;
use crate::report::text::label;
use crate::stages::scoreboard::{TriggerScore, TriggerSource};

/// What a trigger was predicted from.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct TriggerRow {
    /// Name of the predictor, or `τ = 8`.
    pub source: String,
    /// Whether it was sealed before the first rollout.
    pub sealed: bool,
    /// Whether the sealed forecast rests on it.
    pub headline: bool,
    /// Where it comes from, in words.
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

/// Where it comes from, behaviour by behaviour; once where all behaviours say the same.
fn fitted(input: &Input, source: TriggerSource) -> String {
    let predictions = input.predictions;
    let by_behavior: Vec<(&str, String)> = match source {
        TriggerSource::Sealed(predictor) => (predictions.trigger_predictors.iter())
            .filter(|fitted| fitted.predictor == predictor)
            .map(|fitted| {
                let margin = fixed(fitted.margin, 2);
                let said = format!(
                    "{}; open when {margin} or more below the ceiling",
                    fitted.source
                );
                (&fitted.behavior[..], said)
            })
            .collect(),
        TriggerSource::Horizon(horizon) => (predictions.ratios.iter())
            .filter(|ratio| ratio.horizon == horizon)
            .map(|ratio| {
                let branches = counted(ratio.branches, "calibration branch");
                let said = format!("times {}, over {branches}", fixed(ratio.ratio, 2));
                (&ratio.behavior[..], said)
            })
            .collect(),
    };
    let alike = by_behavior.windows(2).all(|pair| pair[0].1 == pair[1].1);
    match &by_behavior[..] {
        [] => String::new(),
        [(_, said), ..] if alike => said.clone(),
        several => {
            let parts = several.iter();
            let parts = parts.map(|(name, said)| format!("{}: {said}", label(name, 40)));
            parts.collect::<Vec<_>>().join("; ")
        }
    }
}
