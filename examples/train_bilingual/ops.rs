//! Fused operations with their gradients. candle-nn's fused kernels have no backward, and the composed forms spend
//! most of a small model's step on intermediate tensors.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

/// `x / rms(x) · weight` over the last dimension; `weight` is `[d]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op2(weight, RmsNorm { eps })
}

/// Softmax over the last dimension.
pub fn softmax(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Softmax)
}

/// `silu(gate) · up`.
pub fn swiglu(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    gate.contiguous()?.apply_op2(&up.contiguous()?, SwiGlu)
}

/// The elements of a contiguous f32 tensor on the CPU.
fn floats<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("a fused operation needs contiguous tensors") };
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

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weight) = (floats(s1, l1)?, floats(s2, l2)?);
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(weight.len()) {
            let scale = self.inverse_rms(row);
            y.extend(row.iter().zip(weight).map(|(x, w)| x * scale * w));
        }
        output(y, l1)
    }

    fn bwd(&self, x: &Tensor, weight: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
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
            let along: f32 = row.iter().zip(g).zip(weight).map(|((x, g), w)| x * g * w).sum();
            let shrink = s * s * s / d as f32 * along;
            dx.extend(row.iter().zip(g).zip(weight).map(|((x, g), w)| s * w * g - x * shrink));
        }
        output(dx, l1)
    }
}

struct Softmax;

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = floats(storage, layout)?;
        let mut y = Vec::with_capacity(x.len());
        for row in x.chunks_exact(last_dim(layout)) {
            let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let start = y.len();
            y.extend(row.iter().map(|x| (x - max).exp()));
            let inverse = y[start..].iter().sum::<f32>().recip();
            y[start..].iter_mut().for_each(|y| *y *= inverse);
        }
        output(y, layout)
    }

    fn bwd(&self, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(y.apply_op2_no_bwd(&grad.contiguous()?, &SoftmaxGrad)?))
    }
}

/// `dx = y·(g − Σ y·g)`.
struct SoftmaxGrad;

impl CustomOp2 for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "softmax-grad"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (y, grad) = (floats(s1, l1)?, floats(s2, l2)?);
        let width = last_dim(l1);
        let mut dx = Vec::with_capacity(y.len());
        for (y, g) in y.chunks_exact(width).zip(grad.chunks_exact(width)) {
            let along = dot(y, g);
            dx.extend(y.iter().zip(g).map(|(y, g)| y * (g - along)));
        }
        output(dx, l1)
    }
}

struct SwiGlu;

fn sigmoid(x: f32) -> f32 {
    (1.0 + (-x).exp()).recip()
}

impl CustomOp2 for SwiGlu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (gate, up) = (floats(s1, l1)?, floats(s2, l2)?);
        output(gate.iter().zip(up).map(|(&g, u)| g * sigmoid(g) * u).collect(), l1)
    }

    fn bwd(&self, gate: &Tensor, up: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dgate = gate.apply_op3_no_bwd(up, &grad, &SwiGluGateGrad)?;
        let dup = gate.apply_op2_no_bwd(&grad, &SwiGlu)?;
        Ok((Some(dgate), Some(dup)))
    }
}

/// `dgate = g·up·silu'(gate)`.
struct SwiGluGateGrad;

impl CustomOp3 for SwiGluGateGrad {
    fn name(&self) -> &'static str {
        "swiglu-gate-grad"
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
        let (gate, up, grad) = (floats(s1, l1)?, floats(s2, l2)?, floats(s3, l3)?);
        let slope = |x: f32| {
            let s = sigmoid(x);
            s * (1.0 + x * (1.0 - s))
        };
        output(gate.iter().zip(up).zip(grad).map(|((&x, u), g)| g * u * slope(x)).collect(), l1)
    }
}

/// The additive attention mask's value for a forbidden position: `exp` of it is zero, and it is finite.
pub const MASKED: f32 = -1e9;

/// Euclidean length over the last dimension, which is kept with size 1.
pub fn length(x: &Tensor) -> Result<Tensor> {
    debug_assert_eq!(x.dtype(), DType::F32);
    x.sqr()?.sum_keepdim(candle_core::D::Minus1)?.sqrt()
}
