//! The arithmetic of the forward pass on a processor, on plain slices.
//!
//! Every kernel computes each row from that row alone, in an order that does not depend on the number of rows, on their places or
//! on threads, so that a token's numbers are the same bits in whatever batch they are computed. Vector width does not matter
//! either: sums run over a fixed number of lanes, and nothing is contracted into fused operations behind our back.

use gemm::Parallelism;

/// Rows per matrix product. Products always have this many rows (the last tile is padded), because the library may choose another
/// order of summation for another shape.
pub const TILE: usize = 32;

/// Lanes of every sum over a row.
const LANES: usize = 16;

/// `out = x · weight`, with `x: [rows × inputs]`, `weight: [inputs × outputs]`, `out: [rows × outputs]`, row-major.
///
/// # Panics
/// If a slice's length does not fit the sizes.
pub fn matmul(x: &[f32], weight: &[f32], out: &mut [f32], inputs: usize, outputs: usize) {
    multiply(x, Weight::InputMajor(weight), out, inputs, outputs);
}

/// `out = x · weightᵀ`, with `weight: [outputs × inputs]`, otherwise like [`matmul`].
///
/// # Panics
/// If a slice's length does not fit the sizes.
pub fn matmul_transposed(
    x: &[f32],
    weight: &[f32],
    out: &mut [f32],
    inputs: usize,
    outputs: usize,
) {
    multiply(x, Weight::OutputMajor(weight), out, inputs, outputs);
}

/// A weight matrix in either order.
#[derive(Clone, Copy)]
enum Weight<'a> {
    /// `[inputs × outputs]`
    InputMajor(&'a [f32]),
    /// `[outputs × inputs]`
    OutputMajor(&'a [f32]),
}

fn multiply(x: &[f32], weight: Weight<'_>, out: &mut [f32], inputs: usize, outputs: usize) {
    assert_eq!(x.len() / inputs, out.len() / outputs, "rows");
    assert!(x.len().is_multiple_of(inputs) && out.len().is_multiple_of(outputs));
    let (whole_x, rest_x) = x.as_chunks_dyn(TILE * inputs);
    let (whole_out, rest_out) = out.as_chunks_dyn_mut(TILE * outputs);
    for (x, out) in whole_x.zip(whole_out) {
        multiply_tile(x, weight, out, inputs, outputs);
    }
    if !rest_x.is_empty() {
        let mut padded = vec![0.0; TILE * inputs];
        padded[..rest_x.len()].copy_from_slice(rest_x);
        let mut padded_out = vec![0.0; TILE * outputs];
        multiply_tile(&padded, weight, &mut padded_out, inputs, outputs);
        rest_out.copy_from_slice(&padded_out[..rest_out.len()]);
    }
}

/// One product of [`TILE`] rows.
fn multiply_tile(x: &[f32], weight: Weight<'_>, out: &mut [f32], inputs: usize, outputs: usize) {
    assert!(x.len() == TILE * inputs && out.len() == TILE * outputs);
    let (weight, input_stride, output_stride) = match weight {
        Weight::InputMajor(weight) => (weight, outputs, 1),
        Weight::OutputMajor(weight) => (weight, 1, inputs),
    };
    assert_eq!(weight.len(), inputs * outputs, "weight shape");
    // SAFETY: the asserts above hold the three matrices inside their slices for these sizes and strides; `out` is borrowed
    // mutably and so overlaps neither of the others; `read_dst` is false, and every element of `out` is initialised anyway.
    // candle's own product would be safe to call, but splits itself over threads; here threads work on whole batches instead.
    #[allow(unsafe_code)]
    unsafe {
        gemm::gemm(
            TILE,
            outputs,
            inputs,
            out.as_mut_ptr(),
            1,
            outputs as isize,
            false,
            x.as_ptr(),
            1,
            inputs as isize,
            weight.as_ptr(),
            output_stride as isize,
            input_stride as isize,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// `x / √(mean(x²) + eps) · gain` for each row of `x: [rows × width]` (RMSNorm, Zhang & Sennrich 2019).
pub fn rms_norm(x: &[f32], gain: &[f32], eps: f32, out: &mut [f32]) {
    let width = gain.len();
    vectorised(|| {
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let scale = 1.0 / (dot(x, x) / width as f32 + eps).sqrt();
            for ((out, x), gain) in out.iter_mut().zip(x).zip(gain) {
                *out = x * scale * gain;
            }
        }
    });
}

/// `(x − mean) / √(variance + eps) · gain + bias` for each row of `x: [rows × width]` (LayerNorm, Ba et al. 2016).
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], eps: f32, out: &mut [f32]) {
    let width = gain.len();
    vectorised(|| {
        for (x, out) in x.chunks_exact(width).zip(out.chunks_exact_mut(width)) {
            let mean = sum(x) / width as f32;
            for (out, x) in out.iter_mut().zip(x) {
                *out = x - mean;
            }
            let scale = 1.0 / (dot(out, out) / width as f32 + eps).sqrt();
            for ((out, gain), bias) in out.iter_mut().zip(gain).zip(bias) {
                *out = *out * scale * gain + bias;
            }
        }
    });
}

/// A nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x / (1 + e⁻ˣ)`
    Silu,
    /// `x · Φ(x)` with the normal distribution function (Hendrycks & Gimpel 2016).
    Gelu,
    /// Its approximation `x/2 · (1 + tanh(√(2/π) · (x + 0.044715 x³)))`.
    GeluTanh,
}

