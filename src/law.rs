//! The control-window law as pure functions.
//!
//! Source: *Leverage Is Not Reach* (Liu, arXiv 2606.19831); symbols as in its abstract.

use serde::{Deserialize, Serialize};

/// Coherence budget `B = ‖r_L‖ / ‖v‖`: the dose, in activation units, at which the write is as long as the residual stream.
pub fn coherence_budget(residual_norm: f64, write_norm: f64) -> f64 {
    residual_norm / write_norm
}

/// Control coordinate after a dose of `g` budgets, `(c0 + g) / √(1 + 2·c0·g + g²)`, with `c0 = cos(r_L, v)` before any dose.
/// With `c0 = 0` this is the universal saturation curve `g/√(1+g²)`.
///
/// Returns 0 where residual and write cancel exactly (`c0 = ∓1`, `g = ±1`): there is no direction left.
pub fn control_coordinate(g: f64, c0: f64) -> f64 {
    let squared_length = 1.0 + 2.0 * c0 * g + g * g;
    if squared_length <= f64::EPSILON {
        return 0.0;
    }
    ((c0 + g) / squared_length.sqrt()).clamp(-1.0, 1.0)
}

/// The dose in budgets at which the control coordinate is `coordinate`: the inverse of [`control_coordinate`] in `g`. Both signed alike,
/// strictly between −1 and 1.
pub fn budgets_at(coordinate: f64, c0: f64) -> f64 {
    coordinate * (1.0 - c0 * c0).max(0.0).sqrt() / (1.0 - coordinate * coordinate).sqrt() - c0
}

/// Collapse multiple from the residual's spectrum (ours): `m* = κ·√(1 − λ₁/Σλ)`.
pub fn spectral_multiple(kappa: f64, leading_share: f64) -> f64 {
    kappa * (1.0 - leading_share).max(0.0).sqrt()
}

/// The write of a neuron behind a norm after the feed-forward (Gemma 2 and its like): `h + gain ⊙ (f + t·v)/ρ(t)` with
/// `ρ(t) = √(‖f + t·v‖²/d + eps)`, `h` the residual stream before the feed-forward is added and `f` its output before the norm. As the
/// dose grows, the norm keeps its length, so that it saturates at `√d · u/‖v‖` with the effective write direction `u = gain ⊙ v`.
///
/// Holds the moments of the generic positions that the coordinate needs: means over positions, so that the coordinate is that of a
/// typical position.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct NormedWrite {
    /// Width of the residual stream.
    pub d_model: f64,
    /// Added to the mean square in the norm.
    pub eps: f64,
    /// `‖v‖²`.
    pub vv: f64,
    /// `‖u‖²`.
    pub uu: f64,
    /// Mean `‖f‖²`.
    pub ff: f64,
    /// Mean `f·v`.
    pub fv: f64,
    /// Mean `‖h‖²`.
    pub hh: f64,
    /// Mean `h·u`.
    pub hu: f64,
    /// Mean `‖gain ⊙ f‖²`.
    pub gg: f64,
    /// Mean `(gain ⊙ f)·u`.
    pub gu: f64,
    /// Mean `(gain ⊙ f)·h`.
    pub gh: f64,
}

impl NormedWrite {
    /// `ρ` at a dose `t` in activation units.
    fn scale(&self, t: f64) -> f64 {
        let squared = self.ff + 2.0 * t * self.fv + t * t * self.vv;
        (squared.max(0.0) / self.d_model + self.eps).sqrt()
    }

    /// Length of the effective write per activation unit at dose 0, `‖u‖/ρ(0)`: what a budget is measured by.
    pub fn write_norm(&self) -> f64 {
        self.uu.sqrt() / self.scale(0.0)
    }

    /// `cosθ` between the block's output and `u` at a dose `t` in activation units.
    pub fn coordinate(&self, t: f64) -> f64 {
        let rho = self.scale(t);
        let along = self.hu + (self.gu + t * self.uu) / rho;
        let squared = self.hh
            + 2.0 * (self.gh + t * self.hu) / rho
            + (self.gg + 2.0 * t * self.gu + t * t * self.uu) / (rho * rho);
        self.cosine(along, squared)
    }

