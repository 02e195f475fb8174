//! The window chart and the verdict of every neuron, per behaviour.

use schemars::JsonSchema;
use serde::Serialize;

use super::Figures;
use crate::report::figures::windows as chart;
use crate::report::format::{NOTHING, budgets, coordinate, interval, threshold_interval};
use crate::report::input::Input;
use crate::report::interest::most_telling;
use crate::report::wording::{neuron_label, role, window_kind, window_label};
use crate::stages::predict::CeilingEstimate;
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, Threshold, ThresholdInterval, Window};

/// As many neurons are shown one by one.
const ALL: usize = 36;
/// Of more, these, the most telling; the others are counted, and stand in `verdicts.json`.
const TELLING: usize = 12;

/// One behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BehaviorWindows {
    /// Name of the behaviour.
    pub behavior: String,
    /// Name of the chart among the figures; absent without any neuron.
    pub chart: Option<String>,
    /// The horizons of the trigger columns.
    pub horizons: Vec<String>,
    /// Verdicts by neuron: all, or the most telling.
    pub neurons: Vec<NeuronRow>,
    /// Neurons that chart and table leave out.
    pub left_out: usize,
    /// Every branch of every neuron in a line, where the table leaves some out; else empty.
    pub every: Vec<BranchLine>,
}

/// One neuron.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct NeuronRow {
    /// `L3.12`.
    pub neuron: String,
    /// Its role, in words.
    pub role: &'static str,
    /// `open`, `undecided`, `closed` or `censored`.
    pub verdict: &'static str,
    /// One per measured branch.
    pub branches: Vec<BranchRow>,
}

/// One branch in a line: coordinates only, at the horizon of the verdict.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BranchLine {
    /// `L3.12`.
    pub neuron: String,
    /// Its role, in words.
    pub role: &'static str,
    /// `+` or `−`.
    pub sign: String,
    /// The trigger as cosθ: `0.512`, or `> 0.905`.
    pub trigger: String,
    /// The measured ceiling, likewise.
    pub ceiling: String,
    /// The headline predictor's ceiling; `–` when nothing was predicted.
    pub predicted: String,
    /// The verdict in a word or two.
    pub label: &'static str,
}

/// One branch.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BranchRow {
    /// `+` or `−`.
    pub sign: String,
    /// The trigger at each horizon.
    pub triggers: Vec<Place>,
    /// The measured ceiling.
    pub ceiling: Place,
    /// The headline predictor's ceiling.
    pub predicted: Place,
    /// `open`, `undecided`, `closed` or `censored`.
    pub kind: &'static str,
    /// The verdict in a word or two.
    pub label: &'static str,
    /// From trigger to ceiling in cosθ, for an open window; `≥` where the ceiling is a bound.
    pub width: Option<String>,
    /// The evidence, when not open.
    pub evidence: String,
}

/// A place on a branch, in both units.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Place {
    /// As cosθ: `0.512`, or `> 0.905` where the grid ended first.
    pub coordinate: String,
    /// Its interval as cosθ, `0.480–0.561`; empty where there is none.
    pub interval: String,
    /// In budgets, as the coordinate.
    pub budgets: String,
    /// Whether it was reached, rather than bounded or absent.
    pub reached: bool,
}

/// Builds the section, and draws its charts.
pub fn build(input: &Input, figures: &mut Figures) -> Vec<BehaviorWindows> {
    let behaviors = input.study.behaviors.iter().enumerate();
    behaviors
        .map(|(place, behavior)| {
            let name = &behavior.name;
            let total = input.verdicts_of(name).len();
            let charted = most_telling(input, name, if total <= ALL { ALL } else { TELLING });
            let mut listed = charted.clone();
            listed.sort_by_key(|v| v.neuron);
            BehaviorWindows {
                behavior: name.clone(),
                chart: (!charted.is_empty()).then(|| {
                    figures.add(chart::draw(
                        input,
                        name,
                        chart::file_name(place, name),
                        &charted,
                    ))
                }),
                horizons: input
                    .study
                    .rollout
                    .horizons
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                left_out: total - listed.len(),
                every: if listed.len() < total {
                    every(input, name)
                } else {
                    Vec::new()
                },
                neurons: listed.into_iter().map(|v| neuron_row(input, v)).collect(),
            }
        })
        .collect()
}

