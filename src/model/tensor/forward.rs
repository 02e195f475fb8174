//! The forward pass on candle tensors: for accelerators, and for half-precision arithmetic on any device.
//!
//! The same parts as [`super::super::decoder`], on a batch of sequences of one length. Weights are held once: each moves from the
//! processor's `f32` to the device as it is converted. Norms, softmax and logits are computed in `f32`, the rest in the chosen number
//! type, as transformers does.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};
use candle_nn::{ops, rotary_emb};
use candle_transformers::utils::repeat_kv;

use crate::model::decoder::{Block, Decoder, Residual, Sizes};
use crate::model::kernels::Scores;
use crate::model::parts::{Activation, Attention, FeedForward, Linear, Norm, Vocabulary};
use crate::model::rope::Rope;
use crate::units::TokenId;

/// Sees, and may change, what happens inside a forward pass.
pub trait TensorHook {
    /// The input of a layer's down projection, `[batch, positions, d_ff]`.
    fn activations(&mut self, _layer: usize, activations: Tensor) -> Result<Tensor> {
        Ok(activations)
    }

    /// The residual stream at the output of a block, `[batch, positions, d_model]`.
    fn block_output(&mut self, _layer: usize, _residual: &Tensor) -> Result<()> {
        Ok(())
    }
}

/// Keys and values of a batch by layer, each `[batch, kv heads, positions, head_dim]`; none before the first forward pass.
pub type Cache = Vec<Option<(Tensor, Tensor)>>;

/// A model's weights on a device.
pub struct TensorDecoder {
    /// Sizes.
    pub sizes: Sizes,
    device: Device,
    dtype: DType,
    /// `[vocab, d_model]`
    embedding: Tensor,
    scale: f64,
    /// `[context, d_model]`
    positions: Option<Tensor>,
    /// `[vocab, d_model]`
    head: Tensor,
    soft_cap: Option<f32>,
    blocks: Vec<TensorBlock>,
    norm: TensorNorm,
}

struct TensorBlock {
    attention_norm: Option<TensorNorm>,
    attention: TensorAttention,
    after_attention: Option<TensorNorm>,
    feed_forward_norm: Option<TensorNorm>,
    feed_forward: TensorFeedForward,
    after_feed_forward: Option<TensorNorm>,
    residual: Residual,
}

/// Gain and bias stay in `f32`.
struct TensorNorm {
    gain: Tensor,
    bias: Option<Tensor>,
    eps: f32,
}

struct TensorLinear {
    /// `[inputs, outputs]`
    weight: Tensor,
    bias: Option<Tensor>,
}

struct TensorAttention {
    query: TensorLinear,
    key: TensorLinear,
    value: TensorLinear,
    output: TensorLinear,
    query_key_norms: Option<(TensorNorm, TensorNorm)>,
    rope: Option<Arc<Rope>>,
    heads: crate::model::kernels::Heads,
    scores: Scores,
    window: Option<usize>,
}

struct TensorFeedForward {
    gate: Option<TensorLinear>,
    up: TensorLinear,
    down: TensorLinear,
    activation: Activation,
}

/// A matrix, row by row.
fn rows<R: IntoIterator<Item = f32>>(count: usize, row: impl Fn(usize) -> R) -> Vec<f32> {
    (0..count).flat_map(row).collect()
}

/// Where tensors go.
struct Move<'a> {
    device: &'a Device,
    dtype: DType,
}

