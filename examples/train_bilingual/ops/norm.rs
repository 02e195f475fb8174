//! Root-mean-square norm.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::{dot, floats, output};

/// `x / rms(x) · weight` over the last dimension; `weight` is `[d]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op2(weight, RmsNorm { eps })
}

struct RmsNorm {
    eps: f32,
}

impl RmsNorm {
    fn inverse_rms(&self, row: &[f32]) -> f32 {
        (dot(row, row) / row.len() as f32 + self.eps).sqrt().recip()
    }
}

impl CustomOp2 for RmsNorm {
    fn name(&self) -> &'static str {
        "rms-norm"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (floats(s1, l1)?, floats(s2, l2)?);
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(weight.len()) {
            let scale = self.inverse_rms(row);
            y.extend(row.iter().zip(weight).map(|(x, w)| x * scale * w));
        }
        output(y, l1)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dx = x.apply_op3_no_bwd(weight, &grad, &RmsNormGrad(RmsNorm { eps: self.eps }))?;
        // dw = Σ_rows grad · x / rms(x)
        let normed = x.apply_op2_no_bwd(&weight.ones_like()?, &RmsNorm { eps: self.eps })?;
        let dw = (grad * normed)?.flatten_to(x.rank() - 2)?.sum(0)?;
        Ok((Some(dx), Some(dw)))
    }
}

/// `dx = s·w·g − x·s³/d·Σ(x·w·g)`, with `s` the inverse root mean square of the row.
struct RmsNormGrad(RmsNorm);

impl CustomOp3 for RmsNormGrad {
    fn name(&self) -> &'static str {
        "rms-norm-grad"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
        s3: &CpuStorage,
        l3: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weight, grad) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        let d = weight.len();
        let mut dx = Vec::with_capacity(x.len());
        for (row, g) in x.chunks_exact(d).zip(grad.chunks_exact(d)) {
            let s = self.0.inverse_rms(row);
            let along: f32 = row
                .iter()
                .zip(g)
                .zip(weight)
                .map(|((x, g), w)| x * g * w)
                .sum();
            let shrink = s * s * s / d as f32 * along;
            dx.extend(
                row.iter()
                    .zip(g)
                    .zip(weight)
                    .map(|((x, g), w)| s * w * g - x * shrink),
            );
        }
        output(dx, l1)
    }
}
