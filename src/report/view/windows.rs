//! The window chart and the verdict of every neuron, per behaviour.

use serde::Serialize;

use super::Figures;
use crate::report::figures::windows as chart;
use crate::report::format::{NOTHING, budgets, coordinate};
use crate::report::input::Input;
use crate::report::interest::most_telling;
use crate::report::wording::{role, window_label};
use crate::stages::predict::CeilingEstimate;
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, Threshold, Window};

/// Rows of a chart, and neurons of a table: more are counted, and stand in `verdicts.json`.
const CHART_ROWS: usize = 40;
const TABLE_NEURONS: usize = 60;

/// One behaviour.
#[derive(Clone, Debug, Serialize)]
pub struct BehaviorWindows {
    /// Name of the behaviour.
    pub behavior: String,
    /// Name of the chart among the figures; absent without any neuron.
    pub chart: Option<String>,
    /// Neurons that the chart leaves out.
    pub chart_left_out: usize,
    /// The horizons of the trigger columns.
    pub horizons: Vec<String>,
    /// Verdicts by neuron: all, or the most telling.
    pub neurons: Vec<NeuronRow>,
    /// Neurons that the table leaves out.
    pub table_left_out: usize,
}

/// One neuron.
#[derive(Clone, Debug, Serialize)]
pub struct NeuronRow {
    /// `L3.12`.
    pub neuron: String,
    /// Its role, in words.
    pub role: &'static str,
    /// `open`, `closed` or `undecided`.
    pub verdict: &'static str,
    /// One per measured branch.
    pub branches: Vec<BranchRow>,
}

/// One branch.
#[derive(Clone, Debug, Serialize)]
pub struct BranchRow {
    /// `+` or `−`.
    pub sign: String,
    /// The trigger at each horizon.
    pub triggers: Vec<Place>,
    /// The measured ceiling.
    pub ceiling: Place,
    /// The headline predictor's ceiling.
    pub predicted: Place,
    /// `open`, `closed` or `censored`.
    pub kind: &'static str,
    /// The verdict in a word or two.
    pub label: &'static str,
    /// From trigger to ceiling in cosθ, for an open window; `≥` where the ceiling is a bound.
    pub width: Option<String>,
    /// The evidence, when not open.
    pub evidence: String,
}

/// A place on a branch, in both units.
#[derive(Clone, Debug, Serialize)]
pub struct Place {
    /// As cosθ: `0.512`, or `> 0.905` where the grid ended first.
    pub coordinate: String,
    /// In budgets, likewise.
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
            let total = input.verdicts_of(name).count();
            let charted = most_telling(input, name, CHART_ROWS);
            let mut listed = most_telling(input, name, TABLE_NEURONS);
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
                chart_left_out: total - charted.len(),
                horizons: input
                    .study
                    .rollout
                    .horizons
                    .iter()
                    .map(ToString::to_string)
                    .collect(),
                table_left_out: total - listed.len(),
                neurons: listed.into_iter().map(|v| neuron_row(input, v)).collect(),
            }
        })
        .collect()
}

fn neuron_row(input: &Input, verdict: &NeuronVerdict) -> NeuronRow {
    NeuronRow {
        neuron: verdict.neuron.to_string(),
        role: role(verdict.role),
        verdict: match verdict.open {
            Some(true) => "open",
            Some(false) => "closed",
            None => "undecided",
        },
        branches: verdict
            .branches
            .iter()
            .map(|b| branch_row(input, verdict, b))
            .collect(),
    }
}

fn branch_row(input: &Input, verdict: &NeuronVerdict, branch: &BranchVerdict) -> BranchRow {
    let (kind, evidence) = match &branch.window {
        Window::Open => ("open", String::new()),
        Window::Undecided { evidence } => ("undecided", evidence.clone()),
        Window::Closed { evidence, .. } => ("closed", evidence.clone()),
        Window::Censored { evidence } => ("censored", evidence.clone()),
    };
    let horizons = &input.study.rollout.horizons;
    BranchRow {
        sign: branch.sign.to_string(),
        triggers: horizons
            .iter()
            .map(|h| branch.trigger(*h).map_or_else(absent, threshold))
            .collect(),
        ceiling: threshold(branch.ceiling),
        predicted: (input.headline(verdict.neuron, branch.sign)).map_or_else(absent, estimate),
        kind,
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

/// A threshold in both units.
pub fn threshold(threshold: Threshold) -> Place {
    let bound = if threshold.reached() { "" } else { "> " };
    Place {
        coordinate: format!("{bound}{}", coordinate(threshold.coordinate())),
        budgets: format!("{bound}{}", budgets(threshold.budgets())),
        reached: threshold.reached(),
    }
}

fn estimate(estimate: CeilingEstimate) -> Place {
    Place {
        coordinate: coordinate(estimate.coordinate),
        budgets: estimate.multiple.map_or(NOTHING.into(), budgets),
        reached: true,
    }
}

fn absent() -> Place {
    Place {
        coordinate: NOTHING.into(),
        budgets: NOTHING.into(),
        reached: false,
    }
}
