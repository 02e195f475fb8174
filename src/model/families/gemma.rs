//! Gemma (Gemma Team 2024): a Llama whose embeddings are scaled by the root of its width, whose norms store their gains less 1, and whose
//! gate is a GELU.

use std::sync::Arc;

use super::ModelError;
use super::common::{self, Biases, Block, Common, Defaults, LlamaNames};
use crate::model::decoder::Sizes;
use crate::model::keys::Keys;
use crate::model::parts::{Activation, Norm, Vocabulary};
use crate::model::rope::{Rope, RopeConfig};
use crate::model::tensors::Tensors;

/// The configuration.
pub struct Gemma {
    common: Common,
    rope: RopeConfig,
    biases: Biases,
}

/// What all Gemmas leave out.
pub const DEFAULTS: Defaults = Defaults {
    kv_heads: Some(16),
    head_dim: Some(256),
    context: 8192,
    eps: 1e-6,
    tied: true,
};

impl Gemma {
    /// Reads `config.json`.
    pub fn read(keys: &Keys<'_>) -> Result<Self, String> {
        let common = Common::read(keys, &DEFAULTS)?;
        // In transformers, the first Gemma's `gelu` is the approximation too.
        common::activation(keys, "hidden_act", "gelu").and_then(only_gelu)?;
        let Sizes { heads, context, .. } = common.sizes;
        Ok(Self {
            rope: RopeConfig::read(keys, heads.dim, context)?,
            biases: Biases::read(keys)?,
            common,
        })
    }
}

/// The vocabulary with its scaled embeddings.
pub fn vocabulary(tensors: &mut Tensors<'_>, common: &Common) -> Result<Vocabulary, ModelError> {
    Ok(Vocabulary {
        scale: (common.sizes.d_model as f64).sqrt() as f32,
        ..common::vocabulary(tensors, common)?
    })
}

/// The last norm, whose gain is stored less 1.
pub fn last_norm(tensors: &mut Tensors<'_>, common: &Common) -> Result<Norm, ModelError> {
    tensors.rms_norm_from_one("model.norm", common.sizes.d_model, common.eps)
}

fn only_gelu(activation: Activation) -> Result<(), String> {
    match activation {
        Activation::Gelu | Activation::GeluTanh => Ok(()),
        Activation::Silu => Err("`hidden_act` is `silu`; supported for Gemma is `gelu`".into()),
    }
}

impl LlamaNames for Gemma {
    fn name(&self) -> &'static str {
        "gemma"
    }

    fn common(&self) -> &Common {
        &self.common
    }

    fn rope(&self, _layer: usize) -> &RopeConfig {
        &self.rope
    }

    fn block(
        &self,
        tensors: &mut Tensors<'_>,
        at: &str,
        _layer: usize,
        rope: &Arc<Rope>,
    ) -> Result<Block, ModelError> {
        let Common { sizes, eps, .. } = self.common;
        let name = format!("{at}.input_layernorm");
        let attention_norm = tensors.rms_norm_from_one(&name, sizes.d_model, eps)?;
        let name = format!("{at}.self_attn");
        let attention = common::attention(tensors, &name, &sizes, self.biases, rope)?;
        let name = format!("{at}.post_attention_layernorm");
        let feed_forward_norm = tensors.rms_norm_from_one(&name, sizes.d_model, eps)?;
        let name = format!("{at}.mlp");
        let mlp = common::gated(tensors, &name, &sizes, false, Activation::GeluTanh)?;
        Ok(common::pre_norm(
            attention_norm,
            attention,
            feed_forward_norm,
            mlp,
        ))
    }

    fn vocabulary(&self, tensors: &mut Tensors<'_>) -> Result<Vocabulary, ModelError> {
        vocabulary(tensors, &self.common)
    }

    fn last_norm(&self, tensors: &mut Tensors<'_>) -> Result<Norm, ModelError> {
        last_norm(tensors, &self.common)
    }
}