/// Every branch, by neuron.
fn every(input: &Input, behavior: &str) -> Vec<BranchLine> {
    let verdicts = input.verdicts_of(behavior).iter();
    let branches = verdicts.flat_map(|v| v.branches.iter().map(move |b| (v, b)));
    let line = |(verdict, branch): (&&NeuronVerdict, &BranchVerdict)| BranchLine {
        neuron: verdict.neuron.to_string(),
        role: role(verdict.role),
        sign: branch.sign.to_string(),
        trigger: (branch.trigger(input.verdict_horizon())).map_or(NOTHING.into(), bounded),
        ceiling: bounded(branch.ceiling),
        predicted: (input.headline(verdict.neuron, branch.sign))
            .map_or(NOTHING.into(), |estimate| coordinate(estimate.coordinate)),
        label: window_label(&branch.window),
    };
    branches.map(line).collect()
}

/// A threshold as cosθ, `> 0.905` where the doses ended first.
fn bounded(threshold: Threshold) -> String {
    let bound = if threshold.reached() { "" } else { "> " };
    format!("{bound}{}", coordinate(threshold.coordinate()))
}

fn neuron_row(input: &Input, verdict: &NeuronVerdict) -> NeuronRow {
    NeuronRow {
        neuron: verdict.neuron.to_string(),
        role: role(verdict.role),
        verdict: neuron_label(verdict),
        branches: verdict
            .branches
            .iter()
            .map(|b| branch_row(input, verdict, b))
            .collect(),
    }
}

fn branch_row(input: &Input, verdict: &NeuronVerdict, branch: &BranchVerdict) -> BranchRow {
    let evidence = match &branch.window {
        Window::Open => String::new(),
        Window::Undecided { evidence }
        | Window::Closed { evidence, .. }
        | Window::Censored { evidence } => evidence.clone(),
    };
    let horizons = &input.study.rollout.horizons;
    BranchRow {
        sign: branch.sign.to_string(),
        triggers: horizons
            .iter()
            .map(|h| {
                branch
                    .at(*h)
                    .map_or_else(absent, |t| threshold(t.trigger, t.interval))
            })
            .collect(),
        ceiling: threshold(branch.ceiling, branch.ceiling_interval),
        predicted: (input.headline(verdict.neuron, branch.sign)).map_or_else(absent, estimate),
        kind: window_kind(&branch.window),
        label: window_label(&branch.window),
        width: (branch.window == Window::Open)
            .then(|| width(input, branch))
            .flatten(),
        evidence,
    }
}

fn width(input: &Input, branch: &BranchVerdict) -> Option<String> {
    let bound = if branch.ceiling.reached() { "" } else { "≥ " };
    Some(format!(
        "{bound}{}",
        coordinate(branch.width(input.verdict_horizon())?)
    ))
}

fn threshold(threshold: Threshold, interval: Option<ThresholdInterval>) -> Place {
    let bound = if threshold.reached() { "" } else { "> " };
    Place {
        coordinate: bounded(threshold),
        // An interval that lies beyond the doses altogether says no more than the bound.
        interval: (interval.filter(|i| i.low.reached())).map_or(String::new(), threshold_interval),
        budgets: format!("{bound}{}", budgets(threshold.budgets())),
        reached: threshold.reached(),
    }
}

fn estimate(estimate: CeilingEstimate) -> Place {
    Place {
        coordinate: coordinate(estimate.coordinate),
        interval: estimate.interval.map_or(String::new(), interval),
        budgets: estimate.multiple.map_or(NOTHING.into(), budgets),
        reached: true,
    }
}

fn absent() -> Place {
    Place {
        coordinate: NOTHING.into(),
        interval: String::new(),
        budgets: NOTHING.into(),
        reached: false,
    }
}
