//! Ridge regression on standardised columns.

use serde::{Deserialize, Serialize};

/// A fitted linear map from features to a number (Hoerl & Kennard 1970): `intercept + Σ weight·(x − mean)/deviation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ridge {
    /// The response's mean.
    pub intercept: f64,
    /// Each feature's mean over what it was fitted on.
    pub means: Vec<f64>,
    /// Each feature's standard deviation there; 1 for a constant one, whose weight is 0.
    pub deviations: Vec<f64>,
    /// One weight per standardised feature.
    pub weights: Vec<f64>,
}

impl Ridge {
    /// Minimises `Σ (y − ŷ)² + penalty·Σ weight²`. Rows have equal length; `None` of fewer than two rows, or when a value is not finite or a square
    /// of one overflows.
    pub fn fit(rows: &[&[f64]], responses: &[f64], penalty: f64) -> Option<Self> {
        let n = rows.len();
        let width = rows.first()?.len();
        let finite = rows
            .iter()
            .copied()
            .flatten()
            .chain(responses)
            .all(|x| x.is_finite());
        if n < 2 || !finite {
            return None;
        }
        let mean = |of: &dyn Fn(usize) -> f64| (0..n).map(of).sum::<f64>() / n as f64;
        let intercept = mean(&|i| responses[i]);
        let means: Vec<f64> = (0..width).map(|k| mean(&|i| rows[i][k])).collect();
        let deviations: Vec<f64> = (0..width)
            .map(|k| mean(&|i| (rows[i][k] - means[k]).powi(2)).sqrt())
            .map(|deviation| if deviation > 1e-12 { deviation } else { 1.0 })
            .collect();
        let standard = |i: usize, k: usize| (rows[i][k] - means[k]) / deviations[k];
        let mut gram = vec![0.0; width * width];
        let mut moment = vec![0.0; width];
        for (i, response) in responses.iter().enumerate() {
            for k in 0..width {
                moment[k] += standard(i, k) * (response - intercept);
                for l in 0..=k {
                    gram[k * width + l] += standard(i, k) * standard(i, l);
                }
            }
        }
        for k in 0..width {
            gram[k * width + k] += penalty;
        }
        let weights = solve(&mut gram, moment, width)?;
        (weights.iter().chain(&deviations).all(|x| x.is_finite())).then_some(())?;
        Some(Self {
            intercept,
            means,
            deviations,
            weights,
        })
    }

    /// The fitted value of a row.
    pub fn at(&self, row: &[f64]) -> f64 {
        let terms = (row.iter().zip(&self.means))
            .zip(self.deviations.iter().zip(&self.weights))
            .map(|((x, mean), (deviation, weight))| weight * (x - mean) / deviation);
        self.intercept + terms.sum::<f64>()
    }
}

/// Solves `A·x = b` for a symmetric positive definite `A`, of which the lower half is given (Cholesky); `None` when it is not.
fn solve(a: &mut [f64], mut b: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for k in 0..n {
        for l in 0..=k {
            let dot: f64 = (0..l).map(|j| a[k * n + j] * a[l * n + j]).sum();
            let rest = a[k * n + l] - dot;
            if k == l {
                // Not `rest <= 0.0`, which is false for NaN.
                if !(rest > 0.0 && rest.is_finite()) {
                    return None;
                }
                a[k * n + k] = rest.sqrt();
            } else {
                a[k * n + l] = rest / a[l * n + l];
            }
        }
    }
    for k in 0..n {
        let dot: f64 = (0..k).map(|j| a[k * n + j] * b[j]).sum();
        b[k] = (b[k] - dot) / a[k * n + k];
    }
    for k in (0..n).rev() {
        let dot: f64 = (k + 1..n).map(|j| a[j * n + k] * b[j]).sum();
        b[k] = (b[k] - dot) / a[k * n + k];
    }
    Some(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_penalty_a_line_is_found() {
        let rows: Vec<Vec<f64>> = (0..12)
            .map(|i| vec![i as f64, ((i * 7) % 5) as f64, 4.0])
            .collect();
        let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
        let responses: Vec<f64> = rows.iter().map(|r| 3.0 + 2.0 * r[0] - r[1]).collect();
        let fit = Ridge::fit(&rows, &responses, 1e-9).unwrap();
        assert!((fit.at(&[20.0, 1.0, 4.0]) - 42.0).abs() < 1e-6);
        assert_eq!(fit.weights[2], 0.0);
    }

    #[test]
    fn a_penalty_shrinks() {
        let rows = [[0.0], [1.0], [2.0]];
        let rows: Vec<&[f64]> = rows.iter().map(|r| &r[..]).collect();
        // One standardised column of n = 3: weight = Σxy/(3 + penalty), with Σxy = 3·√(2/3) of the slope 1.
        let fit = Ridge::fit(&rows, &[0.0, 1.0, 2.0], 3.0).unwrap();
        assert!((fit.weights[0] - (2.0_f64 / 3.0).sqrt() / 2.0).abs() < 1e-12);
        assert_eq!(Ridge::fit(&rows, &[0.0, f64::NAN, 2.0], 1.0), None);
        let far: [&[f64]; 3] = [&[1e200], &[-1e200], &[0.0]];
        assert_eq!(Ridge::fit(&far, &[0.0, 1.0, 2.0], 1.0), None);
        let same: [&[f64]; 3] = [&[1.0, 1.0], &[2.0, 2.0], &[4.0, 4.0]];
        assert_eq!(Ridge::fit(&same, &[0.0, 1.0, 2.0], 0.0), None, "singular");
    }
}
