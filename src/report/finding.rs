//! The most interesting finding of a study, in one plain sentence.

use std::collections::BTreeMap;

use super::format::{budgets, counted, fixed, thousands};
use super::input::Input;
use super::text::label;
use super::wording::reason_phrase;
use crate::spec::neurons::Role;
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, Threshold, Window};

/// A branch of a held-out neuron.
#[derive(Clone, Copy)]
struct Branch<'a> {
    neuron: &'a NeuronVerdict,
    verdict: &'a BranchVerdict,
    trigger: Threshold,
    /// From the trigger to the ceiling in cosθ, where the trigger was reached.
    width: Option<f64>,
}

/// The widest open window; where none is open, the branch that came nearest, and why most are closed.
pub fn finding(input: &Input<'_>) -> String {
    let branches = branches(input);
    if branches.is_empty() {
        return "no held-out neuron was measured".into();
    }
    let open = |branch: &&Branch<'_>| branch.verdict.window == Window::Open;
    if let Some(widest) = widest(branches.iter().filter(open)) {
        return format!("the widest open window: {}", window(&widest));
    }
    let nearest = match widest(branches.iter()) {
        Some(branch) => nearest(&branch),
        None => most_flips(input, &branches),
    };
    format!("no window is open; {nearest}{}", why_closed(&branches))
}

fn branches<'a>(input: &Input<'a>) -> Vec<Branch<'a>> {
    let horizon = input.verdict_horizon();
    (input.verdicts.neurons.iter())
        .filter(|neuron| neuron.role == Role::HeldOut)
        .flat_map(|neuron| neuron.branches.iter().map(move |verdict| (neuron, verdict)))
        .filter_map(|(neuron, verdict)| {
            Some(Branch {
                neuron,
                verdict,
                trigger: verdict.trigger(horizon)?,
                width: verdict.width(horizon),
            })
        })
        .collect()
}

/// The first of the widest, in the order of the verdicts.
fn widest<'a, 'b: 'a>(branches: impl Iterator<Item = &'a Branch<'b>>) -> Option<Branch<'b>> {
    let wider = |best: Branch<'b>, next: &'a Branch<'b>| match next.width > best.width {
        true => *next,
        false => best,
    };
    let mut reached = branches.filter(|branch| branch.width.is_some());
    let first = *reached.next()?;
    Some(reached.fold(first, wider))
}

/// `L5.278 + flips language-routing from g = 0.45 to 1.60 (cosθ 0.38–0.81)`.
fn window(branch: &Branch<'_>) -> String {
    let (trigger, ceiling) = (branch.trigger, branch.verdict.ceiling);
    let (from, to) = (
        fixed(trigger.coordinate(), 2),
        fixed(ceiling.coordinate(), 2),
    );
    let (g, end) = (budgets(trigger.budgets()), budgets(ceiling.budgets()));
    let range = match ceiling.reached() {
        true => format!("from g = {g} to {end} (cosθ {from}–{to})"),
        false => format!("from g = {g} to beyond the largest dose, {end} (cosθ {from} to > {to})"),
    };
    format!("{} flips {} {range}", place(branch), behavior(branch))
}

fn nearest(branch: &Branch<'_>) -> String {
    let (trigger, ceiling) = (branch.trigger, branch.verdict.ceiling);
    let how = match branch.verdict.window {
        Window::Undecided { .. } => "below its ceiling at",
        _ => "past its ceiling at",
    };
    let but = match branch.verdict.window {
        Window::Undecided { .. } => ", but their intervals overlap",
        _ => "",
    };
    format!(
        "the nearest, {}, flips {} at g = {}, {how} {}{but}",
        place(branch),
        behavior(branch),
        budgets(trigger.budgets()),
        budgets(ceiling.budgets()),
    )
}

