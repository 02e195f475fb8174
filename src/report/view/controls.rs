//! Matched controls: what neurons and directions that were not chosen for a behaviour do to it at the same budgets.

use serde::Serialize;

use super::Figures;
use crate::report::figures::controls::{self, Line, Share};
use crate::report::format::{NOTHING, counted, fixed, level, percent_interval, share};
use crate::report::input::Input;
use crate::report::text::label;
use crate::spec::neurons::Role;
use crate::stages::judge::{Curve, HorizonShares};
use crate::stages::screen::Group;
use crate::stats::{self, Interval};

/// One behaviour.
#[derive(Clone, Debug, Serialize)]
pub struct BehaviorControls {
    /// Name of the behaviour.
    pub behavior: String,
    /// What the comparison says, in a sentence or two.
    pub sentence: String,
    /// One per group, held-out ones first.
    pub rows: Vec<GroupRow>,
    /// Names of the figures: mean share flipped, mean share collapsed.
    pub figures: Vec<String>,
}

/// One group on one behaviour.
#[derive(Clone, Debug, Serialize)]
pub struct GroupRow {
    /// Name of the group.
    pub group: String,
    /// What it holds, in words.
    pub kind: &'static str,
    /// How many were measured.
    pub neurons: usize,
    /// Those that are open.
    pub open: String,
    /// Those of which it is not known.
    pub unknown: usize,
    /// Largest coherent flip share, mean over the group.
    pub mean: String,
    /// Largest coherent flip share, of the best.
    pub most: String,
}

/// What was found of one group.
struct Found {
    name: String,
    role: Role,
    kind: &'static str,
    open: usize,
    known: usize,
    /// The largest coherent flip share of each neuron, over doses and branches.
    flips: Vec<f64>,
    flipped: Line,
    collapsed: Line,
}

/// Builds the section; one entry per behaviour on which a group was measured.
pub fn build(input: &Input, figures: &mut Figures) -> Vec<BehaviorControls> {
    let behaviors = input.study.behaviors.iter().enumerate();
    behaviors
        .map(|(place, behavior)| (place, &behavior.name, found(input, &behavior.name)))
        .filter(|(_, _, groups)| !groups.is_empty())
        .map(|(place, name, groups)| BehaviorControls {
            behavior: name.clone(),
            sentence: sentence(input, name, &groups),
            rows: groups.iter().map(row).collect(),
            figures: [Share::Flipped, Share::Collapsed]
                .map(|share| {
                    let lines: Vec<Line> = groups.iter().map(|g| g.line(share)).collect();
                    figures.add(controls::draw(place, name, share, &lines))
                })
                .into(),
        })
        .collect()
}

/// Groups that were measured on a behaviour, held-out ones first.
fn found(input: &Input, behavior: &str) -> Vec<Found> {
    let groups = &input.predictions.screening.groups;
    let mut found: Vec<Found> = (groups.iter())
        .filter(|group| !group.is_calibration())
        .filter_map(|group| of_group(input, behavior, group))
        .collect();
    found.sort_by_key(|group| group.role != Role::HeldOut);
    found
}

fn of_group(input: &Input, behavior: &str, group: &Group) -> Option<Found> {
    let measured: Vec<_> = (group.neurons.iter())
        .filter_map(|neuron| input.index.verdict(behavior, *neuron))
        .collect();
    if measured.is_empty() || !group.behaviors.iter().any(|name| name == behavior) {
        return None;
    }
    let count = |wanted: &dyn Fn(Option<bool>) -> bool| {
        measured.iter().filter(|v| wanted(v.open)).count()
    };
    let curves: Vec<&Curve> = (measured.iter())
        .flat_map(|v| v.branches.iter().map(move |b| (v.neuron, b.sign)))
        .filter_map(|(neuron, sign)| input.curve(behavior, neuron, sign))
        .collect();
    let horizon = input.study.rollout.verdict_place();
    let last = input.study.rollout.horizons.len() - 1;
    Some(Found {
        name: group.name.clone(),
        role: group.role,
        kind: kind(group),
        open: count(&|open| open == Some(true)),
        known: count(&|open| open.is_some()),
        flips: (measured.iter())
            .filter_map(|v| {
                let of_branches = v.branches.iter();
                of_branches
                    .filter_map(|b| input.best_flip(behavior, v.neuron, b.sign))
                    .reduce(f64::max)
            })
            .collect(),
        flipped: line(group, &curves, |h| h.get(horizon).map(|h| h.flipped)),
        collapsed: line(group, &curves, |h| h.get(last).map(|h| h.collapsed)),
    })
}

