//! A model's weights as candle tensors, and their way there from the processor's `f32`.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};

use crate::model::ModelError;
use crate::model::decoder::{Block, Decoder, Residual, Sizes};
use crate::model::kernels::{Heads, Scores};
use crate::model::parts::{Activation, Attention, FeedForward, Linear, Norm, Vocabulary};
use crate::model::rope::Rope;
use crate::spec::model::Dtype;

type Result<T> = std::result::Result<T, ModelError>;

/// A model's weights on a device.
pub struct TensorDecoder {
    /// Sizes.
    pub sizes: Sizes,
    pub(super) device: Device,
    pub(super) dtype: DType,
    /// `[vocab, d_model]`
    pub(super) embedding: Tensor,
    pub(super) scale: f64,
    /// `[context, d_model]`
    pub(super) positions: Option<Tensor>,
    /// `[vocab, d_model]`
    pub(super) head: Tensor,
    pub(super) soft_cap: Option<f32>,
    pub(super) blocks: Vec<TensorBlock>,
    pub(super) norm: TensorNorm,
}

pub(super) struct TensorBlock {
    pub(super) attention_norm: Option<TensorNorm>,
    pub(super) attention: TensorAttention,
    pub(super) after_attention: Option<TensorNorm>,
    pub(super) feed_forward_norm: Option<TensorNorm>,
    pub(super) feed_forward: TensorFeedForward,
    pub(super) after_feed_forward: Option<TensorNorm>,
    pub(super) residual: Residual,
}

/// Gain and bias stay in `f32`.
pub(super) struct TensorNorm {
    pub(super) gain: Tensor,
    pub(super) bias: Option<Tensor>,
    pub(super) eps: f32,
}

pub(super) struct TensorLinear {
    /// `[inputs, outputs]`
    pub(super) weight: Tensor,
    pub(super) bias: Option<Tensor>,
}

pub(super) struct TensorAttention {
    pub(super) query: TensorLinear,
    pub(super) key: TensorLinear,
    pub(super) value: TensorLinear,
    pub(super) output: TensorLinear,
    pub(super) query_key_norms: Option<(TensorNorm, TensorNorm)>,
    pub(super) rope: Option<Arc<Rope>>,
    pub(super) heads: Heads,
    pub(super) scores: Scores,
    pub(super) window: Option<usize>,
}

pub(super) struct TensorFeedForward {
    pub(super) gate: Option<TensorLinear>,
    pub(super) up: TensorLinear,
    pub(super) down: TensorLinear,
    pub(super) activation: Activation,
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
    fn tensor(&self, values: &[f32], shape: impl Into<candle_core::Shape>) -> Result<Tensor> {
        // Beyond the largest number of the type a weight would become infinite.
        let dtype = match self.dtype {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::Bf16,
            _ => Dtype::F32,
        };
        if let Some(&value) = values.iter().find(|&&x| !dtype.fits(x)) {
            return Err(ModelError::Overflow { value, dtype });
        }
        let tensor = Tensor::from_slice(values, shape, &Device::Cpu)?;
        Ok(tensor.to_dtype(self.dtype)?.to_device(self.device)?)
    }

    fn norm(&self, norm: &Norm) -> Result<TensorNorm> {
        let exact = |values: &[f32]| Ok::<_, ModelError>(Tensor::new(values, self.device)?);
        Ok(match norm {
            Norm::Rms { gain, eps } => TensorNorm {
                gain: exact(gain)?,
                bias: None,
                eps: *eps,
            },
            Norm::Layer { gain, bias, eps } => TensorNorm {
                gain: exact(gain)?,
                bias: Some(exact(bias)?),
                eps: *eps,
            },
        })
    }

    fn linear(&self, linear: &Linear) -> Result<TensorLinear> {
        let (inputs, outputs) = (linear.weight.inputs(), linear.weight.outputs());
        Ok(TensorLinear {
            weight: self.tensor(
                &rows(inputs, |i| linear.weight.of_input(i)),
                (inputs, outputs),
            )?,
            bias: (linear.bias.as_ref())
                .map(|bias| self.tensor(bias, outputs))
                .transpose()?,
        })
    }

    fn attention(&self, attention: &Attention) -> Result<TensorAttention> {
        let norms = attention.query_key_norms.as_ref();
        Ok(TensorAttention {
            query: self.linear(&attention.query)?,
            key: self.linear(&attention.key)?,
            value: self.linear(&attention.value)?,
            output: self.linear(&attention.output)?,
            query_key_norms: norms
                .map(|(query, key)| Ok::<_, ModelError>((self.norm(query)?, self.norm(key)?)))
                .transpose()?,
            rope: attention.rope.clone(),
            heads: attention.heads,
            scores: attention.scores,
            window: attention.window,
        })
    }

    fn feed_forward(&self, feed_forward: &FeedForward) -> Result<TensorFeedForward> {
        Ok(TensorFeedForward {
            gate: (feed_forward.gate.as_ref())
                .map(|gate| self.linear(gate))
                .transpose()?,
            up: self.linear(&feed_forward.up)?,
            down: self.linear(&feed_forward.down)?,
            activation: feed_forward.activation,
        })
    }

    fn block(&self, block: &Block) -> Result<TensorBlock> {
        let norm = |norm: &Option<Norm>| norm.as_ref().map(|norm| self.norm(norm)).transpose();
        Ok(TensorBlock {
            attention_norm: norm(&block.attention_norm)?,
            attention: self.attention(&block.attention)?,
            after_attention: norm(&block.after_attention)?,
            feed_forward_norm: norm(&block.feed_forward_norm)?,
            feed_forward: self.feed_forward(&block.feed_forward)?,
            after_feed_forward: norm(&block.after_feed_forward)?,
            residual: block.residual,
        })
    }

    fn decoder(
        &self,
        sizes: Sizes,
        vocabulary: &Vocabulary,
        blocks: Vec<TensorBlock>,
        norm: &Norm,
    ) -> Result<TensorDecoder> {
        let (vocab, width) = (sizes.vocab, sizes.d_model);
        let head = rows(vocab, |token| vocabulary.unembedding.of_output(token));
        let head = self.tensor(&head, (vocab, width))?;
        Ok(TensorDecoder {
            sizes,
            device: self.device.clone(),
            dtype: self.dtype,
            embedding: match &vocabulary.embedding {
                Some(embedding) => self.tensor(embedding, (vocab, width))?,
                None => head.clone(),
            },
            head,
            scale: vocabulary.scale as f64,
            positions: (vocabulary.positions.as_ref())
                .map(|positions| self.tensor(positions, (sizes.context, width)))
                .transpose()?,
            soft_cap: vocabulary.soft_cap,
            blocks,
            norm: self.norm(norm)?,
        })
    }
}

impl TensorDecoder {
    /// Moves a model to a device, in a number type, block by block.
    pub fn new(decoder: Decoder, device: &Device, dtype: DType) -> Result<Self> {
        let to = Move { device, dtype };
        let blocks = decoder.blocks.into_iter().map(|block| to.block(&block));
        let blocks = blocks.collect::<Result<_>>()?;
        to.decoder(decoder.sizes, &decoder.vocabulary, blocks, &decoder.norm)
    }

    /// A copy of a model on a device, in a number type.
    pub fn copy_of(decoder: &Decoder, device: &Device, dtype: DType) -> Result<Self> {
        let to = Move { device, dtype };
        let blocks = decoder.blocks.iter().map(|block| to.block(block));
        let blocks = blocks.collect::<Result<_>>()?;
        to.decoder(decoder.sizes, &decoder.vocabulary, blocks, &decoder.norm)
    }
}
