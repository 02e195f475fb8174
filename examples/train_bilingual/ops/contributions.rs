//! How much the neurons of one layer write, for the penalty that keeps their writes sparse.

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};

use super::{floats, output};

/// `Σ_i |a_i|·w_i` over the last dimension, which is kept with size 1; `weights` is `[width]`.
pub fn weighted_abs_sum(activations: &Tensor, weights: &Tensor) -> Result<Tensor> {
    activations.contiguous()?.apply_op2(weights, WeightedAbsSum)
}

struct WeightedAbsSum;

impl CustomOp2 for WeightedAbsSum {
    fn name(&self) -> &'static str {
        "weighted-abs-sum"
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, weights) = (floats(s1, l1)?, floats(s2, l2)?);
        let sums = x
            .chunks_exact(weights.len())
            .map(|row| row.iter().zip(weights).map(|(x, w)| x.abs() * w).sum())
            .collect();
        let mut shape = l1.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = 1;
        }
        Ok((CpuStorage::F32(sums), shape.into()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weights: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dx = x.apply_op3_no_bwd(weights, &grad, &WeightedAbsSumGrad)?;
        // dw = Σ_rows grad·|a|, as one product of matrices.
        let rows = grad.elem_count();
        let dw = grad
            .reshape((1, rows))?
            .matmul(&x.abs()?.reshape((rows, ()))?)?
            .squeeze(0)?;
        Ok((Some(dx), Some(dw)))
    }
}

/// `dx = g·w·sign(x)`.
struct WeightedAbsSumGrad;

impl CustomOp3 for WeightedAbsSumGrad {
    fn name(&self) -> &'static str {
        "weighted-abs-sum-grad"
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
        let (x, weights, grad) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        let mut dx = Vec::with_capacity(x.len());
        for (row, g) in x.chunks_exact(weights.len()).zip(grad) {
            dx.extend(row.iter().zip(weights).map(|(x, w)| g * w * x.signum()));
        }
        output(dx, l1)
    }
}
