//! How the sealed predictions fared: ceilings by predictor, open/closed forecasts by behaviour, and what may be concluded.

use serde::Serialize;

use super::answer::error_phrase;
use crate::report::format::{
    NOTHING, coordinate, counted, fixed, interval, keyword, percent, percent_interval, share,
};
use crate::report::input::Input;
use crate::stages::predict::FittedPredictor;
use crate::stages::scoreboard::{CeilingScore, ErrorEstimate, ForecastScore};

/// Fewer scored neurons than this are called few.
const FEW: usize = 20;

/// Scores of the predictors and of the forecast.
#[derive(Clone, Debug, Serialize)]
pub struct Scoreboard {
    /// One per predictor, in the order of the study.
    pub ceilings: Vec<CeilingRow>,
    /// One per behaviour, then all together.
    pub forecasts: Vec<ForecastRow>,
    /// Level of the intervals, such as `95%`.
    pub confidence: String,
}

/// One predictor.
#[derive(Clone, Debug, Serialize)]
pub struct CeilingRow {
    /// Which.
    pub predictor: String,
    /// Whether the sealed forecast rests on it.
    pub headline: bool,
    /// What was fitted, such as `m* = 1.46`.
    pub parameter: String,
    /// Where it comes from.
    pub source: String,
    /// Mean absolute error in cosθ.
    pub overall: ErrorCell,
    /// The same in bulk layers.
    pub bulk: ErrorCell,
    /// Branches left out because the grid ended before the ceiling.
    pub censored: usize,
}

/// An error with what it rests on.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorCell {
    /// Mean absolute error.
    pub error: String,
    /// Bootstrap interval.
    pub interval: String,
    /// Branches and neurons compared.
    pub n: String,
}

/// The forecast for one behaviour.
#[derive(Clone, Debug, Serialize)]
pub struct ForecastRow {
    /// Name of the behaviour, or `all`.
    pub behavior: String,
    /// Right of scored.
    pub right: String,
    /// Wilson interval of that share.
    pub interval: String,
    /// What always giving the commoner answer would have got right.
    pub baseline: String,
    /// Neurons found open.
    pub open: usize,
    /// Neurons that could not be scored.
    pub undecided: usize,
    /// What may be concluded.
    pub conclusion: String,
}

/// Builds the scoreboard.
pub fn build(input: &Input) -> Scoreboard {
    let board = &input.verdicts.scoreboard;
    Scoreboard {
        ceilings: board
            .ceilings
            .iter()
            .map(|score| ceiling_row(input, score))
            .collect(),
        forecasts: board.forecasts.iter().map(forecast_row).collect(),
        confidence: format!("{}%", fixed(100.0 * input.study.thresholds.confidence, 0)),
    }
}

fn ceiling_row(input: &Input, score: &CeilingScore) -> CeilingRow {
    let fitted = (input.predictions.predictors.iter()).find(|p| p.predictor == score.predictor);
    CeilingRow {
        predictor: keyword(score.predictor),
        headline: score.predictor == input.study.ceiling.headline,
        parameter: fitted.map_or(NOTHING.into(), parameter),
        source: fitted.map_or(String::new(), |p| p.source.clone()),
        overall: error_cell(score.overall.as_ref()),
        bulk: error_cell(score.bulk.as_ref()),
        censored: score.censored,
    }
}

fn parameter(fitted: &FittedPredictor) -> String {
    use crate::spec::ceiling::Predictor;
    let symbol = match fitted.predictor {
        Predictor::ParticipationRatio => "κ",
        Predictor::Constant | Predictor::Calibrated => "m*",
        Predictor::Regression | Predictor::OneStep => "",
    };
    match (fitted.parameter, &fitted.regression) {
        (Some(value), _) => format!("{symbol} = {}", fixed(value, 3)),
        (None, Some(fit)) => counted(fit.weights.len(), "weight"),
        (None, None) if fitted.is_fitted() => "no fit needed".into(),
        (None, None) => "not fitted".into(),
    }
}

fn error_cell(estimate: Option<&ErrorEstimate>) -> ErrorCell {
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

fn forecast_row(score: &ForecastScore) -> ForecastRow {
    ForecastRow {
        behavior: score.behavior.clone(),
        right: share(score.right, score.scored),
        interval: score.interval.map_or(NOTHING.into(), percent_interval),
        baseline: share(score.majority, score.scored),
        open: score.open,
        undecided: score.undecided,
        conclusion: conclusion(score),
    }
}

/// What the forecast's interval says against the baseline, in words.
fn conclusion(score: &ForecastScore) -> String {
    let Some(interval) = score.interval.filter(|_| score.scored > 0) else {
        return "nothing could be scored".into();
    };
    let baseline = score.majority as f64 / score.scored as f64;
    let verdict = if interval.low > baseline {
        "better than the baseline"
    } else if interval.high < baseline {
        "worse than the baseline"
    } else {
        "the interval includes the baseline, so the forecast is not shown to be better"
    };
    match score.scored {
        few if few < FEW => format!("{verdict}; few neurons ({few})"),
        _ => verdict.into(),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// Why the headline predictor has no score.
fn why_not_compared(input: &Input) -> String {
    let headline = input.study.ceiling.headline;
    let unfitted = (input.predictions.predictors.iter())
        .any(|p| p.predictor == headline && !p.is_fitted());
    if unfitted {
        return format!(
            "The headline predictor, {}, could not be fitted: too few calibration branches collapsed within the dose grid.",
            keyword(headline)
        );
    }
    "No predicted collapse ceiling could be compared: no held-out branch with a prediction reached its ceiling within the dose grid.".into()
}

/// How well the ceilings were predicted, in a sentence or two.
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
    let best = (scores
        .iter()
        .filter_map(|s| Some((s.overall?.mean_absolute_error, s.predictor))))
    .min_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((error, best)) if best != headline.predictor => {
            sentence += &format!(
                " In hindsight the best predictor was {}, with {}.",
                keyword(best),
                coordinate(error)
            );
        }
        _ if scores.len() > 1 => sentence += " No other predictor did better.",
        _ => {}
    }
    sentence
}

/// How the sealed open/closed forecast fared, in a sentence.
pub fn forecast_sentence(input: &Input) -> String {
    let forecasts = &input.verdicts.scoreboard.forecasts;
    let all = forecasts
        .iter()
        .rev()
        .find(|f| f.behavior == "all")
        .or(forecasts.last());
    let Some(all) = all.filter(|f| f.scored > 0) else {
        return "No sealed open/closed forecast could be scored.".into();
    };
    let pairs = if input.study.behaviors.len() > 1 {
        "neuron and behaviour pair"
    } else {
        "held-out neuron"
    };
    format!(
        "The sealed open/closed forecast was right for {} of {} ({}{}); always giving the commoner answer would have been right for {} ({}). {}.",
        all.right,
        counted(all.scored, pairs),
        percent(all.right, all.scored),
        all.interval.map_or(String::new(), |i| format!(
            ", {}% interval {}",
            fixed(100.0 * input.study.thresholds.confidence, 0),
            percent_interval(i)
        )),
        all.majority,
        percent(all.majority, all.scored),
        capitalised(&conclusion(all)),
    )
}
