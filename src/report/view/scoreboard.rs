//! How the sealed predictions fared on held-out neurons; here the ceilings, by predictor.

use schemars::JsonSchema;
use serde::Serialize;

use super::answer::error_phrase;
use super::forecasts::{self, ForecastRow};
use super::triggers::{self, TriggerRow};
use crate::report::format::{
    NOTHING, coordinate, counted, fixed, interval, keyword, level, percent_interval, share,
};
use crate::report::input::Input;
use crate::spec::ceiling::Predictor;
use crate::stages::predict::FittedPredictor;
use crate::stages::scoreboard::{CeilingScore, Coverage, ErrorEstimate};

/// Scores of the predictors and of the forecast.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Scoreboard {
    /// One per ceiling predictor, in the order of the study.
    pub ceilings: Vec<CeilingRow>,
    /// One per trigger predictor, then one per shorter horizon.
    pub triggers: Vec<TriggerRow>,
    /// One per behaviour, then all together.
    pub forecasts: Vec<ForecastRow>,
    /// Level of the confidence intervals, such as `95%`.
    pub confidence: String,
    /// Level that the prediction intervals state, such as `90%`.
    pub level: String,
}

/// One predictor.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct CeilingRow {
    /// Which.
    pub predictor: String,
    /// Whether the sealed forecast rests on it.
    pub headline: bool,
    /// Whether none is off by less.
    pub best: bool,
    /// What was fitted, such as `m* = 1.46`.
    pub parameter: String,
    /// Where it comes from.
    pub source: String,
    /// Mean absolute error in cosθ.
    pub overall: ErrorCell,
    /// The same in bulk layers.
    pub bulk: ErrorCell,
    /// Measured ceilings inside the prediction intervals.
    pub coverage: String,
    /// Wilson interval of that share.
    pub coverage_interval: String,
    /// Mean width of the prediction intervals in cosθ.
    pub width: String,
    /// Branches left out because the grid ended before the ceiling.
    pub censored: usize,
}

/// An error with what it rests on.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ErrorCell {
    /// Mean absolute error.
    pub error: String,
    /// Bootstrap interval.
    pub interval: String,
    /// Branches and neurons compared.
    pub n: String,
}

/// Builds the scoreboard.
pub fn build(input: &Input) -> Scoreboard {
    let board = &input.verdicts.scoreboard;
    // With one behaviour, all together say the same once more.
    let forecasts = if input.study.behaviors.len() == 1 {
        1
    } else {
        usize::MAX
    };
    Scoreboard {
        ceilings: (board.ceilings.iter())
            .map(|score| ceiling_row(input, score))
            .collect(),
        triggers: board
            .triggers
            .iter()
            .map(|s| triggers::row(input, s))
            .collect(),
        forecasts: (board.forecasts.iter().take(forecasts))
            .map(|score| forecasts::row(score, input.study.thresholds.confidence))
            .collect(),
        confidence: input.confidence(),
        level: level(input.study.ceiling.interval),
    }
}

/// The predictor that is off by least on held-out branches.
pub fn best(scores: &[CeilingScore]) -> Option<&CeilingScore> {
    (scores.iter())
        .filter_map(|score| Some((score.overall?.mean_absolute_error, score)))
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, score)| score)
}

fn ceiling_row(input: &Input, score: &CeilingScore) -> CeilingRow {
    let fitted = (input.predictions.predictors.iter()).find(|p| p.predictor == score.predictor);
    CeilingRow {
        predictor: keyword(score.predictor),
        headline: score.predictor == input.study.ceiling.headline,
        best: input.verdicts.scoreboard.ceilings.len() > 1
            && best(&input.verdicts.scoreboard.ceilings)
                .is_some_and(|best| best.predictor == score.predictor),
        parameter: fitted.map_or(NOTHING.into(), parameter),
        source: fitted.map_or(String::new(), |p| p.source.clone()),
        overall: error_cell(score.overall.as_ref()),
        bulk: error_cell(score.bulk.as_ref()),
        coverage: (score.coverage).map_or(NOTHING.into(), |c| share(c.inside, c.branches)),
        coverage_interval: (score.coverage.and_then(|c| c.interval))
            .map_or(String::new(), percent_interval),
        width: (score.coverage).map_or(NOTHING.into(), |c| coordinate(c.width)),
        censored: score.censored,
    }
}

