//! Llama 1–3 (Touvron et al. 2023; Grattafiori et al. 2024), and what is Llama but for a setting: RMSNorm before each part, rotary
//! embeddings, grouped queries, SwiGLU.

use std::sync::Arc;

use super::ModelError;
use super::common::{self, Biases, Block, Common, Defaults, LlamaNames};
use crate::model::decoder::Sizes;
use crate::model::keys::Keys;
use crate::model::parts::Activation;
use crate::model::rope::{Rope, RopeConfig};
use crate::model::tensors::Tensors;

/// A configuration of Llama or of one of its near relatives.
pub struct LlamaLike {
    /// `model_type`.
    pub name: &'static str,
    /// Sizes.
    pub common: Common,
    /// The rotary embedding of every layer.
    pub rope: RopeConfig,
    /// Of the gate.
    pub activation: Activation,
    /// Of the attention projections.
    pub attention_biases: Biases,
    /// Whether the feed-forward projections have biases.
    pub mlp_bias: bool,
    /// Whether each head's queries and keys are normalised.
    pub head_norms: bool,
    /// The sliding window of each layer.
    pub windows: Vec<Option<usize>>,
}

/// Reads `config.json` of Llama.
pub fn read(keys: &Keys<'_>) -> Result<LlamaLike, String> {
    Ok(LlamaLike {
        attention_biases: Biases::read(keys)?,
        mlp_bias: keys.flag("mlp_bias", false)?,
        ..LlamaLike::read(keys, "llama", &common::LLAMA)?
    })
}

impl LlamaLike {
    /// What all relatives write under the same keys; the rest is as in Llama without biases.
    pub fn read(keys: &Keys<'_>, name: &'static str, defaults: &Defaults) -> Result<Self, String> {
        let common = Common::read(keys, defaults)?;
        let Sizes {
            heads,
            context,
            layers,
            ..
        } = common.sizes;
        Ok(Self {
            name,
            rope: RopeConfig::read(keys, heads.dim, context)?,
            activation: common::activation(keys, "hidden_act", "silu")?,
            attention_biases: Biases::default(),
            mlp_bias: false,
            head_norms: false,
            windows: vec![None; layers],
            common,
        })
    }
}

impl LlamaNames for LlamaLike {
    fn name(&self) -> &'static str {
        self.name
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
        layer: usize,
        rope: &Arc<Rope>,
    ) -> Result<Block, ModelError> {
        let Common { sizes, eps, .. } = self.common;
        let attention_norm =
            tensors.rms_norm(&format!("{at}.input_layernorm"), sizes.d_model, eps)?;
        let name = format!("{at}.self_attn");
        let mut attention = common::attention(tensors, &name, &sizes, self.attention_biases, rope)?;
        attention.window = self.windows[layer];
        if self.head_norms {
            attention.query_key_norms = Some((
                tensors.rms_norm(&format!("{name}.q_norm"), sizes.heads.dim, eps)?,
                tensors.rms_norm(&format!("{name}.k_norm"), sizes.heads.dim, eps)?,
            ));
        }
        let name = format!("{at}.post_attention_layernorm");
        let feed_forward_norm = tensors.rms_norm(&name, sizes.d_model, eps)?;
        let name = format!("{at}.mlp");
        let mlp = common::gated(tensors, &name, &sizes, self.mlp_bias, self.activation)?;
        Ok(common::pre_norm(
            attention_norm,
            attention,
            feed_forward_norm,
            mlp,
        ))
    }
}
