//! The unsteered residual stream on generic text: its length, its spectrum, its mean direction.

use crate::model::kernels::{self, Packed};
use crate::model::{Cell, LanguageModel, Observed, Probe, Rollout, Sequence};
use crate::spec::ceiling::{CalibrationPositions, Statistic};
use crate::stats;
use crate::study::Study;
use crate::units::{NeuronId, TokenId};

/// The residual stream at the output of every block.
#[derive(Clone, Debug)]
pub struct ResidualStream {
    /// Number of positions at which it was read.
    pub positions: usize,
    /// One entry per layer.
    pub layers: Vec<LayerResiduals>,
}

/// The residual stream at the output of one block.
#[derive(Clone, Debug)]
pub struct LayerResiduals {
    /// `‖r_L‖` over positions, by the study's statistic.
    pub norm: f64,
    /// Mean over positions of `r_L / ‖r_L‖`, `[d_model]`: its product with a unit vector is the mean cosine.
    pub mean_direction: Vec<f64>,
    /// `λ₁/Σλ` of the uncentred second moment.
    pub leading_share: f64,
    /// `(Σλ)²/Σλ²`.
    pub participation_ratio: f64,
}

impl ResidualStream {
    /// Coherence budget `B = ‖r_L‖ / ‖v‖` of a neuron, with `‖v‖` and `c0`.
    pub fn budget(&self, model: &dyn LanguageModel, neuron: NeuronId) -> Budget {
        let layer = &self.layers[neuron.layer];
        let write: Vec<f64> = model
            .write_direction(neuron)
            .iter()
            .map(|&x| f64::from(x))
            .collect();
        let write_norm = write.iter().map(|x| x * x).sum::<f64>().sqrt();
        let along: f64 = write
            .iter()
            .zip(&layer.mean_direction)
            .map(|(v, u)| v * u)
            .sum();
        Budget {
            write_norm,
            budget: crate::law::coherence_budget(layer.norm, write_norm),
            c0: if write_norm > 0.0 {
                along / write_norm
            } else {
                0.0
            },
        }
    }
}

/// A neuron's coherence budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// `‖v‖`.
    pub write_norm: f64,
    /// `B`, in activation units.
    pub budget: f64,
    /// `c0`.
    pub c0: f64,
}

/// Reads the residual stream on the study's generic prompts.
pub fn read_residual_stream(
    study: &Study,
    model: &dyn LanguageModel,
) -> anyhow::Result<ResidualStream> {
    let texts = generic_texts(study, model)?;
    let sequences: Vec<Sequence<'_>> = (texts.iter())
        .map(|(tokens, from)| Sequence {
            tokens,
            from: *from,
        })
        .collect();
    let mut layers = vec![Vec::new(); model.shape().layers];
    let probe = Probe {
        residuals: true,
        ..Probe::default()
    };
    model.observe(&sequences, probe, &mut |_, Observed { residuals, .. }| {
        for (all, more) in layers.iter_mut().zip(residuals) {
            all.extend(more);
        }
    })?;
    let d_model = model.shape().d_model;
    Ok(ResidualStream {
        positions: layers[0].len() / d_model,
        layers: (layers.iter())
            .map(|residuals| summarise(residuals, d_model, study.calibration.statistic))
            .collect(),
    })
}

/// What is read, and the first position that counts.
fn generic_texts(
    study: &Study,
    model: &dyn LanguageModel,
) -> anyhow::Result<Vec<(Vec<TokenId>, usize)>> {
    let prompts = study.generic_prompts();
    if study.calibration.positions == CalibrationPositions::Prompt {
        return Ok(prompts
            .iter()
            .map(|prompt| (prompt.tokens.clone(), 0))
            .collect());
    }
    let cells: Vec<Cell<'_>> = (prompts.iter())
        .map(|prompt| Cell {
            prompt: &prompt.tokens,
            steering: None,
            horizon: study.rollout.longest().0,
            stop_at_end: study.rollout.stop_at_end,
            stop_at_loop: None,
            sample: None,
        })
        .collect();
    let mut rollouts = vec![None; cells.len()];
    model.rollouts(&cells, &mut |cell, rollout| {
        rollouts[cell] = Some(rollout);
        Ok(())
    })?;
    Ok((prompts.iter().zip(rollouts.into_iter().flatten()))
        .map(|(prompt, Rollout { tokens, .. })| {
            // The last generated token is never read by the model.
            let read = &tokens[..tokens.len().saturating_sub(1)];
            ([&prompt.tokens[..], read].concat(), prompt.tokens.len() - 1)
        })
        .collect())
}

