//! What two runs measured: thresholds, windows, neurons and outcome classes of the branches that both have.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::largest_first;
use crate::report::wording::{neuron_label, window_kind, window_label};
use crate::spec::neurons::Role;
use crate::stages::verdict::{
    BranchVerdict, ClassReach, NeuronVerdict, Threshold, ThresholdInterval, Verdicts, Window,
};
use crate::units::{Horizon, NeuronId, Sign};

/// What was concluded otherwise. Whatever is open in one of the runs comes first.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
pub struct VerdictChanges {
    /// Neurons with another verdict.
    pub neurons: Vec<NeuronChange>,
    /// Branches with another window, or one that is closed for another reason.
    pub windows: Vec<WindowChange>,
    /// Outcome classes that are reached elsewhere, for typed behaviours.
    pub classes: Vec<ClassChange>,
}

/// A neuron with another verdict.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct NeuronChange {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// Its role in the first run.
    pub role: Role,
    /// The first run's verdict: `open`, `closed`, `undecided` or `censored`.
    pub first: String,
    /// The second run's.
    pub second: String,
}

/// A branch with another window.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct WindowChange {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// The first run's window, as in `verdicts.json`.
    pub first: Window,
    /// The second run's.
    pub second: Window,
}

/// An outcome class that is reached elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ClassChange {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// When the first run reached it, as in `verdicts.json`; null where it has no such class.
    pub first: Option<ClassReach>,
    /// When the second run did.
    pub second: Option<ClassReach>,
}

/// A threshold that was measured elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ThresholdChange {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// Whether it is a trigger or the ceiling.
    pub kind: ThresholdKind,
    /// Horizon of the trigger; null for the ceiling, which is that of the longest horizon.
    pub horizon: Option<Horizon>,
    /// How far it has moved, in cosθ: from estimate to estimate, or at least as far where one of them is a bound. 0 where only its
    /// interval is another one.
    pub size: f64,
    /// The first run's threshold, as in `verdicts.json`.
    pub first: Threshold,
    /// The second run's.
    pub second: Threshold,
    /// Bootstrap interval of the first run's.
    pub first_interval: Option<ThresholdInterval>,
    /// Bootstrap interval of the second run's.
    pub second_interval: Option<ThresholdInterval>,
}

/// Which threshold it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdKind {
    /// Where the behaviour flips.
    Trigger,
    /// Where the text collapses.
    Ceiling,
}

impl VerdictChanges {
    /// Whether the same was concluded.
    pub fn is_empty(&self) -> bool {
        self.neurons.is_empty() && self.windows.is_empty() && self.classes.is_empty()
    }
}

impl ThresholdChange {
    /// Whether neither run reached the threshold: all that has moved is how far the doses went.
    pub fn is_bound(&self) -> bool {
        !self.first.reached() && !self.second.reached()
    }
}

/// How many branches both runs measured.
pub fn compared(first: &Verdicts, second: &Verdicts) -> usize {
    of_both(first, second)
        .map(|(one, other)| branches_of_both(one, other).count())
        .sum()
}

/// Compares conclusions. Evidence that reads otherwise makes no difference by itself: its figures are those of the thresholds.
pub fn changes(first: &Verdicts, second: &Verdicts) -> VerdictChanges {
    let mut found = VerdictChanges::default();
    for (one, other) in of_both(first, second) {
        let (label, other_label) = (neuron_label(one), neuron_label(other));
        if label != other_label {
            found.neurons.push(NeuronChange {
                behavior: one.behavior.clone(),
                neuron: one.neuron,
                role: one.role,
                first: label.to_owned(),
                second: other_label.to_owned(),
            });
        }
        for (branch, other_branch) in branches_of_both(one, other) {
            if window_label(&branch.window) != window_label(&other_branch.window) {
                found.windows.push(WindowChange {
                    behavior: one.behavior.clone(),
                    neuron: one.neuron,
                    sign: branch.sign,
                    first: branch.window.clone(),
                    second: other_branch.window.clone(),
                });
            }
            found.classes.extend(classes(one, branch, other_branch));
        }
    }
    found
        .neurons
        .sort_by_key(|change| rank(&change.first, &change.second));
    (found.windows).sort_by_key(|c| rank(window_kind(&c.first), window_kind(&c.second)));
    found
}

