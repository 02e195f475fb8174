//! Gemma 2 (Gemma Team 2024b): norms before and after each part, soft caps on scores and logits, a sliding window in every other layer.

use std::sync::Arc;

use super::common::{self, Biases, Block, Common, Defaults, LlamaNames};
use super::{Anatomy, LLAMA_ANATOMY, ModelError, NORMS_AROUND, gemma};
use crate::model::decoder::{Residual, Sizes};
use crate::model::kernels::Scores;
use crate::model::keys::Keys;
use crate::model::parts::{Activation, Norm, Vocabulary};
use crate::model::rope::{Rope, RopeConfig};
use crate::model::tensors::Tensors;

/// The configuration of Gemma 2, or of Gemma 3, which differs in settings.
pub struct Sandwich {
    /// `model_type`.
    pub name: &'static str,
    /// Sizes.
    pub common: Common,
    /// The rotary embedding of each layer.
    pub ropes: Vec<RopeConfig>,
    /// Of the gate.
    pub activation: Activation,
    /// Of the attention projections.
    pub biases: Biases,
    /// How scores are made.
    pub scores: Scores,
    /// Soft cap of the logits.
    pub logit_cap: Option<f32>,
    /// The sliding window of each layer.
    pub windows: Vec<Option<usize>>,
    /// Whether each head's queries and keys are normalised.
    pub head_norms: bool,
}

/// Reads `config.json` of Gemma 2.
pub fn read(keys: &Keys<'_>) -> Result<Sandwich, String> {
    let common = Common::read(keys, &DEFAULTS)?;
    let Sizes {
        heads,
        context,
        layers,
        ..
    } = common.sizes;
    let rope = RopeConfig::read(keys, heads.dim, context)?;
    Ok(Sandwich {
        name: "gemma2",
        ropes: vec![rope; layers],
        activation: common::activation(keys, "hidden_activation", "gelu_pytorch_tanh")?,
        biases: Biases::read(keys)?,
        scores: Scores {
            soft_cap: cap(keys, "attn_logit_softcapping", Some(50.0))?,
            ..common::plain_scores(keys.positive("query_pre_attn_scalar", 256.0)?)
        },
        logit_cap: cap(keys, "final_logit_softcapping", Some(30.0))?,
        windows: keys.windows(layers, keys.sliding_window()?, |layer| layer % 2 == 0)?,
        head_norms: false,
        common,
    })
}

/// What Gemma 2 and 3 leave out.
pub const DEFAULTS: Defaults = Defaults {
    kv_heads: Some(4),
    ..gemma::DEFAULTS
};

/// A soft cap; `null` is none.
pub fn cap(keys: &Keys<'_>, key: &str, default: Option<f32>) -> Result<Option<f32>, String> {
    if !keys.is_written(key) {
        return Ok(default);
    }
    match keys.optional_number(key)? {
        None => Ok(None),
        Some(cap) if cap > 0.0 => Ok(Some(cap as f32)),
        Some(cap) => Err(format!("`{key}` is {cap}, not a number above 0")),
    }
}

impl LlamaNames for Sandwich {
    fn name(&self) -> &'static str {
        self.name
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn rope(&self, layer: usize) -> &RopeConfig {
        &self.ropes[layer]
    }

    fn block(
        &self,
        tensors: &mut Tensors<'_>,
        at: &str,
        layer: usize,
        rope: &Arc<Rope>,
    ) -> Result<Block, ModelError> {
        let Common { sizes, eps, .. } = self.common;
        let mut norm =
            |name: &str, width| tensors.rms_norm_from_one(&format!("{at}.{name}"), width, eps);
        let attention_norm = norm("input_layernorm", sizes.d_model)?;
        let after_attention = norm("post_attention_layernorm", sizes.d_model)?;
        let feed_forward_norm = norm("pre_feedforward_layernorm", sizes.d_model)?;
        let after_feed_forward = norm("post_feedforward_layernorm", sizes.d_model)?;
        let query_key_norms = match self.head_norms {
            true => Some((
                norm("self_attn.q_norm", sizes.heads.dim)?,
                norm("self_attn.k_norm", sizes.heads.dim)?,
            )),
            false => None,
        };
        let name = format!("{at}.self_attn");
        let mut attention = common::attention(tensors, &name, &sizes, self.biases, rope)?;
        attention.scores = self.scores;
        attention.window = self.windows[layer];
        attention.query_key_norms = query_key_norms;
        let name = format!("{at}.mlp");
        Ok(Block {
            attention_norm: Some(attention_norm),
            attention,
            after_attention: Some(after_attention),
            feed_forward_norm: Some(feed_forward_norm),
            feed_forward: common::gated(tensors, &name, &sizes, false, self.activation)?,
            after_feed_forward: Some(after_feed_forward),
            residual: Residual::Serial,
        })
    }

    fn anatomy(&self) -> Anatomy {
        Anatomy {
            norms: NORMS_AROUND,
            norm_after_ffn: true,
            ..LLAMA_ANATOMY
        }
    }

    fn vocabulary(&self, tensors: &mut Tensors<'_>) -> Result<Vocabulary, ModelError> {
        Ok(Vocabulary {
            soft_cap: self.logit_cap,
            ..gemma::vocabulary(tensors, &self.common)?
        })
    }

    fn last_norm(&self, tensors: &mut Tensors<'_>) -> Result<Norm, ModelError> {
        gemma::last_norm(tensors, &self.common)
    }
}
