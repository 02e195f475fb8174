//! Nonlinearities, and the functions they are made of.

use pulp::{Arch, Simd, WithSimd};

/// A nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e⁻ˣ)`
    Silu,
    /// `x · Φ(x)` with the normal distribution function (Hendrycks & Gimpel 2016).
    Gelu,
    /// Its approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    GeluTanh,
}

impl Activation {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        match self {
            Activation::Silu => {
                // The exponential stays at e⁸⁸: far below, the quotient would grow again.
                let above = if x < -1e6 { 0.0 } else { x };
                above / (1.0 + exp(-x))
            }
            Activation::Gelu => 0.5 * x * erfc(-x * std::f32::consts::FRAC_1_SQRT_2),
            Activation::GeluTanh => {
                const SQRT_2_OVER_PI: f32 = 0.797_884_6;
                0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
            }
        }
    }
}

/// `activation(x)`, in place.
pub fn activate(activation: Activation, x: &mut [f32]) {
    // One loop for each kind, so that each is compiled into vector instructions.
    match activation {
        Activation::Silu => each(x, |x| Activation::Silu.of(x)),
        Activation::Gelu => each(x, |x| Activation::Gelu.of(x)),
        Activation::GeluTanh => each(x, |x| Activation::GeluTanh.of(x)),
    }
}

/// `activation(gate) · up`, in place of the gate (GLU variants, Shazeer 2020): the neuron activations.
pub fn gated(activation: Activation, gate: &mut [f32], up: &[f32]) {
    activate(activation, gate);
    for (gate, up) in gate.iter_mut().zip(up) {
        *gate *= up;
    }
}

/// `cap · tanh(x / cap)`, in place. What is not finite becomes NaN: a cap would make it look like a number.
pub fn soft_cap(x: &mut [f32], cap: f32) {
    // 0 · x is 0 for finite numbers only.
    each(x, |x| cap * tanh(x / cap) + 0.0 * x);
}

/// Replaces every number.
fn each(x: &mut [f32], function: impl Fn(f32) -> f32) {
    Arch::new().dispatch(Each { x, function });
}

struct Each<'a, F> {
    x: &'a mut [f32],
    function: F,
}

impl<F: Fn(f32) -> f32> WithSimd for Each<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for x in self.x {
            *x = (self.function)(*x);
        }
    }
}

/// `eˣ` to within 2 units in the last place, without branches or calls so that it vectorises, and with the same bits on every
/// machine. Range reduction by `ln 2` in two parts and a degree-5 polynomial (Cephes, `expf.c`). Below −87 it stays at `e⁻⁸⁷`, above
/// 88 at `e⁸⁸`; NaN gives NaN.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding 1.5·2²³ rounds to the nearest whole number, which then stands in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let rounded = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = rounded - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let mantissa = p * r * r + r + 1.0;
    let exponent = (rounded.to_bits().wrapping_sub(ROUND.to_bits())).wrapping_add(127);
    mantissa * f32::from_bits(exponent << 23)
}

/// Hyperbolic tangent to within 2e-7.
#[inline(always)]
pub(super) fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Complementary error function, to within 1.2e-7 of its value (Press et al., Numerical Recipes, section 6.2, `erfcc`).
#[inline(always)]
fn erfc(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.0;
    for c in COEFFICIENTS {
        p = p * t + c;
    }
    let upper = t * exp(p - z * z);
    if x < 0.0 { 2.0 - upper } else { upper }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_out_there_is_zero_or_nan_and_no_number_in_between() {
        let mut x = [-1e38, -3e33, -1e10, f32::NAN, f32::INFINITY];
        activate(Activation::Silu, &mut x);
        assert!(x[..3].iter().all(|x| x.abs() < 1e-7), "{x:?}");
        assert!(x[3..].iter().all(|x| !x.is_finite()), "{x:?}");
        let mut x = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1e38, -0.0];
        soft_cap(&mut x, 30.0);
        assert!(x[..3].iter().all(|x| x.is_nan()), "{x:?}");
        assert_eq!(x[3], 30.0);
    }

    #[test]
    fn exponential_is_accurate() {
        for i in -8600..8700 {
            let x = i as f32 / 100.0;
            let exact = (x as f64).exp();
            assert!(((exp(x) as f64 - exact) / exact).abs() < 2.5e-7, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn nonlinearities_are_accurate() {
        for i in -1200..1200 {
            let x = i as f32 / 100.0;
            assert!((tanh(x) as f64 - (x as f64).tanh()).abs() < 2e-7, "{x}");
            // Φ(x) from its series (Abramowitz & Stegun 26.2.10), exact enough below 5.
            if x.abs() < 5.0 {
                let (x, mut term, mut total) = (x as f64, x as f64, x as f64);
                for n in 1..200 {
                    term *= -x * x / 2.0 / n as f64;
                    total += term / (2 * n + 1) as f64;
                }
                let gelu = x * (0.5 + total / (2.0 * std::f64::consts::PI).sqrt());
                let ours = Activation::Gelu.of(x as f32) as f64;
                assert!((ours - gelu).abs() < 1e-6, "{x}: {ours} {gelu}");
            }
        }
        let mut x = [3.0, -3.0, 0.0, 40.0, -40.0];
        activate(Activation::GeluTanh, &mut x);
        let expected = [2.996_362_7, -0.003_637_392, 0.0, 40.0, 0.0];
        assert!(
            x.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-5),
            "{x:?}"
        );
    }
}
