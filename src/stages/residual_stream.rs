//! The unsteered residual stream on generic text: its length, its spectrum, its mean direction.

use crate::law::NormedWrite;
use crate::model::kernels::{self, Packed};
use crate::model::{Cell, FfnNorm, LanguageModel, Observed, Probe, Rollout, Sequence};
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
    /// What the feed-forward adds, where a norm stands behind it.
    pub normed: Option<NormedLayer>,
}

/// The feed-forward of one layer and what it is added to, where a norm stands behind it. Means over positions.
#[derive(Clone, Debug)]
pub struct NormedLayer {
    norm: FfnNorm,
    /// Output of the down projection, before the norm: mean, `[d_model]`.
    f: Vec<f64>,
    /// Residual stream before the feed-forward is added: mean, `[d_model]`.
    h: Vec<f64>,
    ff: f64,
    hh: f64,
    gg: f64,
    gh: f64,
}

impl NormedLayer {
    /// From rows of block outputs and of feed-forward outputs before the norm, `[positions × d_model]` each.
    fn new(norm: FfnNorm, residuals: &[f32], outputs: &[f32]) -> Self {
        let d = norm.gain.len();
        let positions = (residuals.len() / d).max(1) as f64;
        let mut layer = Self {
            f: vec![0.0; d],
            h: vec![0.0; d],
            ff: 0.0,
            hh: 0.0,
            gg: 0.0,
            gh: 0.0,
            norm,
        };
        for (r, f) in residuals.chunks_exact(d).zip(outputs.chunks_exact(d)) {
            let rho = (square(f) / d as f64 + f64::from(layer.norm.eps)).sqrt();
            for i in 0..d {
                let (r, f) = (f64::from(r[i]), f64::from(f[i]));
                let g = f64::from(layer.norm.gain[i]) * f;
                let h = r - g / rho;
                layer.f[i] += f / positions;
                layer.h[i] += h / positions;
                layer.ff += f * f / positions;
                layer.hh += h * h / positions;
                layer.gg += g * g / positions;
                layer.gh += g * h / positions;
            }
        }
        layer
    }

    /// The geometry of a write direction `v` whose effective direction is `u`, both `[d_model]`.
    fn write(&self, v: &[f64], u: &[f64]) -> NormedWrite {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
        let g: Vec<f64> = (self.f.iter().zip(&self.norm.gain))
            .map(|(f, &gain)| f * f64::from(gain))
            .collect();
        NormedWrite {
            d_model: v.len() as f64,
            eps: self.norm.eps.into(),
            vv: dot(v, v),
            uu: dot(u, u),
            ff: self.ff,
            fv: dot(&self.f, v),
            hh: self.hh,
            hu: dot(&self.h, u),
            gg: self.gg,
            gu: dot(&g, u),
            gh: self.gh,
        }
    }
}

impl ResidualStream {
    /// Coherence budget `B = ‖r_L‖ / ‖v‖` of a neuron, with `‖v‖` and `c0`.
    pub fn budget(&self, model: &dyn LanguageModel, neuron: NeuronId) -> Budget {
        let layer = &self.layers[neuron.layer];
        let wide = |x: Vec<f32>| x.into_iter().map(f64::from).collect::<Vec<f64>>();
        let write = wide(model.effective_write(neuron));
        let length = write.iter().map(|x| x * x).sum::<f64>().sqrt();
        let normed = (layer.normed.as_ref())
            .map(|layer| layer.write(&wide(model.write_direction(neuron)), &write));
        // Behind a norm, what one unit of activation writes at dose 0.
        let write_norm = normed.map_or(length, |normed| normed.write_norm());
        let along: f64 = write
            .iter()
            .zip(&layer.mean_direction)
            .map(|(v, u)| v * u)
            .sum();
        Budget {
            write_norm,
            budget: crate::law::coherence_budget(layer.norm, write_norm),
            // Rounding may take a write along the stream itself a little further.
            c0: if length > 0.0 {
                (along / length).clamp(-1.0, 1.0)
            } else {
                0.0
            },
            normed,
        }
    }
}

