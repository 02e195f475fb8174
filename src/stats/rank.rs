//! Statistics of ranks.

use super::{Interval, SplitMix64, quantile};

/// Ranks from 1; equal values share the mean of their ranks. Values must not be NaN, which have ranks of no meaning.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let equal = order[from..]
            .iter()
            .take_while(|&&i| values[i] == values[order[from]])
            .count()
            .max(1);
        for &i in &order[from..from + equal] {
            ranks[i] = from as f64 + (equal as f64 + 1.0) / 2.0;
        }
        from += equal;
    }
    ranks
}

/// Spearman's rank correlation (1904) of pairs: Pearson's of their ranks. `None` of fewer than three pairs, when one side is constant, or
/// where a number is NaN.
pub fn spearman(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.iter().any(|(x, y)| x.is_nan() || y.is_nan()) {
        return None;
    }
    let (x, y): (Vec<f64>, Vec<f64>) = pairs.iter().copied().unzip();
    pearson(&ranks(&x), &ranks(&y))
}

fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() < 3 {
        return None;
    }
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mx, my) = (mean(x), mean(y));
    let sum = |of: &dyn Fn(usize) -> f64| (0..x.len()).map(of).sum::<f64>();
    let (xx, yy) = (sum(&|i| (x[i] - mx).powi(2)), sum(&|i| (y[i] - my).powi(2)));
    let xy = sum(&|i| (x[i] - mx) * (y[i] - my));
    (xx > 0.0 && yy > 0.0).then(|| xy / (xx * yy).sqrt())
}

/// Area under the ROC curve: the probability that a positive scores above a negative, ties counted half (Mann & Whitney 1947).
/// `scored`: score, and whether it is a positive. `None` without positives, without negatives, or where a score is NaN.
pub fn area_under_roc(scored: &[(f64, bool)]) -> Option<f64> {
    let scores: Vec<f64> = scored.iter().map(|s| s.0).collect();
    let positives = scored.iter().filter(|s| s.1).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 || scores.iter().any(|score| score.is_nan()) {
        return None;
    }
    let sum: f64 = (ranks(&scores).iter().zip(scored))
        .filter(|(_, s)| s.1)
        .map(|(rank, _)| rank)
        .sum();
    let least = (positives * (positives + 1)) as f64 / 2.0;
    Some((sum - least) / (positives * negatives) as f64)
}

/// Percentile bootstrap (Efron 1979) of a statistic over items that are drawn one by one. Seeded; `None` when it is never defined.
pub fn bootstrap<T: Copy>(
    items: &[T],
    statistic: impl Fn(&[T]) -> Option<f64>,
    resamples: usize,
    confidence: f64,
    seed: u64,
) -> Option<Interval> {
    if items.is_empty() {
        return None;
    }
    let mut random = SplitMix64(seed);
    let mut drawn = Vec::with_capacity(items.len());
    let estimates: Vec<f64> = (0..resamples)
        .filter_map(|_| {
            drawn.clear();
            drawn.extend((0..items.len()).map(|_| items[random.below(items.len())]));
            statistic(&drawn)
        })
        .collect();
    Some(Interval {
        low: quantile(&estimates, (1.0 - confidence) / 2.0)?,
        high: quantile(&estimates, (1.0 + confidence) / 2.0)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_ties_are_shared() {
        assert_eq!(ranks(&[10.0, 20.0, 10.0, 5.0]), [2.5, 4.0, 2.5, 1.0]);
    }

    #[test]
    fn spearman_equals_scipy() {
        // scipy.stats.spearmanr([1, 2, 3, 4, 5], [5, 6, 7, 8, 7]).statistic
        let pairs = [(1.0, 5.0), (2.0, 6.0), (3.0, 7.0), (4.0, 8.0), (5.0, 7.0)];
        assert!((spearman(&pairs).unwrap() - 0.820_782_681_668_123_6).abs() < 1e-12);
        assert_eq!(spearman(&[(1.0, 2.0), (2.0, 2.0), (3.0, 2.0)]), None);
        assert_eq!(spearman(&pairs[..2]), None);
    }

    #[test]
    fn area_counts_pairs() {
        let scored = [(0.9, true), (0.8, false), (0.8, true), (0.1, false)];
        // Pairs won: 0.9 beats both, 0.8 ties one and beats one: 3.5 of 4.
        assert_eq!(area_under_roc(&scored), Some(0.875));
        assert_eq!(area_under_roc(&scored[..1]), None);
    }

    #[test]
    fn nan_has_no_rank_and_no_statistic() {
        assert_eq!(ranks(&[f64::NAN, 1.0]).len(), 2);
        assert_eq!(spearman(&[(1.0, 2.0), (f64::NAN, 3.0), (2.0, 4.0)]), None);
        assert_eq!(area_under_roc(&[(f64::NAN, true), (1.0, false)]), None);
    }

    #[test]
    fn bootstrap_is_seeded() {
        let items: Vec<(f64, f64)> = (0..50).map(|i| (i as f64, (i % 7) as f64)).collect();
        let once = bootstrap(&items, spearman, 300, 0.95, 3).unwrap();
        assert_eq!(Some(once), bootstrap(&items, spearman, 300, 0.95, 3));
        let estimate = spearman(&items).unwrap();
        assert!(once.low < estimate && estimate < once.high);
    }
}