/// What is open in one of the runs first, what is closed for another reason last.
fn rank(first: &str, second: &str) -> usize {
    match (first == "open" || second == "open", first == second) {
        (true, _) => 0,
        (false, false) => 1,
        (false, true) => 2,
    }
}

fn classes(
    verdict: &NeuronVerdict,
    one: &BranchVerdict,
    other: &BranchVerdict,
) -> Vec<ClassChange> {
    let find = |classes: &[ClassReach], name: &str| {
        classes.iter().find(|reach| reach.class == name).cloned()
    };
    let only_there = (other.classes.iter()).filter(|c| find(&one.classes, &c.class).is_none());
    let names = one.classes.iter().chain(only_there).map(|c| &c.class);
    names
        .map(|name| (find(&one.classes, name), find(&other.classes, name)))
        .filter(|(first, second)| first != second)
        .map(|(first, second)| ClassChange {
            behavior: verdict.behavior.clone(),
            neuron: verdict.neuron,
            sign: one.sign,
            first,
            second,
        })
        .collect()
}

/// Compares triggers and ceilings. Changes by no more than `tolerance` are left out, unless only one run has reached the threshold.
pub fn thresholds(first: &Verdicts, second: &Verdicts, tolerance: f64) -> Vec<ThresholdChange> {
    let mut found = Vec::new();
    for (one, other) in of_both(first, second) {
        for (branch, other_branch) in branches_of_both(one, other) {
            found.extend(of_branch(one, branch, other_branch));
        }
    }
    found.retain(|change| is_beyond(change, tolerance));
    found.sort_by(|a, b| {
        let by_size = largest_first(Some(a.size), Some(b.size));
        a.is_bound().cmp(&b.is_bound()).then(by_size)
    });
    found
}

fn is_beyond(change: &ThresholdChange, tolerance: f64) -> bool {
    let same_kind = change.first.reached() == change.second.reached();
    tolerance == 0.0 || !same_kind || change.size > tolerance
}

/// The thresholds of one branch that are not the same.
fn of_branch(
    verdict: &NeuronVerdict,
    one: &BranchVerdict,
    other: &BranchVerdict,
) -> Vec<ThresholdChange> {
    let mut pairs = vec![(
        (ThresholdKind::Ceiling, None),
        (one.ceiling, one.ceiling_interval),
        (other.ceiling, other.ceiling_interval),
    )];
    for at in &one.triggers {
        let there = other
            .triggers
            .iter()
            .find(|there| there.horizon == at.horizon);
        pairs.extend(there.map(|there| {
            let kind = (ThresholdKind::Trigger, Some(at.horizon));
            (
                kind,
                (at.trigger, at.interval),
                (there.trigger, there.interval),
            )
        }));
    }
    pairs
        .into_iter()
        .filter(|(_, first, second)| first != second)
        .map(
            |((kind, horizon), (first, first_interval), (second, second_interval))| {
                ThresholdChange {
                    behavior: verdict.behavior.clone(),
                    neuron: verdict.neuron,
                    sign: one.sign,
                    kind,
                    horizon,
                    size: (first.coordinate() - second.coordinate()).abs(),
                    first,
                    second,
                    first_interval,
                    second_interval,
                }
            },
        )
        .collect()
}

/// Neurons and behaviours that both runs have, in the order of the first.
fn of_both<'a>(
    first: &'a Verdicts,
    second: &'a Verdicts,
) -> impl Iterator<Item = (&'a NeuronVerdict, &'a NeuronVerdict)> {
    let there: BTreeMap<(&str, NeuronId), &NeuronVerdict> = (second.neurons.iter())
        .map(|verdict| ((verdict.behavior.as_str(), verdict.neuron), verdict))
        .collect();
    (first.neurons.iter()).filter_map(move |one| {
        let other = there.get(&(one.behavior.as_str(), one.neuron))?;
        Some((one, *other))
    })
}

/// Branches that both runs have.
fn branches_of_both<'a>(
    one: &'a NeuronVerdict,
    other: &'a NeuronVerdict,
) -> impl Iterator<Item = (&'a BranchVerdict, &'a BranchVerdict)> {
    (one.branches.iter()).filter_map(move |branch| {
        let there = other
            .branches
            .iter()
            .find(|there| there.sign == branch.sign)?;
        Some((branch, there))
    })
}
