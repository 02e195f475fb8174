//! How the sealed open/closed forecasts fared, and what may be concluded.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::format::{NOTHING, counted, level, percent, percent_interval, share, thousands};
use crate::report::input::Input;
use crate::stages::scoreboard::ForecastScore;

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
pub fn row(score: &ForecastScore) -> ForecastRow {
    ForecastRow {
        behavior: score.behavior.clone(),
        right: share(score.right, score.scored),
        interval: score.interval.map_or(NOTHING.into(), percent_interval),
        baseline: share(score.majority, score.scored),
        foretold: share(score.open_foretold, score.foretold),
        found: share(score.open_foretold, score.open),
        undecided: score.undecided,
        conclusion: conclusion(score),
    }
}

/// What the forecast's interval says against the baseline, in words.
pub fn conclusion(score: &ForecastScore) -> String {
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
        capitalised(&conclusion(all)),
        thousands(all.foretold),
        thousands(all.open_foretold),
        thousands(all.open),
        thousands(all.open_foretold),
    )
}
