//! The control-window law as pure functions.
//!
//! Source: *Leverage Is Not Reach* (Liu, arXiv 2606.19831); symbols as in its abstract.

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

/// Collapse multiple from the residual's spectrum (ours): `m* = κ·√(1 − λ₁/Σλ)`.
pub fn spectral_multiple(kappa: f64, leading_share: f64) -> f64 {
    kappa * (1.0 - leading_share).max(0.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn exact_cancellation_is_not_a_nan() {
        assert_eq!(control_coordinate(-1.0, 1.0), 0.0);
    }
}