fn kind(group: &Group) -> &'static str {
    if group.neurons.iter().all(|n| n.direction().is_some()) {
        return "random directions";
    }
    match group.role {
        Role::HeldOut => "held-out neurons",
        Role::Control => "control neurons",
        Role::Calibration => "calibration neurons",
    }
}

/// Mean share at each dose of the grid, over the curves. With doses in activation units a place of the grid stands for other budgets in
/// each neuron: then at their mean.
fn line(
    group: &Group,
    curves: &[&Curve],
    read: impl Fn(&[HorizonShares]) -> Option<usize>,
) -> Line {
    let mut sums: Vec<(f64, f64, f64)> = Vec::new();
    for curve in curves.iter().filter(|curve| curve.prompts > 0) {
        let of_grid = curve.points.iter().filter(|point| point.of_grid());
        for (place, point) in of_grid.enumerate() {
            let Some(count) = read(&point.horizons) else {
                continue;
            };
            if sums.len() == place {
                sums.push((0.0, 0.0, 0.0));
            }
            let sum = &mut sums[place];
            sum.0 += 1.0;
            sum.1 += point.budgets;
            sum.2 += count as f64 / curve.prompts as f64;
        }
    }
    Line {
        group: group.name.clone(),
        points: sums.into_iter().map(|(n, g, s)| (g / n, s / n)).collect(),
    }
}

impl Found {
    fn line(&self, share: Share) -> Line {
        let Line { group, points } = match share {
            Share::Flipped => &self.flipped,
            Share::Collapsed => &self.collapsed,
        };
        Line {
            group: group.clone(),
            points: points.clone(),
        }
    }

    fn wilson(&self, confidence: f64) -> Option<Interval> {
        stats::wilson(self.open, self.known, confidence)
    }

    fn noun(&self) -> &'static str {
        match self.kind {
            "random directions" => "random direction",
            _ => "neuron",
        }
    }
}

fn row(found: &Found) -> GroupRow {
    let percent = |share: Option<f64>| {
        share.map_or(NOTHING.into(), |s| format!("{}%", fixed(100.0 * s, 0)))
    };
    GroupRow {
        group: found.name.clone(),
        kind: found.kind,
        neurons: found.flips.len(),
        open: share(found.open, found.known),
        unknown: found.flips.len() - found.known,
        mean: percent(stats::mean(&found.flips)),
        most: percent(found.flips.iter().copied().reduce(f64::max)),
    }
}

/// Held-out groups together against each kind of control.
fn sentence(input: &Input, behavior: &str, groups: &[Found]) -> String {
    let behavior = label(behavior, 60);
    let held_out = groups.iter().filter(|group| group.role == Role::HeldOut);
    let (open, known) = held_out.fold((0, 0), |sum, g| (sum.0 + g.open, sum.1 + g.known));
    let confidence = input.study.thresholds.confidence;
    let Some(held_out) = stats::wilson(open, known, confidence) else {
        return format!("No held-out neuron's window was decided on {behavior}: there is nothing to compare.");
    };
    let comparisons: Vec<String> = (groups.iter())
        .filter(|g| g.role != Role::HeldOut)
        .filter_map(|control| {
            let interval = control.wilson(confidence)?;
            let conclusion = if held_out.low > interval.high {
                "fewer: a push of this size alone does not do it"
            } else if held_out.high < interval.low {
                "more: chosen neurons do worse than a push of this size anywhere"
            } else {
                "not shown to be fewer: these counts cannot rule out that any push of this size does it"
            };
            Some(format!(
                "{} of {} in {} ({}), {conclusion}",
                control.open,
                counted(control.known, control.noun()),
                label(&control.name, 40),
                percent_interval(interval),
            ))
        })
        .collect();
    if comparisons.is_empty() {
        return format!("No control's window was decided on {behavior}: whether any push of this size does it, this study cannot say.");
    }
    format!(
        "{open} of {} ({}, {} Wilson interval) {} open on {behavior}; at the same budgets, {}.",
        counted(known, "held-out neuron"),
        percent_interval(held_out),
        level(confidence),
        if open == 1 { "is" } else { "are" },
        comparisons.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::NeuronId;

    #[test]
    fn a_group_of_directions_is_called_so() {
        let mut group = Group {
            name: "noise".into(),
            role: Role::Control,
            behaviors: vec![],
            neurons: vec![NeuronId::random_direction(2, 0)],
        };
        assert_eq!(kind(&group), "random directions");
        group.neurons.push(NeuronId { layer: 2, index: 7 });
        assert_eq!(kind(&group), "control neurons");
    }
}
