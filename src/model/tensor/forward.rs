//! The forward pass on candle tensors: for accelerators, and for half-precision arithmetic on any device.
//!
//! The same parts as [`super::super::decoder`], on a batch of sequences of one length. Norms, softmax and logits are computed in `f32`,
//! the rest in the number type of the embedded tokens, as transformers does.

use candle_core::{D, DType, Device, Result, Tensor};
use candle_nn::{ops, rotary_emb};
use candle_transformers::utils::repeat_kv;

use super::weights::{
    TensorAttention, TensorBlock, TensorDecoder, TensorFeedForward, TensorLinear, TensorNorm,
};
use crate::model::decoder::Residual;
use crate::model::parts::Activation;
use crate::model::rope::Rope;
use crate::model::write::{FfnNorm, random_direction};
use crate::units::{NeuronId, TokenId};

/// Sees, and may change, what happens inside a forward pass.
pub trait TensorHook {
    /// The input of a layer's down projection, `[batch, positions, d_ff]`.
    fn activations(&mut self, _layer: usize, activations: Tensor) -> Result<Tensor> {
        Ok(activations)
    }

    /// The output of a layer's down projection, bias included, before any norm after it: `[batch, positions, d_model]`.
    fn ffn_output(&mut self, _layer: usize, written: Tensor) -> Result<Tensor> {
        Ok(written)
    }

    /// The residual stream before the first block, `[batch, positions, d_model]`.
    fn embedded(&mut self, _residual: &Tensor) -> Result<()> {
        Ok(())
    }

    /// The residual stream at the output of a block, `[batch, positions, d_model]`.
    fn block_output(&mut self, _layer: usize, _residual: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// Changes nothing.
pub struct Unsteered;

impl TensorHook for Unsteered {}

/// Keys and values of a batch in one layer, each `[batch, kv heads, positions, head_dim]`; none before the first forward pass.
pub type LayerCache = Option<(Tensor, Tensor)>;

/// Keys and values of a batch by layer.
pub type Cache = Vec<LayerCache>;

/// How norms, softmax and rotations are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// By candle-nn's own kernels, which have no backward pass.
    Fused,
    /// By plain tensor operations, through which candle finds gradients.
    Differentiable,
}

/// A forward pass over some positions.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// The first of them.
    pub first: usize,
    /// How it is computed.
    pub kernels: Kernels,
}

impl TensorNorm {
    /// Normalises the last dimension in parts as long as the gain.
    pub fn apply(&self, x: &Tensor, kernels: Kernels) -> Result<Tensor> {
        let width = self.gain.elem_count();
        let rows = x.to_dtype(DType::F32)?.reshape(((), width))?.contiguous()?;
        let (gain, eps) = (&self.gain, self.eps);
        // 0 · ‖x‖² is NaN where the square overflows: the row would become zeros there, and look healthy from there on.
        let doubt = (rows.sqr()?.sum_keepdim(1)? * 0.0)?;
        let normed = match (&self.bias, kernels) {
            (None, Kernels::Fused) => ops::rms_norm(&rows, gain, eps)?,
            (None, Kernels::Differentiable) => ops::rms_norm_slow(&rows, gain, eps)?,
            (Some(bias), Kernels::Fused) => ops::layer_norm(&rows, gain, bias, eps)?,
            (Some(bias), Kernels::Differentiable) => ops::layer_norm_slow(&rows, gain, bias, eps)?,
        };
        let normed = normed.broadcast_add(&doubt)?;
        normed.reshape(x.shape())?.to_dtype(x.dtype())
    }
}

impl TensorLinear {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, positions, inputs) = x.dims3()?;
        let out = x
            .reshape((batch * positions, inputs))?
            .matmul(&self.weight.to_dtype(x.dtype())?)?;
        let out = match &self.bias {
            Some(bias) => out.broadcast_add(&bias.to_dtype(x.dtype())?)?,
            None => out,
        };
        out.reshape((batch, positions, ()))
    }
}

