//! How the sealed open/closed forecasts fared, and what may be concluded.

use std::cmp::Ordering;

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::format::{
    NOTHING, counted, fixed, level, percent, percent_interval, share, thousands,
};
use crate::report::input::Input;
use crate::stages::scoreboard::ForecastScore;
use crate::stats;

/// Fewer scored neurons than this are called few.
const FEW: usize = 20;

/// The forecast for one behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ForecastRow {
    /// Name of the behaviour, or `all`.
    pub behavior: String,
    /// Right of scored.
    pub right: String,
    /// Wilson interval of that share.
    pub interval: String,
    /// What always giving the commoner answer would have got right.
    pub baseline: String,
    /// Of those foretold to be open, those that were.
    pub foretold: String,
    /// Of those found open, those that were foretold to be.
    pub found: String,
    /// Neurons that could not be scored.
    pub undecided: usize,
    /// What may be concluded.
    pub conclusion: String,
}

/// One row of the scoreboard.
pub fn row(score: &ForecastScore, confidence: f64) -> ForecastRow {
    ForecastRow {
        behavior: score.behavior.clone(),
        right: share(score.right, score.scored),
        interval: score.interval.map_or(NOTHING.into(), percent_interval),
        baseline: share(score.majority, score.scored),
        foretold: share(score.open_foretold, score.foretold),
        found: share(score.open_foretold, score.open),
        undecided: score.undecided,
        conclusion: conclusion(score, confidence),
    }
}

/// What a forecast is against the baseline, in words. Both answer for the same neurons: McNemar's test asks those on which only one is right.
pub fn conclusion(score: &ForecastScore, confidence: f64) -> String {
    if score.scored == 0 {
        return "nothing could be scored".into();
    }
    let (forecast, baseline) = alone(score);
    let p = stats::mcnemar(forecast, baseline);
    let verdict = match forecast.cmp(&baseline) {
        _ if p > 1.0 - confidence => "not shown to be better than the baseline",
        Ordering::Less => "worse than the baseline",
        _ => "better than the baseline",
    };
    let mut said = format!(
        "{verdict} (right where it is not: {forecast}, the reverse: {baseline}; p {})",
        probability(p)
    );
    if score.scored < FEW {
        said += &format!("; few neurons ({})", score.scored);
    }
    said
}

/// Neurons for which only the forecast is right, and for which only the commoner answer is.
fn alone(score: &ForecastScore) -> (usize, usize) {
    let closed_foretold = score.scored - score.foretold;
    let closed_right = score.right - score.open_foretold;
    match 2 * score.open > score.scored {
        // The baseline says open.
        true => (closed_right, closed_foretold - closed_right),
        false => (score.open_foretold, score.foretold - score.open_foretold),
    }
}

fn probability(p: f64) -> String {
    match p {
        p if p < 0.0001 => "< 0.0001".into(),
        p if p < 0.01 => format!("= {}", fixed(p, 4)),
        p if p < 0.1 => format!("= {}", fixed(p, 3)),
        p => format!("= {}", fixed(p, 2)),
    }
}

fn capitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(chars).collect()
    })
}

/// The forecast over all behaviours; of the last one where they were not taken together.
pub fn of_all(forecasts: &[ForecastScore]) -> Option<&ForecastScore> {
    (forecasts.iter().rev().find(|f| f.behavior == "all")).or(forecasts.last())
}

/// How the sealed open/closed forecast fared, in sentences.
pub fn sentence(input: &Input) -> String {
    let all = of_all(&input.verdicts.scoreboard.forecasts);
    let Some(all) = all.filter(|f| f.scored > 0) else {
        return "No sealed open/closed forecast could be scored.".into();
    };
    let pairs = if input.study.behaviors.len() > 1 {
        "neuron and behaviour pair"
    } else {
        "held-out neuron"
    };
    format!(
        "The sealed open/closed forecast was right for {} of {} ({}{}); always giving the commoner answer would have been right for {} ({}). {}. Of the {} among these that were foretold open, {} were; of the {} found open, {} had been foretold.",
        thousands(all.right),
        counted(all.scored, pairs),
        percent(all.right, all.scored),
        all.interval.map_or(String::new(), |i| format!(
            ", {} interval {}",
            level(input.study.thresholds.confidence),
            percent_interval(i)
        )),
        thousands(all.majority),
        percent(all.majority, all.scored),
        capitalised(&conclusion(all, input.study.thresholds.confidence)),
        thousands(all.foretold),
        thousands(all.open_foretold),
        thousands(all.open),
        thousands(all.open_foretold),
    )
}