impl Move<'_> {
    fn tensor(&self, values: Vec<f32>, shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        Tensor::from_vec(values, shape, &Device::Cpu)?
            .to_dtype(self.dtype)?
            .to_device(self.device)
    }

    fn norm(&self, norm: Norm) -> Result<TensorNorm> {
        let exact = |values: Vec<f32>| Tensor::new(values, self.device);
        Ok(match norm {
            Norm::Rms { gain, eps } => TensorNorm {
                gain: exact(gain)?,
                bias: None,
                eps,
            },
            Norm::Layer { gain, bias, eps } => TensorNorm {
                gain: exact(gain)?,
                bias: Some(exact(bias)?),
                eps,
            },
        })
    }

    fn linear(&self, linear: Linear) -> Result<TensorLinear> {
        let (inputs, outputs) = (linear.weight.inputs(), linear.weight.outputs());
        Ok(TensorLinear {
            weight: self.tensor(
                rows(inputs, |i| linear.weight.of_input(i)),
                (inputs, outputs),
            )?,
            bias: linear
                .bias
                .map(|bias| self.tensor(bias, outputs))
                .transpose()?,
        })
    }

    fn attention(&self, attention: Attention) -> Result<TensorAttention> {
        let norms = attention.query_key_norms;
        Ok(TensorAttention {
            query: self.linear(attention.query)?,
            key: self.linear(attention.key)?,
            value: self.linear(attention.value)?,
            output: self.linear(attention.output)?,
            query_key_norms: norms
                .map(|(query, key)| {
                    Ok::<_, candle_core::Error>((self.norm(query)?, self.norm(key)?))
                })
                .transpose()?,
            rope: attention.rope,
            heads: attention.heads,
            scores: attention.scores,
            window: attention.window,
        })
    }

    fn feed_forward(&self, feed_forward: FeedForward) -> Result<TensorFeedForward> {
        Ok(TensorFeedForward {
            gate: feed_forward
                .gate
                .map(|gate| self.linear(gate))
                .transpose()?,
            up: self.linear(feed_forward.up)?,
            down: self.linear(feed_forward.down)?,
            activation: feed_forward.activation,
        })
    }

    fn block(&self, block: Block) -> Result<TensorBlock> {
        let norm = |norm: Option<Norm>| norm.map(|norm| self.norm(norm)).transpose();
        Ok(TensorBlock {
            attention_norm: norm(block.attention_norm)?,
            attention: self.attention(block.attention)?,
            after_attention: norm(block.after_attention)?,
            feed_forward_norm: norm(block.feed_forward_norm)?,
            feed_forward: self.feed_forward(block.feed_forward)?,
            after_feed_forward: norm(block.after_feed_forward)?,
            residual: block.residual,
        })
    }
}

impl TensorNorm {
    /// Normalises the last dimension in parts as long as the gain.
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let width = self.gain.elem_count();
        let rows = x.to_dtype(DType::F32)?.reshape(((), width))?.contiguous()?;
        let normed = match &self.bias {
            None => ops::rms_norm(&rows, &self.gain, self.eps)?,
            Some(bias) => ops::layer_norm(&rows, &self.gain, bias, self.eps)?,
        };
        normed.reshape(x.shape())?.to_dtype(x.dtype())
    }
}

impl TensorLinear {
    fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, positions, inputs) = x.dims3()?;
        let out = x
            .reshape((batch * positions, inputs))?
            .matmul(&self.weight)?;
        let out = match &self.bias {
            Some(bias) => out.broadcast_add(bias)?,
            None => out,
        };
        out.reshape((batch, positions, ()))
    }
}

impl TensorAttention {
    fn apply(
        &self,
        x: &Tensor,
        first: usize,
        cache: &mut Option<(Tensor, Tensor)>,
    ) -> Result<Tensor> {
        let (batch, count, _) = x.dims3()?;
        let heads = self.heads;
        let (mut q, mut k) = (self.query.apply(x)?, self.key.apply(x)?);
        if let Some((query_norm, key_norm)) = &self.query_key_norms {
            (q, k) = (query_norm.apply(&q)?, key_norm.apply(&k)?);
        }
        let parted = |x: &Tensor, heads: usize| {
            let parted = x.reshape((batch, count, heads, self.heads.dim))?;
            parted.transpose(1, 2)?.contiguous() // [batch, heads, positions, head_dim]
        };
        let (mut q, mut k) = (parted(&q, heads.query)?, parted(&k, heads.kv)?);
        let mut v = parted(&self.value.apply(x)?, heads.kv)?;
        if let Some(rope) = &self.rope {
            (q, k) = (rotated(&q, rope, first)?, rotated(&k, rope, first)?);
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
        let seen = ops::softmax_last_dim(&scores.contiguous()?)?
            .to_dtype(x.dtype())?
            .matmul(&v)?;
        let seen = seen.transpose(1, 2)?.reshape((batch, count, ()))?;
        self.output.apply(&seen)
    }
}

/// `cap · tanh(x / cap)`
fn capped(x: &Tensor, cap: f32) -> Result<Tensor> {
    (x / cap as f64)?.tanh()? * cap as f64
}

/// Rotates the first channels of each head, `x: [batch, heads, positions, head_dim]`.
fn rotated(x: &Tensor, rope: &Rope, first: usize) -> Result<Tensor> {
    let (_, _, count, dim) = x.dims4()?;
    let half = rope.channels() / 2;
    let table = |part: usize| {
        let angles = (first..first + count).flat_map(|p| &rope.angles(p)[part * half..][..half]);
        let values: Vec<f32> = angles.copied().collect();
        Tensor::from_vec(values, (count, half), x.device())?.to_dtype(x.dtype())
    };
    let turned = x.narrow(3, 0, 2 * half)?.contiguous()?;
    let turned = rotary_emb::rope(&turned, &table(0)?, &table(1)?)?;
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
        self.down.apply(&hook.activations(layer, activations)?)
    }
}

