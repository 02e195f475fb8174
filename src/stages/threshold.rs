//! From shares at doses to thresholds: estimates with bootstrap intervals over prompts, and bounds where the doses ended first.

use super::prompt_set::PromptSet;
use crate::spec::ceiling::Estimate;
use crate::stats::{SplitMix64, crossing, isotonic, quantile, reaches};
use crate::study::Thresholds;

/// Estimates the thresholds of curves over the same prompts.
pub struct Estimator<'a> {
    thresholds: &'a Thresholds,
    prompts: usize,
    /// How often each prompt was drawn, by resample: the same draws for every curve, so that their intervals can be compared.
    draws: Vec<Vec<u32>>,
}

/// A threshold in budgets. `None` lies beyond the largest dose.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimated {
    /// The estimate.
    pub at: Option<f64>,
    /// Percentile interval over resampled prompts, from its lower to its upper end, which may lie beyond the largest dose; none of a
    /// single prompt, or when all of it lies beyond.
    pub interval: Option<(f64, Option<f64>)>,
}

/// Which share makes the threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Flips without collapse; collapse takes them away at larger doses.
    Trigger,
    /// Collapse.
    Ceiling,
}

impl<'a> Estimator<'a> {
    /// An estimator for curves over so many prompts.
    pub fn new(thresholds: &'a Thresholds, prompts: usize, seed: u64) -> Self {
        let mut random = SplitMix64(seed);
        let resamples = if prompts > 1 { thresholds.resamples } else { 0 };
        let draws = (0..resamples)
            .map(|_| {
                let mut drawn = vec![0; prompts];
                (0..prompts).for_each(|_| drawn[random.below(prompts)] += 1);
                drawn
            })
            .collect();
        Self {
            thresholds,
            prompts,
            draws,
        }
    }

    /// The threshold of a curve. `budgets`: the doses, increasing, the first one 0; `hits`: the prompts that count at each of them.
    pub fn estimate(&self, kind: Kind, budgets: &[f64], hits: &[&PromptSet]) -> Estimated {
        let all = self.prompts.max(1) as f64;
        let shares: Vec<f64> = hits.iter().map(|set| set.len() as f64 / all).collect();
        Estimated {
            at: self.point(kind, budgets, &shares),
            interval: self.interval(kind, budgets, hits),
        }
    }

    fn interval(
        &self,
        kind: Kind,
        budgets: &[f64],
        hits: &[&PromptSet],
    ) -> Option<(f64, Option<f64>)> {
        let members: Vec<Vec<usize>> = hits.iter().map(|set| set.iter().collect()).collect();
        let all = self.prompts as f64;
        let mut shares = vec![0.0; hits.len()];
        // What lies beyond the largest dose lies above every number.
        let estimates: Vec<f64> = (self.draws.iter())
            .map(|drawn| {
                for (share, members) in shares.iter_mut().zip(&members) {
                    let count: u32 = members.iter().map(|&prompt| drawn[prompt]).sum();
                    *share = f64::from(count) / all;
                }
                self.point(kind, budgets, &shares).unwrap_or(f64::INFINITY)
            })
            .collect();
        let tail = (1.0 - self.thresholds.confidence) / 2.0;
        let end = |share| Some(end_of(&estimates, share)?.filter(|end| end.is_finite()));
        Some((end(tail)??, end(1.0 - tail)?))
    }

    /// The threshold of these shares, in budgets.
    fn point(&self, kind: Kind, budgets: &[f64], shares: &[f64]) -> Option<f64> {
        let level = match kind {
            Kind::Trigger => self.thresholds.flip_share,
            Kind::Ceiling => self.thresholds.collapse_share,
        };
        let first = shares.iter().position(|&share| reaches(share, level));
        match (self.thresholds.estimate, kind) {
            (Estimate::Grid, _) => first.map(|place| budgets[place]),
            (Estimate::Isotonic, Kind::Ceiling) => crossing(budgets, &isotonic(shares), level),
            (Estimate::Isotonic, Kind::Trigger) => {
                first?;
                let peak = peak(shares);
                crossing(&budgets[..=peak], &isotonic(&shares[..=peak]), level)
            }
        }
    }
}

/// The first place with the largest share.
fn peak(shares: &[f64]) -> usize {
    let mut peak = 0;
    for (place, &share) in shares.iter().enumerate() {
        if share > shares[peak] {
            peak = place;
        }
    }
    peak
}

/// A quantile of values of which some are infinite: no interpolation between a number and infinity.
fn end_of(estimates: &[f64], share: f64) -> Option<Option<f64>> {
    let end = quantile(estimates, share)?;
    Some(if end.is_nan() { None } else { Some(end) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::ceiling::Coordinate;

    fn thresholds(estimate: Estimate) -> Thresholds {
        Thresholds {
            flip_share: 0.5,
            collapse_share: 0.5,
            coordinate: Coordinate::Law,
            estimate,
            confidence: 0.95,
            resamples: 400,
        }
    }

    fn first(count: usize) -> PromptSet {
        (0..count).collect()
    }

    fn of(kind: Kind, estimate: Estimate, counts: &[usize]) -> Estimated {
        let thresholds = thresholds(estimate);
        let budgets: Vec<f64> = (0..counts.len()).map(|i| i as f64).collect();
        let sets: Vec<PromptSet> = counts.iter().map(|&count| first(count)).collect();
        let sets: Vec<&PromptSet> = sets.iter().collect();
        Estimator::new(&thresholds, 10, 7).estimate(kind, &budgets, &sets)
    }

    #[test]
    fn a_ceiling_lies_between_doses() {
        let found = of(Kind::Ceiling, Estimate::Isotonic, &[0, 2, 8, 10]);
        assert!((found.at.unwrap() - 1.5).abs() < 1e-6);
        let (low, high) = found.interval.unwrap();
        assert!(low < 1.5 && 1.5 < high.unwrap());
        let on_grid = of(Kind::Ceiling, Estimate::Grid, &[0, 2, 8, 10]);
        assert_eq!(on_grid.at, Some(2.0));
    }

    #[test]
    fn beyond_the_doses_there_is_a_bound_and_no_number() {
        let never = of(Kind::Ceiling, Estimate::Isotonic, &[0, 0, 0, 0]);
        assert_eq!((never.at, never.interval), (None, None));
        let almost = of(Kind::Ceiling, Estimate::Isotonic, &[0, 0, 0, 4]);
        assert_eq!(almost.at, None);
        let (_, high) = almost.interval.unwrap();
        assert!(high.is_none(), "{almost:?}");
    }

    #[test]
    fn flips_that_collapse_takes_away_do_not_move_the_trigger() {
        let rising = of(Kind::Trigger, Estimate::Isotonic, &[0, 2, 8]);
        let falling = of(Kind::Trigger, Estimate::Isotonic, &[0, 2, 8, 1, 0]);
        assert_eq!(rising.at, falling.at);
        assert!((rising.at.unwrap() - 1.5).abs() < 1e-6);
        assert_eq!(of(Kind::Trigger, Estimate::Isotonic, &[0, 4, 4]).at, None);
    }

    #[test]
    fn one_prompt_has_no_interval() {
        let thresholds = thresholds(Estimate::Isotonic);
        let sets = [first(0), first(1)];
        let estimator = Estimator::new(&thresholds, 1, 7);
        let found = estimator.estimate(Kind::Ceiling, &[0.0, 1.0], &[&sets[0], &sets[1]]);
        assert_eq!(found.interval, None);
        assert!((found.at.unwrap() - 0.5).abs() < 1e-6);
    }
}
