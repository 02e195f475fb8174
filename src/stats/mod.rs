//! Small statistics, each with its source.

mod isotonic;
mod rank;
mod ridge;

pub use isotonic::{crossing, isotonic, reaches};
pub use rank::{area_under_roc, bootstrap, ranks, spearman};
pub use ridge::Ridge;

use serde::{Deserialize, Serialize};

/// A confidence interval, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Arithmetic mean; `None` of nothing.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Quantile by linear interpolation between order statistics (Hyndman & Fan 1996, type 7; NumPy's default). `None` of nothing.
///
/// `share` is clamped to 0–1; values must not be NaN.
pub fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let position = share.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = position.ceil() as usize;
    Some(sorted[below] + (sorted[above] - sorted[below]) * (position - below as f64))
}

/// Median. `None` of nothing.
pub fn median(values: &[f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// Exact two-sided McNemar test: the probability, if two methods are equally good, that among the cases in which only one of them is right
/// one method is alone at least as often as here. 1 when there is no such case.
pub fn mcnemar(only_first: usize, only_second: usize) -> f64 {
    const RANGE: i32 = 512;
    let n = only_first + only_second;
    // In units of 2^(exponent − n): the first terms alone underflow where there are many cases.
    let (mut term, mut tail, mut exponent) = (1.0_f64, 0.0_f64, 0_i32);
    for k in 0..=only_first.min(only_second) {
        tail += term;
        term *= (n - k) as f64 / (k + 1) as f64;
        if term > 2_f64.powi(RANGE) {
            (term, tail) = (term * 2_f64.powi(-RANGE), tail * 2_f64.powi(-RANGE));
            exponent += RANGE;
        }
    }
    let mut left = exponent - n as i32;
    while left < -RANGE {
        tail *= 2_f64.powi(-RANGE);
        left += RANGE;
    }
    (2.0 * tail * 2_f64.powi(left)).min(1.0)
}

/// Score interval of a binomial share (Wilson 1927). `None` when `trials` is 0.
pub fn wilson(successes: usize, trials: usize, confidence: f64) -> Option<Interval> {
    if trials == 0 {
        return None;
    }
    let n = trials as f64;
    let share = successes as f64 / n;
    let z = normal_quantile(0.5 + confidence / 2.0);
    let denominator = 1.0 + z * z / n;
    let centre = (share + z * z / (2.0 * n)) / denominator;
    let half = z / denominator * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt();
    // Exact where all or none succeed: rounding would leave the ends a hair inside.
    Some(Interval {
        low: if successes == 0 {
            0.0
        } else {
            (centre - half).max(0.0)
        },
        high: if successes == trials {
            1.0
        } else {
            (centre + half).min(1.0)
        },
    })
}

/// Percentile bootstrap of a statistic over clusters (Efron 1979), so that values which belong together (one neuron's branches)
/// are drawn together. Seeded; `None` when there are no clusters or the statistic is never defined.
pub fn cluster_bootstrap(
    clusters: &[Vec<f64>],
    statistic: impl Fn(&[f64]) -> Option<f64>,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    const RESAMPLES: usize = 2000;
    if clusters.is_empty() {
        return None;
    }
    let mut random = SplitMix64(seed);
    let mut values = Vec::new();
    let estimates: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            values.clear();
            for _ in 0..clusters.len() {
                values.extend_from_slice(&clusters[random.below(clusters.len())]);
            }
            statistic(&values)
        })
        .collect();
    Some(Interval {
        low: quantile(&estimates, (1.0 - confidence) / 2.0)?,
        high: quantile(&estimates, (1.0 + confidence) / 2.0)?,
    })
}

