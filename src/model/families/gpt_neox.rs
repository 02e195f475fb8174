//! GPT-NeoX and Pythia (Black et al. 2022; Biderman et al. 2023): attention and feed-forward side by side, LayerNorm before each, part of
//! each head rotated, no gate: a neuron is an activation after GELU.

use std::ops::Range;
use std::sync::Arc;

use super::common::{self, Block, Decoder};
use super::{Anatomy, Family, ModelError, NORMS_BEFORE};
use crate::model::decoder::{Residual, Sizes};
use crate::model::keys::Keys;
use crate::model::parts::{Activation, Attention, FeedForward};
use crate::model::rope::{Rope, RopeConfig, Scaling};
use crate::model::tensors::{Order, Tensors};

/// The configuration.
pub struct GptNeoX {
    sizes: Sizes,
    eps: f32,
    rope: RopeConfig,
    activation: Activation,
    attention_bias: bool,
    residual: Residual,
    tied: bool,
}

impl GptNeoX {
    /// Reads `config.json`.
    pub fn read(keys: &Keys<'_>) -> Result<Self, String> {
        let d_model = keys.size("hidden_size")?;
        let heads = keys.size("num_attention_heads")?;
        if !d_model.is_multiple_of(heads) {
            return Err(format!(
                "`hidden_size` ({d_model}) is not a multiple of `num_attention_heads` ({heads})"
            ));
        }
        let sizes = Sizes {
            layers: keys.layers("num_hidden_layers")?,
            d_model,
            d_ff: keys.size("intermediate_size")?,
            vocab: keys.size("vocab_size")?,
            context: (keys.optional_size("max_position_embeddings")?).unwrap_or(2048),
            heads: common::heads(heads, heads, d_model / heads)?,
        };
        Ok(Self {
            rope: rope(keys, &sizes)?,
            eps: keys.epsilon("layer_norm_eps", 1e-5)?,
            activation: common::activation(keys, "hidden_act", "gelu")?,
            attention_bias: keys.flag("attention_bias", true)?,
            residual: match keys.flag("use_parallel_residual", true)? {
                true => Residual::Parallel,
                false => Residual::Serial,
            },
            tied: keys.flag("tie_word_embeddings", false)?,
            sizes,
        })
    }

    fn block(
        &self,
        tensors: &mut Tensors<'_>,
        at: &str,
        rope: &Arc<Rope>,
    ) -> Result<Block, ModelError> {
        let (d, ff, heads) = (self.sizes.d_model, self.sizes.d_ff, self.sizes.heads);
        // Rows of the fused projection: query, key and value of the first head, then of the second, …
        let part = |offset: usize| -> Vec<Range<usize>> {
            let first = |head: usize| (3 * head + offset) * heads.dim;
            (0..heads.query)
                .map(|head| first(head)..first(head) + heads.dim)
                .collect()
        };
        let name = format!("{at}.attention.query_key_value");
        let parts = [part(0), part(1), part(2)];
        let [query, key, value] =
            tensors.fused(&name, d, self.attention_bias, Order::OutputMajor, parts)?;
        let attention = Attention {
            query,
            key,
            value,
            output: tensors.linear(&format!("{at}.attention.dense"), d, d, self.attention_bias)?,
            query_key_norms: None,
            rope: Some(rope.clone()),
            heads,
            scores: common::plain_scores(heads.dim as f64),
            window: None,
        };
        let feed_forward = FeedForward {
            gate: None,
            up: tensors.linear(&format!("{at}.mlp.dense_h_to_4h"), d, ff, true)?,
            down: tensors.linear(&format!("{at}.mlp.dense_4h_to_h"), ff, d, true)?,
            activation: self.activation,
        };
        let mut norm = |name: &str| tensors.layer_norm(&format!("{at}.{name}"), d, self.eps);
        let (before_attention, before_feed_forward) =
            (norm("input_layernorm")?, norm("post_attention_layernorm")?);
        Ok(Block {
            residual: self.residual,
            ..common::pre_norm(
                before_attention,
                attention,
                before_feed_forward,
                feed_forward,
            )
        })
    }
}

/// Written as `rotary_pct` and `rotary_emb_base`, or within `rope_parameters`.
fn rope(keys: &Keys<'_>, sizes: &Sizes) -> Result<RopeConfig, String> {
    let (mut share, mut theta) = (
        keys.share("rotary_pct", 0.25)?,
        keys.positive("rotary_emb_base", 10_000.0)?,
    );
    let mut scaling = Scaling::Default;
    if let Some(written) = keys.rope()? {
        share = written.share("partial_rotary_factor", share)?;
        theta = written.positive("rope_theta", theta)?;
        scaling = Scaling::read(&written, sizes.context)?;
    }
    RopeConfig::new(theta, (sizes.heads.dim as f64 * share) as usize, scaling)
}

impl Family for GptNeoX {
    fn name(&self) -> &'static str {
        "gpt_neox"
    }

    fn sizes(&self) -> Sizes {
        self.sizes
    }

    fn anatomy(&self) -> Anatomy {
        Anatomy {
            down_projection: "gpt_neox.layers.N.mlp.dense_4h_to_h",
            order: Order::OutputMajor,
            norms: match self.residual {
                Residual::Serial => NORMS_BEFORE,
                Residual::Parallel => {
                    "before attention and before the feed-forward, which read the same residual stream side by side; none between the down projection and the residual stream"
                }
            },
            norm_after_ffn: false,
        }
    }

    /// Masks and rotary frequencies, which older checkpoints store.
    fn ignores(&self, tensor: &str) -> bool {
        let suffixes = [
            ".attention.bias",
            ".attention.masked_bias",
            "rotary_emb.inv_freq",
        ];
        suffixes.iter().any(|suffix| tensor.ends_with(suffix))
            || (self.tied && ["embed_out.weight", "lm_head.weight"].contains(&tensor))
    }

    fn build(&self, tensors: &mut Tensors<'_>) -> Result<Decoder, ModelError> {
        let Sizes {
            d_model,
            layers,
            context,
            ..
        } = self.sizes;
        let rope = Arc::new(Rope::new(&self.rope, context));
        Ok(Decoder {
            sizes: self.sizes,
            blocks: common::layers(layers, "gpt_neox.layers", |_, at| {
                self.block(tensors, at, &rope)
            })?,
            vocabulary: common::plain_vocabulary(
                tensors,
                &self.sizes,
                "gpt_neox.embed_in.weight",
                (!self.tied).then_some("embed_out.weight"),
            )?,
            norm: tensors.layer_norm("gpt_neox.final_layer_norm", d_model, self.eps)?,
        })
    }
}
