//! Attention probabilities.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};

use super::{dot, floats, last_dim, output};

/// The additive attention mask's value for a forbidden position: `exp` of it is zero, and it is finite.
pub const MASKED: f32 = -1e9;

/// `softmax(scale · scores + mask)` over the last dimension: `scores` is `[rows, kv, shared · window, window]`, and
/// `mask`, which gets no gradient, `[rows, window, window]`.
pub fn masked_softmax(scores: &Tensor, mask: &Tensor, scale: f32) -> Result<Tensor> {
    scores
        .contiguous()?
        .apply_op2(mask, MaskedSoftmax { scale })
}

struct MaskedSoftmax {
    scale: f32,
}

impl CustomOp2 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (scores, mask) = (floats(s1, l1)?, floats(s2, l2)?);
        let (rows, kv, queries, window) = l1.shape().dims4()?;
        if mask.len() != rows * window * window || queries % window != 0 {
            bail!(
                "the attention mask {:?} does not fit the scores {:?}",
                l2.dims(),
                l1.dims()
            )
        }
        let mut y = Vec::with_capacity(scores.len());
        for (index, row) in scores.chunks_exact(window).enumerate() {
            let query = index / (kv * queries) * window + index % window;
            let start = y.len();
            y.extend(
                row.iter()
                    .zip(&mask[query * window..])
                    .map(|(score, mask)| score * self.scale + mask),
            );
            normalise(&mut y[start..]);
        }
        output(y, l1)
    }

    fn bwd(
        &self,
        _: &Tensor,
        _: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((
            Some(y.apply_op2_no_bwd(&grad.contiguous()?, &SoftmaxGrad { scale: self.scale })?),
            None,
        ))
    }
}

fn normalise(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for x in row.iter_mut() {
        // A masked score is far below every other; its exponential is not worth computing.
        *x = if *x < 0.5 * MASKED {
            0.0
        } else {
            (*x - max).exp()
        };
    }
    let inverse = row.iter().sum::<f32>().recip();
    row.iter_mut().for_each(|x| *x *= inverse);
}

/// `dx = scale·y·(g − Σ y·g)`.
struct SoftmaxGrad {
    scale: f32,
}

impl CustomOp2 for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax-grad"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (y, grad) = (floats(s1, l1)?, floats(s2, l2)?);
        let width = last_dim(l1);
        let mut dx = Vec::with_capacity(y.len());
        for (y, g) in y.chunks_exact(width).zip(grad.chunks_exact(width)) {
            let along = dot(y, g);
            dx.extend(y.iter().zip(g).map(|(y, g)| y * (g - along) * self.scale));
        }
        output(dx, l1)
    }
}
