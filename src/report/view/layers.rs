//! Windows by layer, and why the closed ones are closed, over held-out branches.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::Figures;
use crate::report::figures::layers::{self as chart, Bar};
use crate::report::format::{NOTHING, coordinate, counted, fixed, share, thousands};
use crate::report::input::Input;
use crate::spec::neurons::Role;
use crate::stages::verdict::{BranchVerdict, Reason, Window};
use crate::stats;
use crate::units::NeuronId;

/// One behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BehaviorLayers {
    /// Name of the behaviour.
    pub behavior: String,
    /// Name of the figure.
    pub figure: String,
    /// How many branches there are of each kind, and what makes one.
    pub kinds: Vec<KindRow>,
    /// One per layer with held-out neurons.
    pub rows: Vec<LayerRow>,
    /// Whether survival was read.
    pub survival: bool,
    /// Whether a norm caps the coordinate.
    pub capped: bool,
}

/// One kind of window.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct KindRow {
    /// `open`, `undecided`, `closed` or `censored`.
    pub kind: &'static str,
    /// The verdict in a word or two.
    pub label: &'static str,
    /// Branches of all.
    pub branches: String,
    /// What makes a branch one, with the study's criterion.
    pub criterion: String,
}

/// One layer.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct LayerRow {
    /// The layer.
    pub layer: usize,
    /// Whether it counts as bulk.
    pub bulk: bool,
    /// Branches in all.
    pub branches: usize,
    /// Open ones.
    pub open: usize,
    /// Undecided ones.
    pub undecided: usize,
    /// Closed by collapse, by lateness, by a norm.
    pub closed: [usize; 3],
    /// Censored ones.
    pub censored: usize,
    /// Median trigger of those that have one, as cosθ.
    pub trigger: String,
    /// Median ceiling, as cosθ; bounded ones count above every number.
    pub ceiling: String,
    /// Mean absolute error of the headline predictor.
    pub error: String,
    /// Median survival off the write's own axis: of open branches, of closed ones.
    pub survival: [String; 2],
    /// Median of the largest cosθ that a branch can reach.
    pub cap: String,
}

/// A held-out branch.
type Branch<'a> = (NeuronId, &'a BranchVerdict);

/// Builds the section; one entry per behaviour with held-out neurons.
pub fn build(input: &Input, figures: &mut Figures) -> Vec<BehaviorLayers> {
    let behaviors = input.study.behaviors.iter().enumerate();
    behaviors
        .filter_map(|(place, behavior)| of_behavior(input, figures, place, &behavior.name))
        .collect()
}

fn of_behavior(
    input: &Input,
    figures: &mut Figures,
    place: usize,
    behavior: &str,
) -> Option<BehaviorLayers> {
    let mut layers: BTreeMap<usize, Vec<Branch>> = BTreeMap::new();
    let held_out = (input.verdicts_of(behavior).iter()).filter(|v| v.role == Role::HeldOut);
    for verdict in held_out {
        let of_layer = layers.entry(verdict.neuron.layer).or_default();
        of_layer.extend(
            verdict
                .branches
                .iter()
                .map(|branch| (verdict.neuron, branch)),
        );
    }
    let bars: Vec<Bar> = (layers.iter())
        .map(|(layer, branches)| Bar {
            layer: *layer,
            counts: counts(branches),
        })
        .collect();
    let rows: Vec<LayerRow> = (layers.iter())
        .map(|(layer, branches)| layer_row(input, behavior, *layer, branches))
        .collect();
    (!rows.is_empty()).then(|| BehaviorLayers {
        behavior: behavior.to_owned(),
        figure: figures.add(chart::draw(place, behavior, &bars)),
        kinds: kinds(input, &bars),
        survival: (rows.iter()).any(|row| row.survival.iter().any(|s| s != NOTHING)),
        capped: rows.iter().any(|row| row.cap != NOTHING),
        rows,
    })
}

/// The place of a window among the kinds of a bar.
fn place(window: &Window) -> usize {
    match window {
        Window::Open => 0,
        Window::Undecided { .. } => 1,
        Window::Closed { reason, .. } => match reason {
            Reason::CollapseBeforeTrigger => 2,
            Reason::TooLate => 3,
            Reason::NormalisationCap => 4,
        },
        Window::Censored { .. } => 5,
    }
}

fn counts(branches: &[Branch]) -> [usize; 6] {
    let mut counts = [0; 6];
    for (_, branch) in branches {
        counts[place(&branch.window)] += 1;
    }
    counts
}