fn normed(norm: &Option<TensorNorm>, x: Tensor) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.apply(&x),
        None => Ok(x),
    }
}

impl TensorBlock {
    fn apply(
        &self,
        x: Tensor,
        layer: usize,
        first: usize,
        cache: &mut Cache,
        hook: &mut dyn TensorHook,
    ) -> Result<Tensor> {
        let read = normed(&self.attention_norm, x.clone())?;
        let attended = self.attention.apply(&read, first, &mut cache[layer])?;
        let attended = normed(&self.after_attention, attended)?;
        let fed = |x: &Tensor, hook: &mut dyn TensorHook| {
            let read = normed(&self.feed_forward_norm, x.clone())?;
            normed(
                &self.after_feed_forward,
                self.feed_forward.apply(&read, layer, hook)?,
            )
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
    /// Moves a model to a device, in a number type.
    pub fn new(decoder: Decoder, device: &Device, dtype: DType) -> Result<Self> {
        let to = Move { device, dtype };
        let Vocabulary {
            embedding,
            scale,
            positions,
            unembedding,
            soft_cap,
        } = decoder.vocabulary;
        let sizes = decoder.sizes;
        let (vocab, width) = (sizes.vocab, sizes.d_model);
        let head = rows(vocab, |token| unembedding.of_output(token));
        let head = to.tensor(head, (vocab, width))?;
        Ok(Self {
            sizes,
            device: device.clone(),
            dtype,
            embedding: match embedding {
                Some(embedding) => to.tensor(embedding, (vocab, width))?,
                None => head.clone(),
            },
            head,
            scale: scale as f64,
            positions: positions
                .map(|positions| to.tensor(positions, (sizes.context, width)))
                .transpose()?,
            soft_cap,
            blocks: (decoder.blocks.into_iter())
                .map(|block| to.block(block))
                .collect::<Result<_>>()?,
            norm: to.norm(decoder.norm)?,
        })
    }

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
        let count = tokens.len() / batch;
        let tokens = Tensor::new(tokens, &self.device)?;
        let mut x =
            (self.embedding.index_select(&tokens, 0)? * self.scale)?.reshape((batch, count, ()))?;
        if let Some(positions) = &self.positions {
            x = x.broadcast_add(&positions.narrow(0, first, count)?)?;
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            x = block.apply(x, layer, first, cache, hook)?;
            hook.block_output(layer, &x)?;
        }
        self.norm.apply(&x)
    }

    /// Logits in `f32`, `[rows, vocab]`, of normalised rows `[rows, d_model]`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        let logits = hidden.matmul(&self.head.t()?)?.to_dtype(DType::F32)?;
        match self.soft_cap {
            Some(cap) => capped(&logits, cap),
            None => Ok(logits),
        }
    }

    /// The write direction of a neuron, `[d_model]`.
    pub fn write_direction(&self, layer: usize, index: usize) -> Result<Vec<f32>> {
        self.blocks[layer]
            .feed_forward
            .down
            .weight
            .get(index)?
            .to_dtype(DType::F32)?
            .to_vec1()
    }

    /// A token's row of the unembedding times the gain of the final norm, `[d_model]`.
    pub fn readout_direction(&self, token: TokenId) -> Result<Vec<f32>> {
        let row = self.head.get(token as usize)?.to_dtype(DType::F32)?;
        (row * &self.norm.gain)?.to_vec1()
    }
}
