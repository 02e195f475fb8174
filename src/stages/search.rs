//! Adaptive doses: which dose to run next, from what is known of a branch. A pure function, so that the record alone tells which doses
//! were run and why.

use serde::{Deserialize, Serialize};

use crate::stats::reaches;
use crate::study::Thresholds;

/// Why a dose was run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DoseReason {
    /// It stands in the grid.
    #[default]
    Grid,
    /// It halves the interval that encloses the ceiling.
    Ceiling,
    /// It halves the interval that encloses the trigger.
    Trigger,
}

impl DoseReason {
    /// Whether it needs no words.
    pub fn is_grid(&self) -> bool {
        *self == DoseReason::Grid
    }
}

/// Outcomes of one dose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Known {
    /// `|g|`, in budgets.
    pub budgets: f64,
    /// Prompts that flipped without collapse by the verdict horizon.
    pub flipped: usize,
    /// Prompts that collapsed by the longest horizon.
    pub collapsed: usize,
}

/// The next dose of a branch in budgets, and why; none when both thresholds are enclosed within `tolerance` budgets, or lie beyond the
/// largest dose. `known`: increasing in budgets.
pub fn next(
    known: &[Known],
    prompts: usize,
    thresholds: &Thresholds,
    tolerance: f64,
) -> Option<(f64, DoseReason)> {
    let enough = |count: usize, level: f64| reaches(count as f64 / prompts.max(1) as f64, level);
    let halved = |reached: &dyn Fn(&Known) -> bool| {
        let above = known.iter().position(reached)?;
        let below = above.checked_sub(1).map_or(0.0, |i| known[i].budgets);
        let width = known[above].budgets - below;
        let middle = rounded(below + width / 2.0);
        // Between huge doses there may be no number at all.
        (width > tolerance && below < middle && middle < known[above].budgets).then_some(middle)
    };
    let ceiling = halved(&|dose| enough(dose.collapsed, thresholds.collapse_share));
    let trigger = || halved(&|dose| enough(dose.flipped, thresholds.flip_share));
    ceiling
        .map(|budgets| (budgets, DoseReason::Ceiling))
        .or_else(|| Some((trigger()?, DoseReason::Trigger)))
}

/// Doses beyond a grid that a search may need at most, per branch.
pub fn most_further_doses(magnitudes: &[f64], tolerance: f64) -> usize {
    let starts = std::iter::once(0.0).chain(magnitudes.iter().copied());
    let widest = (starts.zip(magnitudes))
        .map(|(below, above)| above - below)
        .fold(0.0, f64::max);
    2 * (widest / tolerance).log2().ceil().max(0.0) as usize
}

/// Nine decimals: the same number however it was arrived at.
fn rounded(budgets: f64) -> f64 {
    (budgets * 1e9).round() / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ceiling::{Coordinate, Estimate};

    const THRESHOLDS: Thresholds = Thresholds {
        flip_share: 0.5,
        collapse_share: 0.5,
        coordinate: Coordinate::Law,
        estimate: Estimate::Isotonic,
        confidence: 0.95,
        resamples: 400,
    };

    /// Runs a search to its end on a branch that flips and collapses at these doses.
    fn search(trigger: f64, ceiling: f64, tolerance: f64) -> Vec<(f64, DoseReason)> {
        let outcome = |budgets: f64| Known {
            budgets,
            flipped: if (trigger..ceiling).contains(&budgets) {
                10
            } else {
                0
            },
            collapsed: if budgets >= ceiling { 10 } else { 0 },
        };
        let mut known: Vec<Known> = [0.25, 1.0, 3.0].map(outcome).into();
        let mut run = Vec::new();
        while let Some((budgets, reason)) = next(&known, 10, &THRESHOLDS, tolerance) {
            run.push((budgets, reason));
            let place = known.partition_point(|dose| dose.budgets < budgets);
            known.insert(place, outcome(budgets));
            assert!(run.len() < 100, "the search does not end");
        }
        run
    }

    #[test]
    fn both_thresholds_are_enclosed_with_few_doses() {
        let run = search(0.62, 1.31, 0.02);
        assert!(run.len() <= most_further_doses(&[0.25, 1.0, 3.0], 0.02));
        for threshold in [0.62, 1.31] {
            let nearest = run.iter().map(|(budgets, _)| (budgets - threshold).abs());
            assert!(nearest.fold(f64::INFINITY, f64::min) <= 0.02);
        }
        let reasons: Vec<_> = run.iter().map(|(_, reason)| *reason).collect();
        assert!(reasons.is_sorted(), "the ceiling first, then the trigger");
    }

    #[test]
    fn a_narrow_window_below_the_ceiling_is_found() {
        let run = search(1.25, 1.31, 0.02);
        assert!(
            run.iter()
                .any(|(budgets, _)| (1.25..1.31).contains(budgets))
        );
    }

    #[test]
    fn what_is_never_reached_is_not_searched() {
        assert_eq!(search(9.0, 9.0, 0.02), []);
    }

    #[test]
    fn a_search_between_doses_with_no_number_between_them_ends() {
        let known = [(1e17, 0), (1e17_f64.next_up(), 10), (f64::MAX, 10)];
        let known = known.map(|(budgets, collapsed)| Known {
            budgets,
            flipped: 0,
            collapsed,
        });
        assert_eq!(next(&known, 10, &THRESHOLDS, 0.02), None);
        let beyond = [known[2]];
        assert_eq!(next(&beyond, 10, &THRESHOLDS, 0.02), None);
    }
}