fn layer_row(input: &Input, behavior: &str, layer: usize, branches: &[Branch]) -> LayerRow {
    let [open, undecided, collapse, late, cap, censored] = counts(branches);
    let horizon = input.verdict_horizon();
    let triggers: Vec<f64> = (branches.iter())
        .filter_map(|(_, branch)| branch.trigger(horizon).filter(|t| t.reached()))
        .map(|trigger| trigger.coordinate())
        .collect();
    let ceilings: Vec<f64> = (branches.iter())
        .map(|(_, branch)| match branch.ceiling.reached() {
            true => branch.ceiling.coordinate(),
            false => f64::INFINITY,
        })
        .collect();
    let errors: Vec<f64> = (branches.iter().filter(|(_, b)| b.ceiling.reached()))
        .filter_map(|(neuron, branch)| {
            let predicted = input.headline(*neuron, branch.sign)?.coordinate;
            Some((predicted - input.law_ceiling(*neuron, branch)).abs())
        })
        .collect();
    let survival = |wanted: fn(&Window) -> bool| {
        let found: Vec<f64> = (branches.iter().filter(|(_, b)| wanted(&b.window)))
            .filter_map(|(n, b)| Some(input.predictions.push(behavior, *n, b.sign)?.survival))
            .collect();
        stats::median(&found).map_or(NOTHING.into(), |median| fixed(median, 2))
    };
    let caps: Vec<f64> = (branches.iter())
        .filter_map(|(neuron, branch)| {
            let neuron = input.calibration(*neuron)?;
            neuron.normed.map(|_| neuron.cap(branch.sign))
        })
        .collect();
    LayerRow {
        layer,
        bulk: input.is_bulk(layer),
        branches: branches.len(),
        open,
        undecided,
        closed: [collapse, late, cap],
        censored,
        trigger: median(&triggers),
        ceiling: median(&ceilings),
        error: stats::mean(&errors).map_or(NOTHING.into(), coordinate),
        survival: [
            survival(|window| *window == Window::Open),
            survival(|window| matches!(window, Window::Closed { .. })),
        ],
        cap: median(&caps),
    }
}

fn median(values: &[f64]) -> String {
    stats::median(values).map_or(NOTHING.into(), coordinate)
}

/// The kinds that occur.
fn kinds(input: &Input, bars: &[Bar]) -> Vec<KindRow> {
    let reasons = input.study.reasons;
    let total: usize = bars.iter().flat_map(|bar| bar.counts).sum();
    let rows = [
        (
            "open",
            "open",
            "the trigger lies below the ceiling, and so do their intervals".to_owned(),
        ),
        (
            "undecided",
            "undecided",
            "the trigger lies below the ceiling, but their intervals overlap".into(),
        ),
        (
            "closed",
            "collapses first",
            "the ceiling is reached and no trigger lies below it".into(),
        ),
        (
            "closed",
            "too late",
            format!(
                "as before, and less than {} × the median survival of the open branches (where none is open: of those in bulk layers) is left of the write off its own axis at the final norm (verdict.reasons.late_survival)",
                reasons.late_survival
            ),
        ),
        (
            "closed",
            "capped by norm",
            format!(
                "neither is reached, and the largest reachable cosθ lies below the median trigger or the predicted ceiling, or the largest dose came within {} of it (verdict.reasons.cap_margin)",
                reasons.cap_margin
            ),
        ),
        (
            "censored",
            "censored",
            "neither is reached, and nothing says that it could not be: the doses ended first"
                .into(),
        ),
    ];
    (rows.into_iter().enumerate())
        .map(|(kind, row)| (bars.iter().map(|bar| bar.counts[kind]).sum::<usize>(), row))
        .filter(|(count, _)| *count > 0)
        .map(|(count, (kind, label, criterion))| KindRow {
            kind,
            label,
            branches: share(count, total),
            criterion,
        })
        .collect()
}

/// What late layers do, against the paper, for behaviours with neurons beyond the bulk; in a sentence.
pub fn late_layers(input: &Input, behavior: &str) -> Option<String> {
    let (_, to) = input.study.ceiling.bulk;
    let depth = |neuron: NeuronId| input.study.model.shape.relative_depth(neuron.layer);
    let held_out = || (input.verdicts_of(behavior).iter()).filter(|v| v.role == Role::HeldOut);
    let count = |wanted: &dyn Fn(f64) -> bool| {
        let known = held_out().filter(|v| v.open.is_some() && wanted(depth(v.neuron)));
        let open = known.clone().filter(|v| v.open == Some(true)).count();
        (open, known.count())
    };
    let (late, of_late) = count(&|depth| depth > to);
    let (earlier, of_earlier) = count(&|depth| depth <= to);
    (late > 0 && of_earlier > 0).then(|| {
        format!(
            "Late layers (relative depth above {to}) are not closed to {behavior}: {} open there, {} before. The paper closes them, because too little depth is left to propagate.",
            counted_share(late, of_late),
            counted_share(earlier, of_earlier),
        )
    })
}

fn counted_share(count: usize, total: usize) -> String {
    let count = thousands(count);
    format!("{count} of {}", counted(total, "held-out neuron"))
}