impl Activation {
    #[inline(always)]
    fn of(self, x: f32) -> f32 {
        match self {
            Activation::Silu => x / (1.0 + exp(-x)),
            Activation::Gelu => 0.5 * x * erfc(-x * std::f32::consts::FRAC_1_SQRT_2),
            Activation::GeluTanh => {
                const SQRT_2_OVER_PI: f32 = 0.797_884_6;
                0.5 * x * (1.0 + tanh(SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x)))
            }
        }
    }
}

/// `activation(x)`, in place.
pub fn activate(activation: Activation, x: &mut [f32]) {
    // One loop for each kind, so that each is compiled into vector instructions.
    fn each(x: &mut [f32], activation: impl Fn(f32) -> f32) {
        vectorised(|| x.iter_mut().for_each(|x| *x = activation(*x)));
    }
    match activation {
        Activation::Silu => each(x, |x| Activation::Silu.of(x)),
        Activation::Gelu => each(x, |x| Activation::Gelu.of(x)),
        Activation::GeluTanh => each(x, |x| Activation::GeluTanh.of(x)),
    }
}

/// `activation(gate) · up`, in place of the gate (GLU variants, Shazeer 2020): the neuron activations.
pub fn gated(activation: Activation, gate: &mut [f32], up: &[f32]) {
    fn each(gate: &mut [f32], up: &[f32], activation: impl Fn(f32) -> f32) {
        vectorised(|| {
            for (gate, up) in gate.iter_mut().zip(up) {
                *gate = activation(*gate) * up;
            }
        });
    }
    match activation {
        Activation::Silu => each(gate, up, |x| Activation::Silu.of(x)),
        Activation::Gelu => each(gate, up, |x| Activation::Gelu.of(x)),
        Activation::GeluTanh => each(gate, up, |x| Activation::GeluTanh.of(x)),
    }
}

/// `cap · tanh(x / cap)`, in place.
pub fn soft_cap(x: &mut [f32], cap: f32) {
    vectorised(|| x.iter_mut().for_each(|x| *x = cap * tanh(*x / cap)));
}

/// Turns the pairs `(i, i + half)` of `x: [2·half]` by angles given as cosines, then sines, `[2·half]` (RoPE, Su et al. 2021, in the
/// half-split layout of Hugging Face).
pub fn rotate(x: &mut [f32], angles: &[f32]) {
    let half = x.len() / 2;
    let (first, second) = x.split_at_mut(half);
    let (cos, sin) = angles.split_at(half);
    for i in 0..half {
        let (a, b) = (first[i], second[i]);
        first[i] = a * cos[i] - b * sin[i];
        second[i] = b * cos[i] + a * sin[i];
    }
}

/// Keys and values of consecutive positions of one sequence in one layer, each `[positions × kv_heads × head_dim]`.
#[derive(Clone, Copy)]
pub struct Span<'a> {
    /// Keys.
    pub keys: &'a [f32],
    /// Values.
    pub values: &'a [f32],
}

