//! Normalisations.

use pulp::{Arch, Simd, WithSimd};

use super::{dot, sum};

/// `x / √(mean(x²) + eps) · gain` for each row of `x: [rows × width]` (RMSNorm, Zhang & Sennrich 2019).
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    Arch::new().dispatch(RmsNorm { x, gain, eps, out });
}

struct RmsNorm<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl WithSimd for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.gain.len();
        for (x, out) in (self.x.chunks_exact(width)).zip(self.out.chunks_exact_mut(width)) {
            let scale = scale(dot(x, x) / width as f32 + self.eps);
            for ((out, x), gain) in out.iter_mut().zip(x).zip(self.gain) {
                *out = x * scale * gain;
            }
        }
    }
}

/// `(x − mean) / √(variance + eps) · gain + bias` for each row of `x: [rows × width]` (LayerNorm, Ba et al. 2016).
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    Arch::new().dispatch(LayerNorm {
        x,
        gain,
        bias,
        eps,
        out,
    });
}

struct LayerNorm<'a> {
    x: &'a [f32],
    gain: &'a [f32],
    bias: &'a [f32],
    eps: f32,
    out: &'a mut [f32],
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.gain.len();
        for (x, out) in (self.x.chunks_exact(width)).zip(self.out.chunks_exact_mut(width)) {
            let mean = sum(x) / width as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
            let scale = scale(dot(out, out) / width as f32 + self.eps);
            for ((out, gain), bias) in out.iter_mut().zip(self.gain).zip(self.bias) {
                *out = *out * scale * gain + bias;
            }
        }
    }
}

/// What makes a row of this mean square one of length `√width`. Where the square overflows the row would become zeros, and look healthy
/// from there on: NaN is found in the end.
#[inline(always)]
fn scale(square: f32) -> f32 {
    if square < f32::INFINITY {
        1.0 / square.sqrt()
    } else {
        f32::NAN
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::kernels::random;

    #[test]
    fn rows_whose_squares_overflow_do_not_become_zeros() {
        let (x, one) = ([1e20; 20], [1.0; 20]);
        let mut out = [0.0; 20];
        rms_norm(&x, &one, 1e-5, &mut out);
        assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
        let mut uneven = x;
        uneven[7] = -1e20;
        layer_norm(&uneven, &one, &one, 1e-5, &mut out);
        assert!(out.iter().all(|x| x.is_nan()), "{out:?}");
    }

    #[test]
    fn layer_norm_equals_its_definition() {
        let x = random(75, 9);
        let (gain, bias) = (random(25, 10), random(25, 11));
        let mut out = vec![0.0; 75];
        layer_norm(&x, &gain, &bias, 1e-5, &mut out);
        for (x, out) in x.chunks(25).zip(out.chunks(25)) {
            let mean = x.iter().map(|&x| x as f64).sum::<f64>() / 25.0;
            let variance = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / 25.0;
            for i in 0..25 {
                let expected = (x[i] as f64 - mean) / (variance + 1e-5).sqrt() * gain[i] as f64
                    + bias[i] as f64;
                assert!((out[i] as f64 - expected).abs() < 1e-5);
            }
        }
    }
}