impl TensorAttention {
    fn apply(&self, x: &Tensor, pass: Pass, cache: &mut LayerCache) -> Result<Tensor> {
        let Pass { first, kernels } = pass;
        let (batch, count, _) = x.dims3()?;
        let heads = self.heads;
        let (mut q, mut k) = (self.query.apply(x)?, self.key.apply(x)?);
        if let Some((query_norm, key_norm)) = &self.query_key_norms {
            (q, k) = (query_norm.apply(&q, kernels)?, key_norm.apply(&k, kernels)?);
        }
        let parted = |x: &Tensor, heads: usize| {
            let parted = x.reshape((batch, count, heads, self.heads.dim))?;
            parted.transpose(1, 2)?.contiguous() // [batch, heads, positions, head_dim]
        };
        let (mut q, mut k) = (parted(&q, heads.query)?, parted(&k, heads.kv)?);
        let mut v = parted(&self.value.apply(x)?, heads.kv)?;
        if let Some(rope) = &self.rope {
            (q, k) = (rotated(&q, rope, pass)?, rotated(&k, rope, pass)?);
        }
        if let Some((keys, values)) = cache {
            k = Tensor::cat(&[&*keys, &k], 2)?;
            v = Tensor::cat(&[&*values, &v], 2)?;
        }
        *cache = Some((k.clone(), v.clone()));
        let group = heads.query / heads.kv;
        let (k, v) = (
            repeat_kv(k, group)?.contiguous()?,
            repeat_kv(v, group)?.contiguous()?,
        );
        let mut scores = (q.matmul(&k.t()?)?.to_dtype(DType::F32)? * self.scores.scale as f64)?;
        if let Some(cap) = self.scores.soft_cap {
            scores = capped(&scores, cap)?;
        }
        if let Some(mask) = mask(first, count, self.window, x.device())? {
            scores = scores.broadcast_add(&mask)?;
        }
        let shares = match kernels {
            Kernels::Fused => ops::softmax_last_dim(&scores.contiguous()?)?,
            Kernels::Differentiable => ops::softmax(&scores, D::Minus1)?,
        };
        let seen = shares.to_dtype(x.dtype())?.matmul(&v)?;
        let seen = seen.transpose(1, 2)?.reshape((batch, count, ()))?;
        self.output.apply(&seen)
    }
}

/// `cap · tanh(x / cap)`
pub fn capped(x: &Tensor, cap: f32) -> Result<Tensor> {
    (x / cap as f64)?.tanh()? * cap as f64
}

/// Rotates the first channels of each head, `x: [batch, heads, positions, head_dim]`.
fn rotated(x: &Tensor, rope: &Rope, Pass { first, kernels }: Pass) -> Result<Tensor> {
    let (_, _, count, dim) = x.dims4()?;
    let half = rope.channels() / 2;
    let table = |part: usize| {
        let angles = (first..first + count).flat_map(|p| &rope.angles(p)[part * half..][..half]);
        let values: Vec<f32> = angles.copied().collect();
        Tensor::from_vec(values, (count, half), x.device())?.to_dtype(x.dtype())
    };
    let turned = x.narrow(3, 0, 2 * half)?.contiguous()?;
    let turned = match kernels {
        Kernels::Fused => rotary_emb::rope(&turned, &table(0)?, &table(1)?)?,
        Kernels::Differentiable => rotary_emb::rope_slow(&turned, &table(0)?, &table(1)?)?,
    };
    match 2 * half == dim {
        true => Ok(turned),
        false => Tensor::cat(&[&turned, &x.narrow(3, 2 * half, dim - 2 * half)?], 3)?.contiguous(),
    }
}