fn parameter(fitted: &FittedPredictor) -> String {
    let symbol = match fitted.predictor {
        Predictor::ParticipationRatio => "κ",
        Predictor::Constant | Predictor::Calibrated => "m*",
        Predictor::Regression | Predictor::OneStep => "",
    };
    match (fitted.parameter, &fitted.regression) {
        (Some(value), _) => format!("{symbol} = {}", fixed(value, 3)),
        (None, Some(fit)) => counted(fit.weights.len(), "weight"),
        (None, None) if fitted.is_fitted() => "no fit needed".into(),
        (None, None) if fitted.is_fitted() => "no fit needed".into(),
        (None, None) => "not fitted".into(),
    }
}

/// An error as a cell of a table.
pub fn error_cell(estimate: Option<&ErrorEstimate>) -> ErrorCell {
    match estimate {
        None => ErrorCell {
            error: NOTHING.into(),
            interval: NOTHING.into(),
            n: "nothing to compare".into(),
        },
        Some(e) => ErrorCell {
            error: coordinate(e.mean_absolute_error),
            interval: interval(e.interval),
            n: format!(
                "{}, {}",
                counted(e.branches, "branch"),
                counted(e.neurons, "neuron")
            ),
        },
    }
}

/// Why the headline predictor has no score.
fn why_not_compared(input: &Input) -> String {
    let headline = input.study.ceiling.headline;
    let unfitted =
        (input.predictions.predictors.iter()).any(|p| p.predictor == headline && !p.is_fitted());
    if unfitted {
        return format!(
            "The headline predictor, {}, could not be fitted: too few calibration branches collapsed within the dose grid.",
            keyword(headline)
        );
    }
    format!(
        "No collapse ceiling by the headline predictor, {}, could be compared: no held-out branch for which it predicts one reached its ceiling within the doses.",
        keyword(headline)
    )
}

/// How well the ceilings were predicted, in a sentence or more.
pub fn prediction_sentence(input: &Input) -> String {
    let scores = &input.verdicts.scoreboard.ceilings;
    let headline = scores
        .iter()
        .find(|s| s.predictor == input.study.ceiling.headline);
    let Some((headline, estimate)) = headline.and_then(|s| Some((s, s.overall?))) else {
        return why_not_compared(input);
    };
    let confidence = input.study.thresholds.confidence;
    let mut sentence = format!(
        "Collapse ceilings were predicted before steering: the headline predictor, {}, is off by {} in cosθ on average ({}; {} of {}).",
        keyword(headline.predictor),
        coordinate(estimate.mean_absolute_error),
        error_phrase(&estimate.interval, confidence),
        counted(estimate.branches, "branch"),
        counted(estimate.neurons, "neuron"),
    );
    if let Some(coverage) = headline.coverage {
        sentence += &coverage_phrase(input, coverage);
    }
    match best(scores) {
        Some(best) if best.predictor != headline.predictor => {
            sentence += &format!(
                " In hindsight the best predictor was {}, with {}.",
                keyword(best.predictor),
                best.overall
                    .map_or(NOTHING.into(), |e| coordinate(e.mean_absolute_error))
            );
        }
        _ if scores.len() > 1 => sentence += " No other predictor did better.",
        _ => {}
    }
    sentence
}

fn coverage_phrase(input: &Input, coverage: Coverage) -> String {
    format!(
        " Its {} prediction intervals, {} wide on average, hold {} measured ceilings.",
        level(input.study.ceiling.interval),
        coordinate(coverage.width),
        share(coverage.inside, coverage.branches)
    )
}
