//! How the predictions of two runs fared, and what the screens' scores say about control in each.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::{largest_first, moved};
use crate::report::format::{NOTHING, coordinate, counted, fixed, keyword, share, thousands};
use crate::stages::attribution::{Alignment, ScoreControl};
use crate::stages::scoreboard::{
    CeilingScore, ErrorEstimate, ForecastScore, TriggerScore, TriggerSource,
};
use crate::stages::verdict::Verdicts;

/// A score that is another one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScoreChange {
    /// What was scored, such as `ceiling by one_step` or `forecast for language-routing`.
    pub score: String,
    /// How far its main figure has moved: an error in cosθ, a share or a correlation; null where only one run has it.
    pub size: Option<f64>,
    /// The first run's score, as in `verdicts.json`; null where it has none.
    #[schemars(with = "Value")]
    pub first: Option<Score>,
    /// The second run's score.
    #[schemars(with = "Value")]
    pub second: Option<Score>,
}

impl ScoreChange {
    /// Whether it is about a screen's score rather than about a prediction.
    fn is_of_screen(&self) -> bool {
        let score = self.first.as_ref().or(self.second.as_ref());
        matches!(score, Some(Score::Control(_) | Score::Alignment(_)))
    }
}

/// A score, of whatever kind.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Score {
    /// How a ceiling predictor fared.
    Ceiling(CeilingScore),
    /// How triggers that were predicted from something fared.
    Trigger(TriggerScore),
    /// How the open/closed forecasts fared.
    Forecast(ForecastScore),
    /// What a screen's score says about control.
    Control(ScoreControl),
    /// Where open neurons write.
    Alignment(Alignment),
}

impl Score {
    /// The figure by which changes are ordered.
    fn figure(&self) -> Option<f64> {
        match self {
            Score::Ceiling(score) => score.overall.map(|overall| overall.mean_absolute_error),
            Score::Trigger(score) => score.overall.map(|overall| overall.mean_absolute_error),
            Score::Forecast(score) => {
                (score.scored > 0).then(|| score.right as f64 / score.scored as f64)
            }
            Score::Control(score) => score.correlation,
            Score::Alignment(alignment) => Some(alignment.of_controllers - alignment.of_others),
        }
    }

    /// The main figures in words.
    pub fn worded(&self) -> String {
        match self {
            Score::Ceiling(score) => match score.coverage {
                Some(c) => format!(
                    "{}; {} inside",
                    error(score.overall),
                    share(c.inside, c.branches)
                ),
                None => error(score.overall),
            },
            Score::Trigger(score) => format!(
                "{}; {} missed, {}",
                error(score.overall),
                thousands(score.missed),
                counted(score.false_alarms, "false alarm")
            ),
            Score::Forecast(score) => format!(
                "{} right; the commoner answer {}",
                share(score.right, score.scored),
                thousands(score.majority)
            ),
            Score::Control(score) => format!(
                "correlation {} over {}",
                score.correlation.map_or(NOTHING.into(), |r| fixed(r, 3)),
                counted(score.neurons, "neuron")
            ),
            Score::Alignment(alignment) => format!(
                "medians {} of {} and {} of {}",
                coordinate(alignment.of_controllers),
                counted(alignment.controllers, "open neuron"),
                coordinate(alignment.of_others),
                counted(alignment.others, "closed neuron")
            ),
        }
    }
}

fn error(overall: Option<ErrorEstimate>) -> String {
    match overall {
        Some(error) => format!(
            "off by {} over {}",
            coordinate(error.mean_absolute_error),
            counted(error.branches, "branch")
        ),
        None => "nothing to compare".into(),
    }
}

/// Compares the scores.
pub fn changes(first: &Verdicts, second: &Verdicts) -> Vec<ScoreChange> {
    let (mut one, mut other) = (scores(first), scores(second));
    let names: Vec<(usize, String)> = one.keys().chain(other.keys()).cloned().collect();
    let mut changed = Vec::new();
    for name in names {
        let (first, second) = (one.remove(&name), other.remove(&name));
        if value(&first) == value(&second) {
            continue;
        }
        let figure = |score: &Option<Score>| score.as_ref().and_then(Score::figure);
        changed.push(ScoreChange {
            score: name.1,
            size: moved(figure(&first), figure(&second)),
            first,
            second,
        });
    }
    changed.sort_by(|a, b| {
        let by_size = largest_first(a.size, b.size);
        a.is_of_screen().cmp(&b.is_of_screen()).then(by_size)
    });
    changed
}

fn value(score: &Option<Score>) -> Value {
    serde_json::to_value(score).expect("scores are plain data")
}

/// Every score under its name, in the order of the kinds.
fn scores(verdicts: &Verdicts) -> BTreeMap<(usize, String), Score> {
    let board = &verdicts.scoreboard;
    let mut all = BTreeMap::new();
    let mut add = |kind: usize, name: String, score| drop(all.insert((kind, name), score));
    for score in &board.ceilings {
        let name = format!("ceiling by {}", score.predictor.name());
        add(0, name, Score::Ceiling(score.clone()));
    }
    for score in &board.triggers {
        let name = match score.source {
            TriggerSource::Sealed(predictor) => format!("trigger by {}", predictor.name()),
            TriggerSource::Horizon(horizon) => format!("trigger from horizon {horizon}"),
        };
        add(1, name, Score::Trigger(score.clone()));
    }
    for score in &board.forecasts {
        let name = format!("forecast for {}", score.behavior);
        add(2, name, Score::Forecast(score.clone()));
    }
    for behavior in &verdicts.attribution {
        let name = &behavior.behavior;
        for score in &behavior.scores {
            let name = format!("{} against control of {name}", keyword(score.score));
            add(3, name, Score::Control(score.clone()));
        }
        if let Some(alignment) = behavior.alignment {
            let name = format!("alignment with the readout axis for {name}");
            add(4, name, Score::Alignment(alignment));
        }
    }
    all
}
