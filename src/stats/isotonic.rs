//! Monotone dose–response curves, and where they cross a share.

/// Non-decreasing least-squares fit by pooling adjacent violators (Ayer et al. 1955), all points weighted alike.
pub fn isotonic(values: &[f64]) -> Vec<f64> {
    // Blocks of equal fitted value: sum and length.
    let mut blocks: Vec<(f64, usize)> = Vec::with_capacity(values.len());
    for &value in values {
        let mut block = (value, 1);
        while let Some(&(sum, length)) = blocks.last()
            && sum * block.1 as f64 > block.0 * length as f64
        {
            blocks.pop();
            block = (sum + block.0, length + block.1);
        }
        blocks.push(block);
    }
    (blocks.into_iter())
        .flat_map(|(sum, length)| std::iter::repeat_n(sum / length as f64, length))
        .collect()
}

/// How far a share may lie below a level through rounding and still reach it: shares are counts over counts.
const ROUNDING: f64 = 1e-9;

/// Whether a share reaches a level.
pub fn reaches(share: f64, level: f64) -> bool {
    share >= level - ROUNDING
}

/// The smallest `x` at which the line through the points `(x, y)`, both non-decreasing, reaches `level`: interpolated between two
/// points, `None` when the last one lies below. `x` and `y` have equal length.
pub fn crossing(x: &[f64], y: &[f64], level: f64) -> Option<f64> {
    let above = y.iter().position(|&share| reaches(share, level))?;
    let Some(below) = above.checked_sub(1) else {
        return Some(x[0]);
    };
    let share = ((level - y[below]) / (y[above] - y[below])).min(1.0);
    Some(x[below] + (x[above] - x[below]) * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn violators_are_pooled() {
        assert_eq!(isotonic(&[0.0, 0.5, 0.25, 1.0]), [0.0, 0.375, 0.375, 1.0]);
        assert_eq!(isotonic(&[3.0, 2.0, 1.0]), [2.0, 2.0, 2.0]);
        assert_eq!(isotonic(&[]), [0.0; 0]);
    }

    #[test]
    fn crossings_are_interpolated() {
        let x = [0.0, 1.0, 2.0, 4.0];
        assert_eq!(crossing(&x, &[0.0, 0.25, 0.75, 1.0], 0.5), Some(1.5));
        assert_eq!(crossing(&x, &[0.0, 0.5, 0.5, 1.0], 0.5), Some(1.0));
        assert_eq!(crossing(&x, &[0.6, 0.7, 0.8, 0.9], 0.5), Some(0.0));
        assert_eq!(crossing(&x, &[0.0, 0.1, 0.2, 0.49], 0.5), None);
    }

    #[test]
    fn a_fit_is_monotone_and_keeps_the_mean() {
        let mut random = crate::stats::SplitMix64(5);
        for length in 1..40 {
            let values: Vec<f64> = (0..length).map(|_| random.below(100) as f64).collect();
            let fit = isotonic(&values);
            assert!(fit.is_sorted());
            let sum = |x: &[f64]| x.iter().sum::<f64>();
            assert!((sum(&values) - sum(&fit)).abs() < 1e-9 * sum(&values).max(1.0));
        }
    }
}