    /// The coordinate that no dose of this sign (`±1`) exceeds by pushing harder: its limit for `t → ±∞`.
    pub fn cap(&self, sign: f64) -> f64 {
        let length = self.d_model.sqrt() / self.vv.sqrt();
        let along = self.hu + sign * length * self.uu;
        let squared = self.hh + 2.0 * sign * length * self.hu + length * length * self.uu;
        self.cosine(along, squared)
    }

    fn cosine(&self, along: f64, squared: f64) -> f64 {
        let length = squared.max(0.0).sqrt() * self.uu.sqrt();
        if length <= f64::EPSILON {
            return 0.0;
        }
        (along / length).clamp(-1.0, 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_normed_write_agrees_with_vector_arithmetic_and_saturates() {
        let (h, f) = ([1.0_f64, -2.0, 0.5, 3.0], [0.2_f64, 0.4, -0.6, 0.1]);
        let (v, gain) = ([0.5_f64, 1.0, -0.25, 0.75], [1.5_f64, 0.5, 2.0, 1.0]);
        let u: [f64; 4] = std::array::from_fn(|i| gain[i] * v[i]);
        let g: [f64; 4] = std::array::from_fn(|i| gain[i] * f[i]);
        let dot = |a: [f64; 4], b: [f64; 4]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let write = NormedWrite {
            d_model: 4.0,
            eps: 1e-6,
            vv: dot(v, v),
            uu: dot(u, u),
            ff: dot(f, f),
            fv: dot(f, v),
            hh: dot(h, h),
            hu: dot(h, u),
            gg: dot(g, g),
            gu: dot(g, u),
            gh: dot(g, h),
        };
        for t in [-50.0, -1.0, 0.0, 0.3, 4.0, 1e9] {
            let fed: [f64; 4] = std::array::from_fn(|i| f[i] + t * v[i]);
            let rho = (dot(fed, fed) / 4.0 + 1e-6).sqrt();
            let r: [f64; 4] = std::array::from_fn(|i| h[i] + gain[i] * fed[i] / rho);
            let direct = dot(r, u) / (dot(r, r) * dot(u, u)).sqrt();
            assert!((write.coordinate(t) - direct).abs() < 1e-6, "at {t}");
        }
        for sign in [1.0, -1.0] {
            assert!((write.coordinate(sign * 1e9) - write.cap(sign)).abs() < 1e-6);
        }
        assert!(write.cap(1.0) < 0.95, "the cap is below 1");
    }

    #[test]
    fn published_ceiling_of_llama_3_1_8b() {
        // m* = 1.46 is published together with cosθ = 0.825.
        assert!((control_coordinate(1.46, 0.0) - 0.825).abs() < 5e-4);
    }

    #[test]
    fn coordinate_agrees_with_vector_arithmetic() {
        let (r, v) = ([3.0_f64, 1.0, -2.0], [0.5_f64, -1.5, 0.25]);
        let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let norm = |a: [f64; 3]| dot(a, a).sqrt();
        let c0 = dot(r, v) / (norm(r) * norm(v));
        for g in [-4.0, -1.0, -0.3, 0.0, 0.2, 1.0, 7.0] {
            let t = g * coherence_budget(norm(r), norm(v));
            let steered = std::array::from_fn(|i| r[i] + t * v[i]);
            let direct = dot(steered, v) / (norm(steered) * norm(v));
            assert!((control_coordinate(g, c0) - direct).abs() < 1e-12);
        }
    }

    #[test]
    fn budgets_are_the_inverse_of_the_coordinate() {
        for (g, c0) in [
            (0.3, 0.0),
            (1.46, 0.2),
            (-0.8, -0.4),
            (3.0, -0.9),
            (0.0, 0.5),
        ] {
            let there = control_coordinate(g, c0);
            assert!((budgets_at(there, c0) - g).abs() < 1e-9, "{g} {c0}");
        }
    }

    #[test]
    fn exact_cancellation_is_not_a_nan() {
        assert_eq!(control_coordinate(-1.0, 1.0), 0.0);
    }
}
