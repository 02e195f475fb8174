//! Matched controls: what neurons and directions that were not chosen for a behaviour do to it at the same budgets.

use schemars::JsonSchema;
use serde::Serialize;

use super::Figures;
use crate::report::figures::controls::{self, Line, Share};
use crate::report::format::{NOTHING, fixed, listed, percentage, share};
use crate::report::input::Input;
use crate::report::text::label;
use crate::spec::neurons::Role;
use crate::stages::judge::{Curve, HorizonShares};
use crate::stages::screen::Group;
use crate::stats::{self, Interval};

/// Bootstrap resamples of the neurons.
const RESAMPLES: usize = 1000;

/// One behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
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
#[derive(Clone, Debug, JsonSchema, Serialize)]
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
    measured: usize,
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
    let count =
        |wanted: &dyn Fn(Option<bool>) -> bool| measured.iter().filter(|v| wanted(v.open)).count();
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
        measured: measured.len(),
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
}

fn row(found: &Found) -> GroupRow {
    GroupRow {
        group: found.name.clone(),
        kind: found.kind,
        neurons: found.measured,
        open: share(found.open, found.known),
        unknown: found.measured - found.known,
        mean: percent(stats::mean(&found.flips)),
        most: percent(found.flips.iter().copied().reduce(f64::max)),
    }
}

/// Held-out groups together against each control.
fn sentence(input: &Input, behavior: &str, groups: &[Found]) -> String {
    let behavior = label(behavior, 60);
    let (held_out, controls): (Vec<&Found>, Vec<&Found>) =
        groups.iter().partition(|group| group.role == Role::HeldOut);
    let flips: Vec<f64> = held_out
        .iter()
        .flat_map(|g| g.flips.iter().copied())
        .collect();
    let Some(mean) = stats::mean(&flips) else {
        return format!(
            "No held-out neuron was measured on {behavior}: there is nothing to compare."
        );
    };
    let compared: Vec<(&Found, Interval)> = (controls.into_iter())
        .filter_map(|control| Some((control, difference(input, &flips, control)?)))
        .collect();
    if compared.is_empty() {
        return format!(
            "No controls were measured on {behavior}: whether any push of this size does it, this study cannot say."
        );
    }
    let against: Vec<String> = (compared.iter())
        .map(|(control, difference)| {
            format!(
                "{} in {} (difference {} points)",
                percent(stats::mean(&control.flips)),
                label(&control.name, 40),
                points(*difference)
            )
        })
        .collect();
    format!(
        "At their best dose, held-out neurons flip {} of prompts of {behavior} coherently on average, against {}; {} intervals over neurons.{}",
        percent(Some(mean)),
        listed(&against),
        input.confidence(),
        conclusions(&compared)
    )
}

/// Bootstrap interval, over neurons, of the mean largest flip share of held-out neurons less that of a control.
fn difference(input: &Input, held_out: &[f64], control: &Found) -> Option<Interval> {
    let items: Vec<(f64, bool)> = (held_out.iter().map(|share| (*share, true)))
        .chain(control.flips.iter().map(|share| (*share, false)))
        .collect();
    let mean = |items: &[(f64, bool)], wanted: bool| {
        let of: Vec<f64> = items
            .iter()
            .filter(|i| i.1 == wanted)
            .map(|i| i.0)
            .collect();
        stats::mean(&of)
    };
    let difference = |items: &[(f64, bool)]| Some(mean(items, true)? - mean(items, false)?);
    let (confidence, seed) = (input.study.thresholds.confidence, input.study.seed);
    stats::bootstrap(&items, difference, RESAMPLES, confidence, seed)
}

/// What the differences say, for the controls of which they say the same together.
fn conclusions(compared: &[(&Found, Interval)]) -> String {
    let said = [
        ("More than in", "a push of this size alone does not do it"),
        (
            "Not shown to be more than in",
            "this study cannot rule out that any push of this size does it",
        ),
        (
            "Less than in",
            "these neurons do worse than a push of this size anywhere",
        ),
    ];
    let place = |difference: &Interval| match (difference.low > 0.0, difference.high < 0.0) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    };
    (said.iter().enumerate())
        .map(|(wanted, (start, end))| {
            let of = compared
                .iter()
                .filter(|(_, difference)| place(difference) == wanted);
            (
                of.map(|(control, _)| label(&control.name, 40))
                    .collect::<Vec<_>>(),
                start,
                end,
            )
        })
        .filter(|(names, ..)| !names.is_empty())
        .map(|(names, start, end)| format!(" {start} {}: {end}.", listed(&names)))
        .collect()
}

fn percent(share: Option<f64>) -> String {
    share.map_or(NOTHING.into(), percentage)
}

/// An interval of differences of shares, in percentage points.
fn points(Interval { low, high }: Interval) -> String {
    let decimals = usize::from(high - low < 0.02);
    let [low, high] = [low, high].map(|end| fixed(100.0 * end, decimals));
    format!("{low} to {high}")
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
