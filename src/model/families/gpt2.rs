//! GPT-2 (Radford et al. 2019): learned positions, LayerNorm before each part, no gate: a neuron is an activation after GELU.

use super::common::{self, Block, Decoder};
use super::{Anatomy, Family, ModelError, NORMS_BEFORE};
use crate::model::decoder::Sizes;
use crate::model::kernels::Scores;
use crate::model::keys::Keys;
use crate::model::parts::{Activation, Attention, FeedForward, Linear, Vocabulary};
use crate::model::tensors::{Order, Tensors};

/// The configuration.
pub struct Gpt2 {
    sizes: Sizes,
    eps: f32,
    activation: Activation,
    scaled: bool,
    scaled_by_layer: bool,
}

impl Gpt2 {
    /// Reads `config.json`.
    pub fn read(keys: &Keys<'_>) -> Result<Self, String> {
        let d_model = keys.size("n_embd")?;
        let heads = keys.size("n_head")?;
        if !d_model.is_multiple_of(heads) {
            return Err(format!(
                "`n_embd` ({d_model}) is not a multiple of `n_head` ({heads})"
            ));
        }
        if !keys.flag("tie_word_embeddings", true)? {
            return Err("`tie_word_embeddings` is false, which is not computed for GPT-2".into());
        }
        Ok(Self {
            sizes: Sizes {
                layers: keys.layers("n_layer")?,
                d_model,
                d_ff: keys.optional_size("n_inner")?.unwrap_or(4 * d_model),
                vocab: keys.size("vocab_size")?,
                context: keys.optional_size("n_positions")?.unwrap_or(1024),
                heads: common::heads(heads, heads, d_model / heads)?,
            },
            eps: keys.epsilon("layer_norm_epsilon", 1e-5)?,
            activation: common::activation(keys, "activation_function", "gelu_new")?,
            scaled: keys.flag("scale_attn_weights", true)?,
            scaled_by_layer: keys.flag("scale_attn_by_inverse_layer_idx", false)?,
        })
    }

    fn block(
        &self,
        tensors: &mut Tensors<'_>,
        at: &str,
        layer: usize,
    ) -> Result<Block, ModelError> {
        let (d, ff) = (self.sizes.d_model, self.sizes.d_ff);
        let mut fused = Conv1d { tensors, at };
        let [query, key, value] = fused.parts("attn.c_attn", d, [d, d, d])?;
        let [output] = fused.parts("attn.c_proj", d, [d])?;
        let attention = Attention {
            query,
            key,
            value,
            output,
            query_key_norms: None,
            rope: None,
            heads: self.sizes.heads,
            scores: self.scores(layer),
            window: None,
        };
        let [up] = fused.parts("mlp.c_fc", d, [ff])?;
        let [down] = fused.parts("mlp.c_proj", ff, [d])?;
        let feed_forward = FeedForward {
            gate: None,
            up,
            down,
            activation: self.activation,
        };
        let attention_norm = tensors.layer_norm(&format!("{at}.ln_1"), d, self.eps)?;
        let feed_forward_norm = tensors.layer_norm(&format!("{at}.ln_2"), d, self.eps)?;
        Ok(common::pre_norm(
            attention_norm,
            attention,
            feed_forward_norm,
            feed_forward,
        ))
    }

    fn scores(&self, layer: usize) -> Scores {
        let mut scores = Scores {
            scale: 1.0,
            soft_cap: None,
        };
        if self.scaled {
            scores = common::plain_scores(self.sizes.heads.dim as f64);
        }
        if self.scaled_by_layer {
            scores.scale /= (layer + 1) as f32;
        }
        scores
    }
}

/// Linear maps that are stored `[inputs × outputs]`, with biases.
struct Conv1d<'a, 't> {
    tensors: &'a mut Tensors<'t>,
    /// Beginning of their names.
    at: &'a str,
}

impl Conv1d<'_, '_> {
    /// Maps of these widths, side by side in one tensor.
    fn parts<const N: usize>(
        &mut self,
        name: &str,
        inputs: usize,
        widths: [usize; N],
    ) -> Result<[Linear; N], ModelError> {
        let mut from = 0;
        let ranges = widths.map(|width| {
            from += width;
            from - width..from
        });
        let name = format!("{}.{name}", self.at);
        self.tensors
            .fused(&name, inputs, true, Order::InputMajor, ranges)
    }
}

impl Family for Gpt2 {
    fn name(&self) -> &'static str {
        "gpt2"
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn anatomy(&self) -> Anatomy {
        Anatomy {
            down_projection: "transformer.h.N.mlp.c_proj",
            order: Order::InputMajor,
            norms: NORMS_BEFORE,
            norm_after_ffn: false,
        }
    }

    /// Masks, which older checkpoints store, and the tied unembedding.
    fn ignores(&self, tensor: &str) -> bool {
        tensor.ends_with(".attn.bias")
            || tensor.ends_with(".attn.masked_bias")
            || tensor == "lm_head.weight"
    }

    fn build(&self, tensors: &mut Tensors<'_>) -> Result<Decoder, ModelError> {
        let Sizes {
            d_model,
            context,
            layers,
            ..
        } = self.sizes;
        Ok(Decoder {
            sizes: self.sizes,
            blocks: common::layers(layers, "transformer.h", |layer, at| {
                self.block(tensors, at, layer)
            })?,
            vocabulary: Vocabulary {
                positions: Some(tensors.values("transformer.wpe.weight", &[context, d_model])?),
                ..common::plain_vocabulary(tensors, &self.sizes, "transformer.wte.weight", None)?
            },
            norm: tensors.layer_norm("transformer.ln_f", d_model, self.eps)?,
        })
    }
}