/// Head counts and width of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heads {
    /// Query heads.
    pub query: usize,
    /// Key and value heads; divides `query`.
    pub kv: usize,
    /// Width of a head.
    pub dim: usize,
}

/// How attention scores are made from the products of queries and keys.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scores {
    /// What products are multiplied by.
    pub scale: f32,
    /// Scores are `cap · tanh(score / cap)`.
    pub soft_cap: Option<f32>,
}

/// Attention of one query row `[query × dim]` over a sequence's positions, given as spans in order; `scores` is scratch space.
pub fn attend(
    query: &[f32],
    spans: &[Span<'_>],
    heads: Heads,
    Scores {
        scale,
        soft_cap: cap,
    }: Scores,
    out: &mut [f32],
    scores: &mut Vec<f32>,
) {
    let group = heads.query / heads.kv;
    let stride = heads.kv * heads.dim;
    vectorised(|| {
        for head in 0..heads.query {
            let q = &query[head * heads.dim..][..heads.dim];
            let offset = head / group * heads.dim;
            scores.clear();
            for span in spans {
                for keys in span.keys.chunks_exact(stride) {
                    scores.push(dot(q, &keys[offset..][..heads.dim]) * scale);
                }
            }
            if let Some(cap) = cap {
                scores.iter_mut().for_each(|x| *x = cap * tanh(*x / cap));
            }
            softmax(scores);
            let out = &mut out[head * heads.dim..][..heads.dim];
            out.fill(0.0);
            let values = (spans.iter()).flat_map(|span| span.values.chunks_exact(stride));
            for (weight, values) in scores.iter().zip(values) {
                for (out, value) in out.iter_mut().zip(&values[offset..][..heads.dim]) {
                    *out += weight * value;
                }
            }
        }
    });
}

/// Softmax of a row, in place.
#[inline(always)]
fn softmax(row: &mut [f32]) {
    let largest = largest(row);
    for x in row.iter_mut() {
        *x = exp(*x - largest);
    }
    let scale = 1.0 / sum(row);
    for x in row.iter_mut() {
        *x *= scale;
    }
}

/// Negative log-likelihood of one token under a row of logits, in nats.
pub fn negative_log_likelihood(logits: &[f32], token: usize) -> f32 {
    vectorised(|| {
        let largest = largest(logits);
        let mut lanes = [0.0_f32; LANES];
        let chunks = logits.chunks_exact(LANES);
        let rest = chunks.remainder();
        for chunk in chunks {
            for (lane, x) in lanes.iter_mut().zip(chunk) {
                *lane += exp(x - largest);
            }
        }
        let total: f64 = (lanes.iter().map(|&x| x as f64))
            .chain(rest.iter().map(|x| exp(x - largest) as f64))
            .sum();
        (total.ln() - (logits[token] - largest) as f64) as f32
    })
}

/// Index of the largest logit, the lowest among equals; `None` when one is not finite.
pub fn argmax(logits: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (i, &x) in logits.iter().enumerate() {
        if !x.is_finite() {
            return None;
        }
        if x > logits[best] {
            best = i;
        }
    }
    (!logits.is_empty()).then_some(best)
}

/// Cosine of the angle between two vectors; 0 when one of them is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let (mut ab, mut aa, mut bb) = (0.0_f64, 0.0_f64, 0.0_f64);
    for (&x, &y) in a.iter().zip(b) {
        let (x, y) = (x as f64, y as f64);
        ab += x * y;
        aa += x * x;
        bb += y * y;
    }
    if aa == 0.0 || bb == 0.0 {
        return 0.0;
    }
    (ab / (aa * bb).sqrt()) as f32
}

/// Dot product over fixed lanes.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = (a_chunks.remainder().iter()).zip(b_chunks.remainder());
    for (a, b) in a_chunks.zip(b_chunks) {
        for i in 0..LANES {
            lanes[i] += a[i] * b[i];
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(rest) {
        *lane += a * b;
    }
    fold(lanes)
}

/// Sum over fixed lanes.
#[inline(always)]
fn sum(row: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; LANES];
    for chunk in row.chunks(LANES) {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane += x;
        }
    }
    fold(lanes)
}

