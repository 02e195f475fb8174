//! Typed outcomes over all measured branches: how many ever see or reach each class, and when first.

use schemars::JsonSchema;
use serde::Serialize;

use crate::report::format::{NOTHING, budgets, counted, level, listed, share};
use crate::report::input::Input;
use crate::report::text::label;
use crate::spec::neurons::Role;
use crate::stages::verdict::{ClassReach, FirstReach};
use crate::stats;
use crate::study::Outcome;

/// Outcome classes of all typed behaviours, side by side.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Classes {
    /// Prompts that make a class reached, in words.
    pub needed: String,
    /// One per class, in the order of the behaviours.
    pub classes: Vec<ClassView>,
    /// Whether the classes that count as a flip are reached, in sentences.
    pub sentences: Vec<String>,
}

/// One class.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ClassView {
    /// Its name.
    pub name: String,
    /// One per behaviour that has it.
    pub rows: Vec<ClassRow>,
}

/// One class of one behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct ClassRow {
    /// Name of the behaviour.
    pub behavior: String,
    /// Whether the class counts as a flip.
    pub flipped: bool,
    /// Held-out branches that see it in any prompt, at any dose and horizon.
    pub seen: String,
    /// Held-out branches on which as many prompts fall into it as make a trigger.
    pub reached: String,
    /// Branches of controls that reach it; `–` without controls.
    pub controls: String,
    /// Smallest dose at which it is seen: of the first branch, and median over those that see it.
    pub first_seen: String,
    /// Likewise for reached.
    pub first_reached: String,
    /// Shortest horizon at which it is seen: of the first branch, and median.
    pub horizon_seen: String,
    /// Likewise for reached.
    pub horizon_reached: String,
    /// Most prompts at once on a held-out branch.
    pub most: String,
}

/// Builds the table; absent when no behaviour has classes, or nothing was measured.
pub fn build(input: &Input) -> Option<Classes> {
    let mut classes: Vec<ClassView> = Vec::new();
    let mut sentences = Vec::new();
    for behavior in input
        .study
        .behaviors
        .iter()
        .filter(|b| b.outcomes.len() > 1)
    {
        let branches = branches(input, &behavior.name);
        if branches.is_empty() {
            continue;
        }
        for outcome in &behavior.outcomes {
            let row = row(input, &behavior.name, outcome, &branches);
            match classes.iter_mut().find(|class| class.name == outcome.name) {
                Some(class) => class.rows.push(row),
                None => classes.push(ClassView {
                    name: outcome.name.clone(),
                    rows: vec![row],
                }),
            }
        }
        let flipping = behavior.outcomes.iter().filter(|o| o.flipped);
        sentences.extend(flipping.map(|o| sentence(&behavior.name, &o.name, &branches)));
    }
    (!classes.is_empty()).then(|| Classes {
        needed: level(input.study.thresholds.flip_share),
        classes,
        sentences,
    })
}

/// A branch's role, and when it sees and reaches each class.
type Branch<'a> = (Role, &'a [ClassReach]);

fn branches<'a>(input: &Input<'a>, behavior: &str) -> Vec<Branch<'a>> {
    (input.verdicts_of(behavior).iter())
        .flat_map(|&verdict| {
            verdict
                .branches
                .iter()
                .map(|b| (verdict.role, &b.classes[..]))
        })
        .filter(|(_, classes)| !classes.is_empty())
        .collect()
}

/// What the branches of a role say of a class.
fn of_class<'a>(branches: &[Branch<'a>], held_out: bool, class: &str) -> Vec<&'a ClassReach> {
    (branches.iter())
        .filter(|(role, _)| (*role == Role::HeldOut) == held_out)
        .filter_map(|(_, classes)| classes.iter().find(|c| c.class == class))
        .collect()
}

fn row(input: &Input, behavior: &str, outcome: &Outcome, branches: &[Branch]) -> ClassRow {
    let held_out = of_class(branches, true, &outcome.name);
    let controls = of_class(branches, false, &outcome.name);
    let prompts = (input.judgements.baselines.iter())
        .find(|b| b.behavior == behavior)
        .map_or(0, |b| b.prompts);
    let seen: Vec<FirstReach> = held_out.iter().filter_map(|c| c.seen).collect();
    let reached: Vec<FirstReach> = held_out.iter().filter_map(|c| c.reached).collect();
    let most = held_out.iter().map(|c| c.most).max();
    ClassRow {
        behavior: behavior.to_owned(),
        flipped: outcome.flipped,
        seen: share(seen.len(), held_out.len()),
        reached: share(reached.len(), held_out.len()),
        controls: match controls.len() {
            0 => NOTHING.into(),
            all => share(controls.iter().filter(|c| c.reached.is_some()).count(), all),
        },
        first_seen: doses(&seen),
        first_reached: doses(&reached),
        horizon_seen: horizons(&seen),
        horizon_reached: horizons(&reached),
        most: most.map_or(NOTHING.into(), |most| share(most, prompts)),
    }
}

fn doses(of: &[FirstReach]) -> String {
    first_and_median(of.iter().map(|first| first.budgets).collect(), budgets)
}

fn horizons(of: &[FirstReach]) -> String {
    let of = of.iter().map(|first| first.horizon.0 as f64).collect();
    first_and_median(of, |tokens| format!("{tokens:.0}"))
}

/// `0.40 (median 0.62)`.
fn first_and_median(values: Vec<f64>, shown: impl Fn(f64) -> String) -> String {
    match (
        values.iter().copied().reduce(f64::min),
        stats::median(&values),
    ) {
        (Some(first), Some(median)) => format!("{} (median {})", shown(first), shown(median)),
        _ => NOTHING.into(),
    }
}

/// Whether a class that counts as a flip is ever reached, and from which horizon on.
fn sentence(behavior: &str, class: &str, branches: &[Branch]) -> String {
    let held_out = of_class(branches, true, class);
    let reached: Vec<FirstReach> = held_out.iter().filter_map(|c| c.reached).collect();
    let seen = held_out.iter().filter(|c| c.seen.is_some()).count();
    let (class, behavior) = (label(class, 40), label(behavior, 60));
    let mut horizons: Vec<usize> = reached.iter().map(|first| first.horizon.0).collect();
    horizons.sort_unstable();
    horizons.dedup();
    let horizons: Vec<String> = horizons.iter().map(ToString::to_string).collect();
    match reached.len() {
        0 if seen == 0 => format!("{behavior}: no held-out branch ever shows “{class}”."),
        0 => format!(
            "{behavior}: {seen} of {} show “{class}” in some prompt, none in enough of them.",
            counted(held_out.len(), "held-out branch")
        ),
        n => format!(
            "{behavior}: {} of {} reach “{class}”, first within {} tokens.",
            n,
            counted(held_out.len(), "held-out branch"),
            listed(&horizons)
        ),
    }
}
