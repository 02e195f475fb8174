//! Rotary position embedding.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

use super::{floats, last_dim, output};

/// Rotary embedding of every head of a `[rows, window, heads · head]` tensor.
#[derive(Clone)]
pub struct Rotary {
    /// `[window · head / 2]`, the angle of each pair of channels
    cos: Arc<[f32]>,
    sin: Arc<[f32]>,
    half: usize,
    window: usize,
}

impl Rotary {
    pub fn new(window: usize, head: usize, theta: f32) -> Self {
        let half = head / 2;
        let angles: Vec<f32> = (0..window * half)
            .map(|i| (i / half) as f32 / theta.powf(2.0 * (i % half) as f32 / head as f32))
            .collect();
        let wave = |f: fn(f32) -> f32| angles.iter().map(|&angle| f(angle)).collect();
        Rotary {
            cos: wave(f32::cos),
            sin: wave(f32::sin),
            half,
            window,
        }
    }

    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(self.clone())
    }

    /// The rotation by the opposite angles, which is its transpose and so its gradient.
    fn inverse(&self) -> Self {
        Rotary {
            sin: self.sin.iter().map(|sin| -sin).collect(),
            ..self.clone()
        }
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, width, half) = (floats(storage, layout)?, last_dim(layout), self.half);
        let mut y = vec![0.0; x.len()];
        for (index, (x, y)) in x
            .chunks_exact(width)
            .zip(y.chunks_exact_mut(width))
            .enumerate()
        {
            let start = index % self.window * half;
            let (cos, sin) = (
                &self.cos[start..start + half],
                &self.sin[start..start + half],
            );
            for (x, y) in x.chunks_exact(2 * half).zip(y.chunks_exact_mut(2 * half)) {
                let ((x1, x2), (y1, y2)) = (x.split_at(half), y.split_at_mut(half));
                for i in 0..half {
                    y1[i] = x1[i] * cos[i] - x2[i] * sin[i];
                    y2[i] = x2[i] * cos[i] + x1[i] * sin[i];
                }
            }
        }
        output(y, layout)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(grad.contiguous()?.apply_op1_no_bwd(&self.inverse())?))
    }
}