#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut lanes = lanes;
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[inline(always)]
fn largest(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// `eˣ` to within 2 units in the last place, without branches or calls so that it vectorises, and with the same bits on every
/// machine. Range reduction by `ln 2` in two parts and a degree-5 polynomial (Cephes, `expf.c`). Below −87 it stays at `e⁻⁸⁷`, above
/// 88 at `e⁸⁸`; NaN gives NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Adding and subtracting 1.5·2²³ rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = x.clamp(-87.0, 88.0);
    let n = (clamped * std::f32::consts::LOG2_E + ROUND) - ROUND;
    let r = clamped - n * LN_2_HIGH - n * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5e-1;
    let mantissa = p * r * r + r + 1.0;
    mantissa * f32::from_bits((((n as i32) + 127) as u32) << 23)
}

/// Hyperbolic tangent to within 2e-7.
#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Complementary error function, to within 1.2e-7 of its value (Press et al., Numerical Recipes, section 6.2, `erfcc`).
#[inline(always)]
fn erfc(x: f32) -> f32 {
    const COEFFICIENTS: [f32; 10] = [
        0.170_872_77,
        -0.822_152_23,
        1.488_515_9,
        -1.135_204,
        0.278_868_07,
        -0.186_288_06,
        0.096_784_18,
        0.374_091_96,
        1.000_023_7,
        -1.265_512_2,
    ];
    let z = x.abs();
    let t = 1.0 / (1.0 + 0.5 * z);
    let mut p = 0.0;
    for c in COEFFICIENTS {
        p = p * t + c;
    }
    let upper = t * exp(p - z * z);
    if x < 0.0 { 2.0 - upper } else { upper }
}

/// Runs a kernel compiled for the widest vector instructions of this machine.
#[inline(always)]
fn vectorised<T>(kernel: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(kernel)
}

