//! Attribution against control: whether scores that need no rollout say which neurons control a behaviour, and what the paper says of them.

use schemars::JsonSchema;
use serde::Serialize;

use super::Figures;
use crate::report::figures::attribution as chart;
use crate::report::format::{NOTHING, counted, fixed, keyword, level, signed_interval, thousands};
use crate::report::input::Input;
use crate::report::text::label;
use crate::spec::neurons::ScreenScore;
use crate::stages::attribution::{Alignment, BehaviorAttribution, ScoreControl};
use crate::stats::Interval;

/// One behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct AttributionView {
    /// Name of the behaviour.
    pub behavior: String,
    /// Whether gradient attribution anti-predicts, predicts, or says nothing about control here.
    pub gradient: String,
    /// Where controllers write, against the readout axis; absent where it cannot be compared.
    pub alignment: Option<String>,
    /// The FFN/skip ratio; absent without a contrast.
    pub ratio: Option<String>,
    /// One per score.
    pub rows: Vec<ScoreRow>,
    /// Name of the figure; absent when no correlation is defined.
    pub figure: Option<String>,
}

/// One score.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ScoreRow {
    /// Its name.
    pub score: String,
    /// What kind of evidence it is.
    pub kind: &'static str,
    /// Neurons that have it.
    pub neurons: String,
    /// Spearman's correlation of its size with control.
    pub correlation: String,
    /// Its interval.
    pub correlation_interval: String,
    /// Area under the ROC curve for open.
    pub area: String,
    /// Its interval.
    pub area_interval: String,
    /// What the correlation's interval says.
    pub says: &'static str,
}

/// One entry per behaviour on which neurons were measured.
pub fn build(input: &Input, figures: &mut Figures) -> Vec<AttributionView> {
    let of_all = input.verdicts.attribution.iter().enumerate();
    of_all
        .filter(|(_, found)| found.neurons > 0)
        .map(|(place, found)| AttributionView {
            behavior: found.behavior.clone(),
            gradient: gradient(input, found),
            alignment: found.alignment.as_ref().map(|a| alignment(input, a)),
            ratio: ratio(input, &found.behavior),
            rows: found.scores.iter().map(row).collect(),
            figure: chart::draw(place, found).map(|figure| figures.add(figure)),
        })
        .collect()
}

fn row(score: &ScoreControl) -> ScoreRow {
    let number = |value: Option<f64>| value.map_or(NOTHING.into(), |v| fixed(v, 2));
    ScoreRow {
        score: keyword(score.score),
        kind: kind(score.score),
        neurons: thousands(score.neurons),
        correlation: number(score.correlation),
        correlation_interval: score
            .correlation_interval
            .map_or(String::new(), signed_interval),
        area: number(score.area),
        area_interval: (score.area_interval).map_or(String::new(), |i| {
            format!("{}–{}", fixed(i.low, 2), fixed(i.high, 2))
        }),
        says: says(score),
    }
}

/// What a score needs: the three kinds of evidence are kept apart.
fn kind(score: ScreenScore) -> &'static str {
    match score {
        ScreenScore::OneStepPush => "intervention, one step",
        ScreenScore::GradientActivation | ScreenScore::GradientBudgets => "gradient",
        ScreenScore::Random => "no knowledge",
        ScreenScore::ContrastBudgets
        | ScreenScore::DirectImportance
        | ScreenScore::DirectImportanceRms => "passive contrast",
    }
}

fn says(score: &ScoreControl) -> &'static str {
    match score.correlation_interval {
        None => "not defined",
        Some(Interval { low, .. }) if low > 0.0 => "predicts",
        Some(Interval { high, .. }) if high < 0.0 => "anti-predicts",
        Some(_) => "says nothing",
    }
}

/// The paper's claim, and what was found.
fn gradient(input: &Input, found: &BehaviorAttribution) -> String {
    let name = label(&found.behavior, 60);
    let of_gradient = |score: &&ScoreControl| score.score == ScreenScore::GradientActivation;
    let Some(score) = found.scores.iter().find(of_gradient) else {
        return format!(
            "Without a readout axis for {name}, gradient attribution cannot be compared with control."
        );
    };
    let (Some(correlation), Some(interval)) = (score.correlation, score.correlation_interval)
    else {
        return format!(
            "Gradient attribution (gradient × activation) cannot be compared with control of {name}: over {}, control or score is the same for all.",
            counted(score.neurons, "neuron")
        );
    };
    let (found, against) = match says(score) {
        "predicts" => (
            "predicts",
            "The paper says that it anti-predicts: not so here.",
        ),
        "anti-predicts" => ("anti-predicts", "So says the paper."),
        _ => (
            "says nothing about",
            "The paper says that it anti-predicts: that is not shown here.",
        ),
    };
    let area = match (score.area, score.area_interval) {
        (Some(area), Some(interval)) => format!(
            "; its area under the ROC curve for open is {} ({}–{})",
            fixed(area, 2),
            fixed(interval.low, 2),
            fixed(interval.high, 2)
        ),
        _ => String::new(),
    };
    format!(
        "Gradient attribution (gradient × activation) {found} control of {name} here: Spearman’s correlation of its size with the largest coherent flip share is {} ({} interval {}; {}){area}. {against}",
        fixed(correlation, 2),
        level(input.study.thresholds.confidence),
        signed_interval(interval),
        counted(score.neurons, "neuron"),
    )
}

fn alignment(input: &Input, found: &Alignment) -> String {
    format!(
        "|cos(v, d)| between write direction and readout axis has a median of {} over {} and {} over {} closed (difference {}, {} interval). The paper says that controllers write off the axis; here {}.",
        fixed(found.of_controllers, 3),
        counted(found.controllers, "open neuron"),
        fixed(found.of_others, 3),
        thousands(found.others),
        signed_interval(found.difference),
        level(input.study.thresholds.confidence),
        axis(found),
    )
}

/// Where open neurons write, against the readout axis.
pub fn axis(found: &Alignment) -> &'static str {
    if found.difference.high < 0.0 {
        "open neurons write farther off it than closed ones"
    } else if found.difference.low > 0.0 {
        "open neurons write closer to it than closed ones, not off it"
    } else {
        "no difference between open and closed neurons is shown"
    }
}

fn ratio(input: &Input, behavior: &str) -> Option<String> {
    let scores = &input.predictions.screening.scores;
    let ratio = (scores.iter().find(|s| s.behavior == behavior)?).ffn_skip_ratio?;
    Some(format!(
        "FFN/skip ratio at the last layer: {} (|d·FFN output| over |d·block input|, mean of both passes of the contrast).",
        fixed(ratio, 2)
    ))
}

/// What gradient attribution says of control, behaviour by behaviour.
pub fn sentences(input: &Input) -> Vec<String> {
    let measured = input
        .verdicts
        .attribution
        .iter()
        .filter(|found| found.neurons > 0);
    measured.map(|found| gradient(input, found)).collect()
}

/// What gradient attribution does on each behaviour where it is defined: `predicts`, `anti-predicts` or `says nothing`.
pub fn gradient_verdicts<'a>(input: &Input<'a>) -> Vec<(&'a str, &'static str)> {
    let of_all = input.verdicts.attribution.iter();
    of_all
        .filter_map(|found| {
            let score = (found.scores.iter())
                .find(|s| s.score == ScreenScore::GradientActivation)
                .filter(|s| s.correlation.is_some())?;
            Some((&found.behavior[..], says(score)))
        })
        .collect()
}