/// Quantile of the standard normal distribution (Acklam 2003, relative error below 1.2e-9). `share` strictly between 0 and 1.
fn normal_quantile(share: f64) -> f64 {
    const A: [f64; 6] = [
        -3.969683028665376e1,
        2.209460984245205e2,
        -2.759285104469687e2,
        1.383_577_518_672_69e2,
        -3.066479806614716e1,
        2.506628277459239,
    ];
    const B: [f64; 5] = [
        -5.447609879822406e1,
        1.615858368580409e2,
        -1.556989798598866e2,
        6.680131188771972e1,
        -1.328068155288572e1,
    ];
    const C: [f64; 6] = [
        -7.784894002430293e-3,
        -3.223964580411365e-1,
        -2.400758277161838,
        -2.549732539343734,
        4.374664141464968,
        2.938163982698783,
    ];
    const D: [f64; 4] = [
        7.784695709041462e-3,
        3.224671290700398e-1,
        2.445134137142996,
        3.754408661907416,
    ];
    const TAIL: f64 = 0.02425;
    let polynomial = |c: &[f64], x: f64| c.iter().fold(0.0, |sum, &k| sum * x + k);
    let tail = |p: f64| {
        let q = (-2.0 * p.ln()).sqrt();
        polynomial(&C, q) / (polynomial(&D, q) * q + 1.0)
    };
    if share < TAIL {
        tail(share)
    } else if share > 1.0 - TAIL {
        -tail(1.0 - share)
    } else {
        let q = share - 0.5;
        let r = q * q;
        polynomial(&A, r) * q / (polynomial(&B, r) * r + 1.0)
    }
}

/// SplitMix64 (Steele, Lea & Flood 2014): a small seeded generator whose stream is part of what a study's `seed` means, so that it
/// must never change with a library's version.
#[derive(Clone, Debug)]
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An index below `n`, without noticeable bias for any `n` that fits in memory (Lemire 2019, without rejection).
    ///
    /// # Panics
    /// If `n` is 0.
    pub fn below(&mut self, n: usize) -> usize {
        assert!(n > 0, "nothing to choose from");
        ((self.next_u64() as u128 * n as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_equals_published_example() {
        // 8 of 10 at 95 %: 0.4902–0.9433 (R's binom::binom.confint, method "wilson").
        let interval = wilson(8, 10, 0.95).unwrap();
        assert!(
            (interval.low - 0.490_162).abs() < 1e-5 && (interval.high - 0.943_318).abs() < 1e-5
        );
        assert_eq!(wilson(0, 0, 0.95), None);
        for n in 1..50 {
            assert_eq!(wilson(n, n, 0.95).unwrap().high, 1.0);
            assert_eq!(wilson(0, n, 0.95).unwrap().low, 0.0);
        }
    }

    #[test]
    fn quantiles_equal_numpy() {
        let values = [4.0, 1.0, 3.0, 2.0];
        assert_eq!(quantile(&values, 0.25), Some(1.75));
        assert_eq!(median(&values), Some(2.5));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn normal_quantile_is_symmetric_and_right() {
        assert!((normal_quantile(0.975) - 1.959_963_985).abs() < 1e-8);
        assert!((normal_quantile(0.001) + 3.090_232_306).abs() < 1e-8);
        assert!((normal_quantile(0.999) + normal_quantile(0.001)).abs() < 1e-12);
    }

    #[test]
    fn bootstrap_is_seeded_and_covers_the_mean() {
        let clusters: Vec<Vec<f64>> = (0..40).map(|i| vec![i as f64, i as f64 + 1.0]).collect();
        let once = cluster_bootstrap(&clusters, mean, 0.95, 7).unwrap();
        assert_eq!(Some(once), cluster_bootstrap(&clusters, mean, 0.95, 7));
        assert!(once.low < 20.0 && 20.0 < once.high && once.low > 12.0 && once.high < 28.0);
    }

    #[test]
    fn mcnemar_is_the_exact_binomial_test() {
        for (first, second, p) in [
            (0, 0, 1.0),
            (1, 0, 1.0),
            (5, 1, 0.21875),
            (1, 5, 0.21875),
            (6, 0, 0.03125),
            (20, 3, 0.000_488_281_25),
        ] {
            let found = mcnemar(first, second);
            assert!((found - p).abs() < 1e-8, "{first}:{second}: {found}");
        }
        // Beyond the smallest power of 2. By the normal approximation with continuity correction: z = 39/√1200, 199/√5200.
        assert_eq!(mcnemar(600, 600), 1.0);
        assert!((mcnemar(580, 620) - 0.2602).abs() < 1e-3);
        assert!((mcnemar(2500, 2700) - 0.005_79).abs() < 1e-4);
        assert_eq!(mcnemar(0, 3000), 0.0);
    }
}