/// Whole chunks of a size known at run time, and the rest.
trait Chunked {
    fn as_chunks_dyn(&self, size: usize) -> (std::slice::ChunksExact<'_, f32>, &[f32]);
    fn as_chunks_dyn_mut(
        &mut self,
        size: usize,
    ) -> (std::slice::ChunksExactMut<'_, f32>, &mut [f32]);
}

impl Chunked for [f32] {
    fn as_chunks_dyn(&self, size: usize) -> (std::slice::ChunksExact<'_, f32>, &[f32]) {
        let (whole, rest) = self.split_at(self.len() / size * size);
        (whole.chunks_exact(size), rest)
    }

    fn as_chunks_dyn_mut(
        &mut self,
        size: usize,
    ) -> (std::slice::ChunksExactMut<'_, f32>, &mut [f32]) {
        let (whole, rest) = self.split_at_mut(self.len() / size * size);
        (whole.chunks_exact_mut(size), rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::SplitMix64;

    fn random(n: usize, seed: u64) -> Vec<f32> {
        let mut random = SplitMix64(seed);
        (0..n)
            .map(|_| (random.next_u64() >> 40) as f32 / (1 << 23) as f32 - 1.0)
            .collect()
    }

    #[test]
    fn product_equals_the_plain_sum_in_any_batch() {
        let (inputs, outputs) = (75, 50);
        let weight = random(inputs * outputs, 1);
        let x = random(70 * inputs, 2);
        let mut all = vec![0.0; 70 * outputs];
        matmul(&x, &weight, &mut all, inputs, outputs);
        for row in 0..70 {
            let x = &x[row * inputs..][..inputs];
            for o in 0..outputs {
                let plain: f64 = (0..inputs)
                    .map(|i| x[i] as f64 * weight[i * outputs + o] as f64)
                    .sum();
                assert!((all[row * outputs + o] as f64 - plain).abs() < 1e-4);
            }
            let mut alone = vec![0.0; outputs];
            matmul(x, &weight, &mut alone, inputs, outputs);
            assert_eq!(
                alone,
                all[row * outputs..][..outputs],
                "row {row} depends on its batch"
            );
        }
    }

    #[test]
    fn transposed_product_is_the_same_product() {
        let (inputs, outputs) = (33, 17);
        let (weight, x) = (random(inputs * outputs, 1), random(5 * inputs, 2));
        let transposed: Vec<f32> = (0..inputs * outputs)
            .map(|i| weight[i % inputs * outputs + i / inputs])
            .collect();
        let (mut a, mut b) = (vec![0.0; 5 * outputs], vec![0.0; 5 * outputs]);
        matmul(&x, &weight, &mut a, inputs, outputs);
        matmul_transposed(&x, &transposed, &mut b, inputs, outputs);
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn exponential_is_accurate() {
        for i in -8600..8700 {
            let x = i as f32 / 100.0;
            let exact = (x as f64).exp();
            assert!(((exp(x) as f64 - exact) / exact).abs() < 2.5e-7, "{x}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    #[test]
    fn nonlinearities_are_accurate() {
        for i in -1200..1200 {
            let x = i as f32 / 100.0;
            assert!((tanh(x) as f64 - (x as f64).tanh()).abs() < 2e-7, "{x}");
            // Φ(x) from its series (Abramowitz & Stegun 26.2.10), exact enough below 5.
            if x.abs() < 5.0 {
                let (x, mut term, mut total) = (x as f64, x as f64, x as f64);
                for n in 1..200 {
                    term *= -x * x / 2.0 / n as f64;
                    total += term / (2 * n + 1) as f64;
                }
                let gelu = x * (0.5 + total / (2.0 * std::f64::consts::PI).sqrt());
                let ours = Activation::Gelu.of(x as f32) as f64;
                assert!((ours - gelu).abs() < 1e-6, "{x}: {ours} {gelu}");
            }
        }
        let mut x = [3.0, -3.0, 0.0, 40.0, -40.0];
        activate(Activation::GeluTanh, &mut x);
        let expected = [2.996_362_7, -0.003_637_392, 0.0, 40.0, 0.0];
        assert!(
            x.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-5),
            "{x:?}"
        );
    }

    #[test]
    fn layer_norm_equals_its_definition() {
        let x = random(75, 9);
        let (gain, bias) = (random(25, 10), random(25, 11));
        let mut out = vec![0.0; 75];
        layer_norm(&x, &gain, &bias, 1e-5, &mut out);
        for (x, out) in x.chunks(25).zip(out.chunks(25)) {
            let mean = x.iter().map(|&x| x as f64).sum::<f64>() / 25.0;
            let variance = x.iter().map(|&x| (x as f64 - mean).powi(2)).sum::<f64>() / 25.0;
            for i in 0..25 {
                let expected = (x[i] as f64 - mean) / (variance + 1e-5).sqrt() * gain[i] as f64
                    + bias[i] as f64;
                assert!((out[i] as f64 - expected).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn likelihood_equals_its_definition() {
        let logits = random(101, 3);
        let total: f64 = logits.iter().map(|&x| (x as f64).exp()).sum();
        let expected = total.ln() - logits[17] as f64;
        assert!((negative_log_likelihood(&logits, 17) as f64 - expected).abs() < 1e-5);
    }

    #[test]
    fn attention_does_not_see_how_a_sequence_is_split() {
        let heads = Heads {
            query: 6,
            kv: 2,
            dim: 10,
        };
        let (keys, values, query) = (random(7 * 20, 4), random(7 * 20, 5), random(60, 6));
        let (mut whole, mut split) = (vec![0.0; 60], vec![0.0; 60]);
        let span = |from: usize, to: usize| Span {
            keys: &keys[from * 20..to * 20],
            values: &values[from * 20..to * 20],
        };
        let scores = Scores {
            scale: 0.3,
            soft_cap: Some(2.0),
        };
        let scratch = &mut Vec::new();
        attend(&query, &[span(0, 7)], heads, scores, &mut whole, scratch);
        let parts = [span(0, 3), span(3, 7)];
        attend(&query, &parts, heads, scores, &mut split, scratch);
        assert_eq!(whole, split);
        // One position: its value, whatever the query.
        attend(&query, &[span(0, 1)], heads, scores, &mut whole, scratch);
        assert_eq!(whole[..10], values[..10]);
        assert_eq!(whole[50..], values[10..20]);
    }

    #[test]
    fn argmax_takes_the_first_and_refuses_nan() {
        assert_eq!(argmax(&[1.0, 3.0, 3.0]), Some(1));
        assert_eq!(argmax(&[1.0, f32::NAN]), None);
        assert_eq!(argmax(&[]), None);
    }
}