/// Where no trigger was reached at all.
fn most_flips(input: &Input<'_>, branches: &[Branch<'_>]) -> String {
    let flips = |branch: &Branch<'_>| {
        let NeuronVerdict {
            behavior, neuron, ..
        } = branch.neuron;
        input
            .best_flip(behavior, *neuron, branch.verdict.sign)
            .unwrap_or(0.0)
    };
    let best = branches
        .iter()
        .rev()
        .max_by(|a, b| flips(a).total_cmp(&flips(b)));
    match best.map(|best| (best, flips(best))) {
        Some((best, share)) if share > 0.0 => format!(
            "no branch flips enough prompts at any dose: at most {}% ({} on {})",
            fixed(100.0 * share, 0),
            place(best),
            behavior(best)
        ),
        _ => "nothing flips a single prompt at any dose".into(),
    }
}

/// The commonest reason, where it is that of most branches.
fn why_closed(branches: &[Branch<'_>]) -> String {
    let mut counts = BTreeMap::new();
    for branch in branches {
        if let Window::Closed { reason, .. } = branch.verdict.window {
            *counts.entry(reason).or_insert(0) += 1;
        }
    }
    let most = counts.into_iter().max_by_key(|(_, count)| *count);
    match most.filter(|(_, count)| 2 * count > branches.len()) {
        Some((reason, count)) => format!(
            "; {} of {} are closed {}",
            thousands(count),
            counted(branches.len(), "branch"),
            reason_phrase(reason)
        ),
        None => String::new(),
    }
}

fn place(branch: &Branch<'_>) -> String {
    format!("{} {}", branch.neuron.neuron, branch.verdict.sign)
}

fn behavior(branch: &Branch<'_>) -> String {
    label(&branch.neuron.behavior, 40)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture::Fixture;
    use crate::stages::verdict::Reason;

    /// The made-up record with every window that `change` wants another way.
    fn with(change: impl Fn(&mut BranchVerdict)) -> String {
        let mut fixture = Fixture::new();
        let neurons = fixture.verdicts.neurons.iter_mut();
        neurons.flat_map(|n| &mut n.branches).for_each(change);
        finding(&fixture.input())
    }

    fn close(branch: &mut BranchVerdict) {
        branch.window = Window::Closed {
            reason: Reason::CollapseBeforeTrigger,
            evidence: String::new(),
        };
    }

    #[test]
    fn the_widest_open_window_is_told_with_its_doses() {
        let fixture = Fixture::new();
        let input = fixture.input();
        let text = finding(&input);
        let open = branches(&input);
        let open = open.iter().filter(|b| b.verdict.window == Window::Open);
        let best = open
            .max_by(|a, b| a.width.unwrap().total_cmp(&b.width.unwrap()))
            .unwrap();
        assert!(text.starts_with("the widest open window: L"), "{text}");
        assert!(
            text.contains(&place(best)) && text.contains("(cosθ "),
            "{text}"
        );
    }

    #[test]
    fn where_all_are_closed_the_nearest_is_told_and_why() {
        let text = with(close);
        assert!(
            text.starts_with("no window is open; the nearest, L"),
            "{text}"
        );
        assert!(text.contains(" past its ceiling at "), "{text}");
        assert!(
            text.ends_with("are closed because the output collapses before the behaviour flips")
        );
    }

    #[test]
    fn an_undecided_window_is_the_nearest() {
        let text = with(|branch| {
            branch.window = Window::Undecided {
                evidence: String::new(),
            };
        });
        assert!(text.ends_with(", but their intervals overlap"), "{text}");
    }

    #[test]
    fn without_any_trigger_the_most_flips_are_told() {
        let text = with(|branch| {
            close(branch);
            for at in &mut branch.triggers {
                at.trigger = Threshold::Above {
                    budgets: 3.0,
                    coordinate: 0.9,
                };
            }
        });
        assert!(
            text.contains("no branch flips enough prompts at any dose: at most "),
            "{text}"
        );
        let mut nobody = Fixture::new();
        nobody.verdicts.neurons.clear();
        assert_eq!(finding(&nobody.input()), "no held-out neuron was measured");
    }
}
