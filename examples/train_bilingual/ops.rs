//! Fused operations with their gradients. candle-nn's fused kernels have no backward, and the composed forms spend
//! most of a small model's step on intermediate tensors.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, CustomOp3, DType, Layout, Result, Shape, Tensor, bail};

/// `x / rms(x) · weight` over the last dimension; `weight` is `[d]`.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f32) -> Result<Tensor> {
    x.contiguous()?.apply_op2(weight, RmsNorm { eps })
}

/// `softmax(scale · scores + mask)` over the last dimension: `scores` is `[rows, kv, shared · window, window]`, and
/// `mask`, which gets no gradient, `[rows, window, window]`.
pub fn masked_softmax(scores: &Tensor, mask: &Tensor, scale: f32) -> Result<Tensor> {
    scores.contiguous()?.apply_op2(mask, MaskedSoftmax { scale })
}

/// `Σ_i |a_i|·w_i` over the last dimension, which is kept with size 1; `weights` is `[width]`.
pub fn weighted_abs_sum(activations: &Tensor, weights: &Tensor) -> Result<Tensor> {
    activations.contiguous()?.apply_op2(weights, WeightedAbsSum)
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

struct MaskedSoftmax {
    scale: f32,
}

impl CustomOp2 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (scores, mask) = (floats(s1, l1)?, floats(s2, l2)?);
        let (rows, kv, queries, window) = l1.shape().dims4()?;
        if mask.len() != rows * window * window || queries % window != 0 {
            bail!("the attention mask {:?} does not fit the scores {:?}", l2.dims(), l1.dims())
        }
        let mut y = Vec::with_capacity(scores.len());
        for (index, row) in scores.chunks_exact(window).enumerate() {
            let query = index / (kv * queries) * window + index % window;
            let start = y.len();
            y.extend(row.iter().zip(&mask[query * window..]).map(|(score, mask)| score * self.scale + mask));
            normalise(&mut y[start..]);
        }
        output(y, l1)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, y: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        Ok((Some(y.apply_op2_no_bwd(&grad.contiguous()?, &SoftmaxGrad { scale: self.scale })?), None))
    }
}

fn normalise(row: &mut [f32]) {
    let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for x in row.iter_mut() {
        // A masked score is far below every other; its exponential is not worth computing.
        *x = if *x < 0.5 * MASKED { 0.0 } else { (*x - max).exp() };
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

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
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

struct WeightedAbsSum;

impl CustomOp2 for WeightedAbsSum {
    fn name(&self) -> &'static str {
        "weighted-abs-sum"
    }

    fn cpu_fwd(&self, s1: &CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, weights) = (floats(s1, l1)?, floats(s2, l2)?);
        let sums = x.chunks_exact(weights.len()).map(|row| row.iter().zip(weights).map(|(x, w)| x.abs() * w).sum()).collect();
        let mut shape = l1.dims().to_vec();
        if let Some(last) = shape.last_mut() {
            *last = 1;
        }
        Ok((CpuStorage::F32(sums), shape.into()))
    }

    fn bwd(&self, x: &Tensor, weights: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let grad = grad.contiguous()?;
        let dx = x.apply_op3_no_bwd(weights, &grad, &WeightedAbsSumGrad)?;
        // dw = Σ_rows grad·|a|, as one product of matrices.
        let rows = grad.elem_count();
        let dw = grad.reshape((1, rows))?.matmul(&x.abs()?.reshape((rows, ()))?)?.squeeze(0)?;
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

/// Rotary embedding of every head of a `[rows, window, heads · head]` tensor.
#[derive(Clone)]
pub struct Rotary {
    /// `[window · head / 2]`, the angle of each pair of channels
    cos: std::sync::Arc<[f32]>,
    sin: std::sync::Arc<[f32]>,
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
        Rotary { cos: wave(f32::cos), sin: wave(f32::sin), half, window }
    }

    pub fn apply(&self, x: &Tensor) -> Result<Tensor> {
        x.contiguous()?.apply_op1(self.clone())
    }

    /// The rotation by the opposite angles, which is its transpose and so its gradient.
    fn inverse(&self) -> Self {
        Rotary { sin: self.sin.iter().map(|sin| -sin).collect(), ..self.clone() }
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, width, half) = (floats(storage, layout)?, last_dim(layout), self.half);
        let mut y = vec![0.0; x.len()];
        for (index, (x, y)) in x.chunks_exact(width).zip(y.chunks_exact_mut(width)).enumerate() {
            let start = index % self.window * half;
            let (cos, sin) = (&self.cos[start..start + half], &self.sin[start..start + half]);
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

/// The additive attention mask's value for a forbidden position: `exp` of it is zero, and it is finite.
pub const MASKED: f32 = -1e9;

/// Euclidean length over the last dimension, which is kept with size 1.
pub fn length(x: &Tensor) -> Result<Tensor> {
    debug_assert_eq!(x.dtype(), DType::F32);
    x.sqr()?.sum_keepdim(candle_core::D::Minus1)?.sqrt()
}
