//! Which neurons a reader should see first.

use std::cmp::Reverse;

use super::input::Input;
use crate::spec::neurons::Role;
use crate::stages::verdict::{BranchVerdict, NeuronVerdict, Window};
use crate::units::NeuronId;

/// At most `count` neurons of a behaviour, the most telling first: open windows by width, then undecided ones, then those that flipped
/// most prompts.
/// Where all of three or more would be open, the last place goes to the best closed one, for comparison.
pub fn most_telling<'a>(input: &Input<'a>, behavior: &str, count: usize) -> Vec<&'a NeuronVerdict> {
    let mut ranked: Vec<_> = (input.verdicts_of(behavior).iter())
        .map(|&verdict| (rank(input, verdict), verdict))
        .collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    let ranked: Vec<_> = ranked.into_iter().map(|(_, verdict)| verdict).collect();
    let mut chosen: Vec<_> = ranked.iter().take(count).copied().collect();
    if count >= 3
        && chosen.iter().all(|v| v.open == Some(true))
        && let Some(closed) = ranked.iter().skip(count).find(|v| v.open != Some(true))
    {
        chosen.pop();
        chosen.push(closed);
    }
    chosen
}

/// The branch that a reader should see first: the widest open one, else the one that flipped most prompts.
pub fn best_branch<'a>(input: &Input<'a>, verdict: &'a NeuronVerdict) -> Option<&'a BranchVerdict> {
    (verdict.branches.iter()).min_by_key(|branch| branch_rank(input, verdict, branch))
}

type Rank = (u8, bool, Reverse<i64>, Reverse<usize>, NeuronId);

fn rank(input: &Input, verdict: &NeuronVerdict) -> Rank {
    let (window, width, flips) = (verdict.branches.iter())
        .map(|branch| branch_rank(input, verdict, branch))
        .min()
        .unwrap_or((u8::MAX, Reverse(0), Reverse(0)));
    (
        window,
        verdict.role != Role::HeldOut,
        width,
        flips,
        verdict.neuron,
    )
}

/// Open first, then undecided; wide first (thousandths of cosθ), then many flips first.
fn branch_rank(
    input: &Input,
    verdict: &NeuronVerdict,
    branch: &BranchVerdict,
) -> (u8, Reverse<i64>, Reverse<usize>) {
    let open = branch.window == Window::Open;
    let place = match branch.window {
        Window::Open => 0,
        Window::Undecided { .. } => 1,
        Window::Closed { .. } | Window::Censored { .. } => 2,
    };
    let width = branch.width(input.verdict_horizon()).unwrap_or(0.0);
    (
        place,
        Reverse(if open {
            (width * 1000.0).round() as i64
        } else {
            0
        }),
        Reverse(most_flips(input, verdict, branch)),
    )
}

fn most_flips(input: &Input, verdict: &NeuronVerdict, branch: &BranchVerdict) -> usize {
    (input.curve(&verdict.behavior, verdict.neuron, branch.sign))
        .into_iter()
        .flat_map(|curve| &curve.points)
        .filter_map(|point| Some(point.at(input.verdict_horizon())?.flipped))
        .max()
        .unwrap_or(0)
}