/// `residuals`: `[positions × d_model]`.
fn summarise(residuals: &[f32], d_model: usize, statistic: Statistic) -> LayerResiduals {
    let norms: Vec<f64> = residuals
        .chunks_exact(d_model)
        .map(|r| square(r).sqrt())
        .collect();
    let mut mean_direction = vec![0.0; d_model];
    for (r, norm) in residuals.chunks_exact(d_model).zip(&norms) {
        if *norm > 0.0 {
            for (sum, &x) in mean_direction.iter_mut().zip(r) {
                *sum += f64::from(x) / norm / norms.len() as f64;
            }
        }
    }
    let trace: f64 = norms.iter().map(|norm| norm * norm).sum();
    let norm = match statistic {
        Statistic::Mean => stats::mean(&norms),
        Statistic::Median => stats::median(&norms),
    };
    LayerResiduals {
        norm: norm.unwrap_or(0.0),
        leading_share: leading_eigenvalue(residuals, d_model, &mean_direction) / trace,
        participation_ratio: trace * trace / squared_frobenius_norm(residuals, d_model),
        mean_direction,
    }
}

fn square(r: &[f32]) -> f64 {
    r.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// Largest eigenvalue of `XᵀX` by power iteration, from a start that is never orthogonal to it in practice: the mean direction.
fn leading_eigenvalue(x: &[f32], d: usize, start: &[f64]) -> f64 {
    let mut direction = start.to_vec();
    let mut eigenvalue = 0.0;
    for _ in 0..500 {
        let length = direction.iter().map(|a| a * a).sum::<f64>().sqrt();
        if length == 0.0 {
            return 0.0;
        }
        let mut next = vec![0.0; d];
        for row in x.chunks_exact(d) {
            let along: f64 = row
                .iter()
                .zip(&direction)
                .map(|(&a, b)| f64::from(a) * b / length)
                .sum();
            for (next, &a) in next.iter_mut().zip(row) {
                *next += along * f64::from(a);
            }
        }
        let before = std::mem::replace(
            &mut eigenvalue,
            next.iter().map(|a| a * a).sum::<f64>().sqrt(),
        );
        if (eigenvalue - before).abs() <= 1e-10 * eigenvalue {
            break;
        }
        direction = next;
    }
    eigenvalue
}

/// Rows whose products with all others are held at a time.
const ROWS: usize = 32;

/// `Σλ²` of `XᵀX`, which `XXᵀ` shares: the sum of squared products of all pairs of rows.
fn squared_frobenius_norm(x: &[f32], d: usize) -> f64 {
    let rows = x.len() / d;
    let transposed = Packed::from_output_major(x, d, rows);
    let mut products = vec![0.0; ROWS * rows];
    (x.chunks(ROWS * d))
        .map(|some| {
            let products = &mut products[..some.len() / d * rows];
            kernels::matmul(some, &transposed, products);
            square(products)
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spectrum_of_orthogonal_rows() {
        // Rows of length 3, 2 and 1 along three axes: eigenvalues 9, 4, 1. The start must touch the first.
        let x = [3.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0];
        let layer = summarise(&x, 3, Statistic::Mean);
        assert!((layer.norm - 2.0).abs() < 1e-12);
        assert!((layer.leading_share - 9.0 / 14.0).abs() < 1e-9);
        assert!((layer.participation_ratio - 196.0 / 98.0).abs() < 1e-9);
        assert!(
            layer
                .mean_direction
                .iter()
                .all(|u| (u - 1.0 / 3.0).abs() < 1e-12)
        );
    }

    #[test]
    fn rank_one_has_one_direction() {
        let x = [1.0, 2.0, 2.0, 4.0, -1.5, -3.0];
        let layer = summarise(&x, 2, Statistic::Median);
        assert!(
            (layer.leading_share - 1.0).abs() < 1e-9
                && (layer.participation_ratio - 1.0).abs() < 1e-6
        );
        assert!((layer.norm - 1.5 * 5f64.sqrt()).abs() < 1e-6);
    }
}