/// What is added to the scores of `count` positions from `first` on, `[count, first + count]`: `−∞` at what they do not see. None when
/// they see everything.
fn mask(
    first: usize,
    count: usize,
    window: Option<usize>,
    device: &Device,
) -> Result<Option<Tensor>> {
    let all = first + count;
    let sees =
        |query: usize, key: usize| key <= query && window.is_none_or(|window| query - key < window);
    if count == 1 && window.is_none_or(|window| all <= window) {
        return Ok(None);
    }
    let values: Vec<f32> = (first..all)
        .flat_map(|query| (0..all).map(move |key| (query, key)))
        .map(|(query, key)| {
            if sees(query, key) {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
        .collect();
    Ok(Some(Tensor::from_vec(values, (count, all), device)?))
}

impl TensorFeedForward {
    fn apply(&self, x: &Tensor, layer: usize, hook: &mut dyn TensorHook) -> Result<Tensor> {
        let activate = |x: Tensor| match self.activation {
            Activation::Silu => x.silu(),
            Activation::Gelu => x.gelu_erf(),
            Activation::GeluTanh => x.gelu(),
        };
        let up = self.up.apply(x)?;
        let activations = match &self.gate {
            Some(gate) => (activate(gate.apply(x)?)? * up)?,
            None => activate(up)?,
        };
        let written = self.down.apply(&hook.activations(layer, activations)?)?;
        hook.ffn_output(layer, written)
    }
}

fn normed(norm: &Option<TensorNorm>, x: Tensor, kernels: Kernels) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.apply(&x, kernels),
        None => Ok(x),
    }
}

impl TensorBlock {
    /// Takes `x: [batch, positions, d_model]`, the residual stream, through the block of this layer.
    pub fn apply(
        &self,
        x: Tensor,
        layer: usize,
        pass: Pass,
        cache: &mut LayerCache,
        hook: &mut dyn TensorHook,
    ) -> Result<Tensor> {
        let kernels = pass.kernels;
        let read = normed(&self.attention_norm, x.clone(), kernels)?;
        let attended = self.attention.apply(&read, pass, cache)?;
        let attended = normed(&self.after_attention, attended, kernels)?;
        let fed = |x: &Tensor, hook: &mut dyn TensorHook| {
            let read = normed(&self.feed_forward_norm, x.clone(), kernels)?;
            let written = self.feed_forward.apply(&read, layer, hook)?;
            normed(&self.after_feed_forward, written, kernels)
        };
        match self.residual {
            Residual::Serial => {
                let x = (x + attended)?;
                let fed = fed(&x, hook)?;
                x + fed
            }
            Residual::Parallel => {
                let fed = fed(&x, hook)?;
                (x + attended)? + fed
            }
        }
    }
}

impl TensorDecoder {
    /// The device.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// The number type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// A cache before the first token.
    pub fn cache(&self) -> Cache {
        vec![None; self.sizes.layers]
    }

    /// Runs `tokens: [batch × count]`, whose first stands at position `first`, through every block and the final norm:
    /// `[batch, count, d_model]`. Keys and values are in the cache afterwards.
    pub fn forward(
        &self,
        tokens: &[TokenId],
        batch: usize,
        first: usize,
        cache: &mut Cache,
        hook: &mut dyn TensorHook,
    ) -> Result<Tensor> {
        let pass = Pass {
            first,
            kernels: Kernels::Fused,
        };
        let x = self.embed(tokens, batch, first, self.dtype)?;
        let x = self.through_blocks(x, pass, cache, hook)?;
        self.norm.apply(&x, pass.kernels)
    }

    /// The residual stream before the first block, `[batch, count, d_model]`, in a number type, which the pass then keeps.
    pub fn embed(
        &self,
        tokens: &[TokenId],
        batch: usize,
        first: usize,
        dtype: DType,
    ) -> Result<Tensor> {
        let count = tokens.len() / batch;
        let tokens = Tensor::new(tokens, &self.device)?;
        let rows = self.embedding.index_select(&tokens, 0)?.to_dtype(dtype)?;
        let x = (rows * self.scale)?.reshape((batch, count, ()))?;
        match &self.positions {
            Some(positions) => {
                x.broadcast_add(&positions.narrow(0, first, count)?.to_dtype(dtype)?)
            }
            None => Ok(x),
        }
    }

    /// Takes the residual stream through every block. Keys and values are in the cache afterwards.
    pub fn through_blocks(
        &self,
        mut x: Tensor,
        pass: Pass,
        cache: &mut Cache,
        hook: &mut dyn TensorHook,
    ) -> Result<Tensor> {
        hook.embedded(&x)?;
        for (layer, (block, cache)) in self.blocks.iter().zip(cache).enumerate() {
            x = block.apply(x, layer, pass, cache, hook)?;
            hook.block_output(layer, &x)?;
        }
        Ok(x)
    }

    /// Logits in `f32`, `[rows, vocab]`, of normalised rows `[rows, d_model]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = hidden.matmul(&self.head.t()?)?.to_dtype(DType::F32)?;
        match self.soft_cap {
            // 0 · x is NaN where a logit is not finite: a cap would make it look like a number.
            Some(cap) => capped(&logits, cap)? + (logits * 0.0)?,
            None => Ok(logits),
        }
    }

    /// Write direction of a neuron, or a random direction, `[d_model]`.
    pub fn write_direction(&self, neuron: NeuronId) -> Result<Vec<f32>> {
        let down = &self.blocks[neuron.layer].feed_forward.down.weight;
        match neuron.direction() {
            Some(number) => Ok(random_direction(neuron.layer, number, self.sizes.d_model)),
            None => down.get(neuron.index)?.to_dtype(DType::F32)?.to_vec1(),
        }
    }

    /// The norm between a layer's down projection and the residual stream.
    pub fn ffn_norm(&self, layer: usize) -> Result<Option<FfnNorm>> {
        let Some(TensorNorm { gain, bias, eps }) = &self.blocks[layer].after_feed_forward else {
            return Ok(None);
        };
        Ok(Some(FfnNorm {
            gain: gain.to_vec1()?,
            bias: bias.as_ref().map(Tensor::to_vec1).transpose()?,
            eps: *eps,
        }))
    }

    /// Logits `[vocab]` of a residual stream `[d_model]` before the final norm.
    pub fn logits_of(&self, residual: &[f32]) -> Result<Vec<f32>> {
        let residual = Tensor::new(residual, &self.device)?.to_dtype(self.dtype)?;
        let hidden = self
            .norm
            .apply(&residual.reshape((1, 1, ()))?, Kernels::Fused)?;
        self.logits(&hidden.squeeze(1)?)?.flatten_all()?.to_vec1()
    }

    /// A token's row of the unembedding times the gain of the final norm, `[d_model]`.
    pub fn readout_direction(&self, token: TokenId) -> Result<Vec<f32>> {
        let row = self.head.get(token as usize)?.to_dtype(DType::F32)?;
        (row * &self.norm.gain)?.to_vec1()
    }
}
