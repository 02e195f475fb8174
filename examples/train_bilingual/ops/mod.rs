//! Fused operations with their gradients. candle-nn's fused kernels have no backward, and the composed forms spend
//! most of a small model's step on intermediate tensors.

mod contributions;
mod gated;
mod norm;
mod rotary;
mod softmax;
#[cfg(test)]
mod tests;

use candle_core::{CpuStorage, Layout, Result, Shape, Tensor, bail};

pub use contributions::weighted_abs_sum;
pub use gated::{Activation, gated};
pub use norm::rms_norm;
pub use rotary::Rotary;
pub use softmax::{MASKED, masked_softmax};

/// Euclidean length over the last dimension, which is kept with size 1.
pub fn length(x: &Tensor) -> Result<Tensor> {
    x.sqr()?.sum_keepdim(candle_core::D::Minus1)?.sqrt()
}

/// The elements of a contiguous f32 tensor on the CPU.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a fused operation needs contiguous tensors")
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

fn last_dim(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1)
}

fn output(values: Vec<f32>, like: &Layout) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(values), like.shape().clone()))
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