/// A neuron's coherence budget.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// `‖v‖`; behind a norm, the length of the effective write per activation unit at dose 0.
    pub write_norm: f64,
    /// `B`, in activation units.
    pub budget: f64,
    /// `c0`.
    pub c0: f64,
    /// The write behind a norm.
    pub normed: Option<NormedWrite>,
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
    let normed = model.shape().norm_after_ffn;
    let mut layers = vec![Vec::new(); model.shape().layers];
    let mut outputs = vec![Vec::new(); if normed { layers.len() } else { 0 }];
    let probe = Probe {
        residuals: true,
        ffn_outputs: normed,
        ..Probe::default()
    };
    model.observe(&sequences, probe, &mut |_, observed: Observed| {
        for (all, more) in layers.iter_mut().zip(observed.residuals) {
            all.extend(more);
        }
        for (all, more) in outputs.iter_mut().zip(observed.ffn_outputs) {
            all.extend(more);
        }
    })?;
    let d_model = model.shape().d_model;
    let one = |(layer, residuals): (usize, &Vec<f32>)| {
        let found = LayerResiduals {
            normed: (model.ffn_norm(layer))
                .map(|norm| NormedLayer::new(norm, residuals, &outputs[layer])),
            ..summarise(residuals, d_model, study.calibration.statistic)
        };
        found.check(layer)?;
        Ok(found)
    };
    Ok(ResidualStream {
        positions: layers[0].len() / d_model,
        layers: (layers.iter().enumerate())
            .map(one)
            .collect::<anyhow::Result<_>>()?,
    })
}

impl LayerResiduals {
    /// Refuses a stream from which no budget and no spectrum can be read.
    fn check(&self, layer: usize) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.norm > 0.0,
            "the residual stream of layer {layer} is zero on the generic prompts: there is nothing to measure doses by; the weights are \
             damaged, or `prompts.generic` is too short"
        );
        // A product of squares that overflows makes the ratio 0.
        let spectrum = [self.leading_share, self.participation_ratio];
        anyhow::ensure!(
            spectrum.iter().all(|x| x.is_finite() && *x > 0.0),
            "the spectrum of the residual stream of layer {layer} is not finite: its numbers, of length {:e}, overflow when squared; the \
             weights are damaged",
            self.norm
        );
        Ok(())
    }
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
        leading_share: leading_eigenvalue(
            residuals,
            d_model,
            &start(residuals, &norms, &mean_direction),
        ) / trace,
        participation_ratio: trace * trace / squared_frobenius_norm(residuals, d_model),
        mean_direction,
        normed: None,
    }
}

fn square(r: &[f32]) -> f64 {
    r.iter().map(|&x| f64::from(x) * f64::from(x)).sum()
}

/// Where power iteration starts: at the mean direction, or, where the rows cancel, at the longest row.
fn start(residuals: &[f32], norms: &[f64], mean_direction: &[f64]) -> Vec<f64> {
    if mean_direction.iter().any(|x| x.abs() > f64::EPSILON) {
        return mean_direction.to_vec();
    }
    let longest = (norms
        .iter()
        .zip(residuals.chunks_exact(mean_direction.len())))
    .max_by(|a, b| a.0.total_cmp(b.0));
    longest.map_or_else(Vec::new, |(_, row)| row.iter().map(|&x| x.into()).collect())
}

/// Largest eigenvalue of `XᵀX` by power iteration, from a start that is never orthogonal to it in practice.
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
    fn rows_that_cancel_have_a_spectrum() {
        let layer = summarise(&[3.0, 4.0, -3.0, -4.0], 2, Statistic::Mean);
        assert!((layer.leading_share - 1.0).abs() < 1e-9);
        layer.check(0).unwrap();
    }

    #[test]
    fn zero_and_overflow_are_refused_with_their_layer() {
        let refused = |rows: &[f32]| {
            let layer = summarise(rows, 2, Statistic::Mean);
            layer.check(7).unwrap_err().to_string()
        };
        assert!(refused(&[0.0; 4]).contains("layer 7 is zero"));
        assert!(refused(&[1e20, 0.0, 0.0, 1e20]).contains("layer 7 is not finite"));
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
