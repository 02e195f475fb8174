//! What is read from logits and directions.

use pulp::{Arch, Simd, WithSimd};

use super::nonlinear::exp;
use super::{LANES, largest, sum_of};

/// `ln Σ exp(logit)` of a row of logits, in two parts; NaN where a logit is not finite.
#[derive(Clone, Copy, Debug)]
pub struct LogSumExp {
    largest: f32,
    rest: f64,
}

impl LogSumExp {
    /// Of a row of logits.
    pub fn of(logits: &[f32]) -> Self {
        Arch::new().dispatch(SumExp(logits))
    }

    /// Negative log-likelihood of a token with this logit, in nats; NaN where a logit of the row was not finite.
    pub fn negative_log_likelihood(self, logit: f32) -> f32 {
        (self.rest - (logit - self.largest) as f64) as f32
    }
}

struct SumExp<'a>(&'a [f32]);

impl WithSimd for SumExp<'_> {
    type Output = LogSumExp;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> LogSumExp {
        let largest = largest(self.0);
        let mut lanes = [0.0_f32; LANES];
        let (chunks, rest) = self.0.as_chunks::<LANES>();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += exp(x - largest);
            }
        }
        let total: f64 = (lanes.iter().map(|&x| x as f64))
            .chain(rest.iter().map(|x| exp(x - largest) as f64))
            .sum();
        LogSumExp {
            largest,
            // The exponential stops at both ends: infinity would pass for a number.
            rest: total.ln() + f64::from(doubt(self.0)),
        }
    }
}

/// Index of the largest logit, the lowest among equals; `None` when one is not finite.
pub fn argmax(logits: &[f32]) -> Option<usize> {
    let largest = Arch::new().dispatch(Largest(logits))?;
    logits.iter().position(|&x| x == largest)
}

/// The largest of numbers that are all finite.
struct Largest<'a>(&'a [f32]);

impl WithSimd for Largest<'_> {
    type Output = Option<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> Option<f32> {
        (doubt(self.0) == 0.0 && !self.0.is_empty()).then(|| largest(self.0))
    }
}

/// 0 when all numbers are finite, else NaN: 0 · x is 0 for finite numbers, and NaN for all others, which no sum forgets.
#[inline(always)]
fn doubt(row: &[f32]) -> f32 {
    sum_of(row, |x| 0.0 * x)
}

/// Whether all numbers are finite.
pub fn finite(row: &[f32]) -> bool {
    Arch::new().dispatch(|| doubt(row) == 0.0)
}

/// Cosine of the angle between two vectors; NaN when one of them is zero, or not finite.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut ab, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (x as f64, y as f64);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    (ab / (aa * bb).sqrt()) as f32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::random;

    #[test]
    fn likelihood_equals_its_definition() {
        let logits = random(101, 3);
        let total: f64 = logits.iter().map(|&x| (x as f64).exp()).sum();
        let expected = total.ln() - logits[17] as f64;
        let found = LogSumExp::of(&logits).negative_log_likelihood(logits[17]);
        assert!((found as f64 - expected).abs() < 1e-5);
    }

    #[test]
    fn what_is_not_finite_has_no_likelihood() {
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for place in [0, 16, 100] {
                let mut logits = random(101, 3);
                logits[place] = bad;
                let found = LogSumExp::of(&logits).negative_log_likelihood(logits[17]);
                assert!(found.is_nan(), "{bad} at {place}: {found}");
                assert!(!finite(&logits) && argmax(&logits).is_none());
            }
        }
        assert!(finite(&random(101, 3)) && finite(&[]));
    }

    #[test]
    fn directions_of_length_zero_have_no_cosine() {
        assert!(cosine(&[0.0, 0.0], &[1.0, 0.0]).is_nan());
        assert!(cosine(&[1.0, 0.0], &[0.0, 0.0]).is_nan());
        assert!(cosine(&[f32::INFINITY, 0.0], &[1.0, 0.0]).is_nan());
        assert_eq!(cosine(&[-2.0, 0.0], &[1e-30, 0.0]), -1.0);
    }

    #[test]
    fn argmax_takes_the_first_and_refuses_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[1.0, f32::NAN]), None);
        assert_eq!(argmax(&[f32::INFINITY, 1.0]), None);
        assert_eq!(argmax(&[-3.0, -2.0, -4.0]), Some(1));
        assert_eq!(argmax(&[]), None);
    }
}
