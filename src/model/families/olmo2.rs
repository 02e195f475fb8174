//! OLMo 2 (OLMo Team 2024): norms after each part and none before, and a norm of all queries, and of all keys, before they are parted
//! into heads.

use std::sync::Arc;

use super::common::{self, Biases, Block, Common, Defaults, LlamaNames};
use super::{Anatomy, LLAMA_ANATOMY, ModelError};
use crate::model::decoder::{Residual, Sizes};
use crate::model::keys::Keys;
use crate::model::parts::Activation;
use crate::model::rope::{Rope, RopeConfig};
use crate::model::tensors::Tensors;

/// The configuration.
pub struct Olmo2 {
    common: Common,
    rope: RopeConfig,
    activation: Activation,
    biases: Biases,
}

const DEFAULTS: Defaults = Defaults {
    eps: 1e-5,
    ..common::LLAMA
};

impl Olmo2 {
    /// Reads `config.json`.
    pub fn read(keys: &Keys<'_>) -> Result<Self, String> {
        let common = Common::read(keys, &DEFAULTS)?;
        let Sizes { heads, context, .. } = common.sizes;
        Ok(Self {
            rope: RopeConfig::read(keys, heads.dim, context)?,
            activation: common::activation(keys, "hidden_act", "silu")?,
            biases: Biases::read(keys)?,
            common,
        })
    }
}

impl LlamaNames for Olmo2 {
    fn name(&self) -> &'static str {
        "olmo2"
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
        let name = format!("{at}.self_attn");
        let mut attention = common::attention(tensors, &name, &sizes, self.biases, rope)?;
        let (q, kv) = (sizes.heads.query * sizes.heads.dim, sizes.heads.kv_width());
        attention.query_key_norms = Some((
            tensors.rms_norm(&format!("{name}.q_norm"), q, eps)?,
            tensors.rms_norm(&format!("{name}.k_norm"), kv, eps)?,
        ));
        let mut norm = |name: &str| tensors.rms_norm(&format!("{at}.{name}"), sizes.d_model, eps);
        let after_attention = norm("post_attention_layernorm")?;
        let after_feed_forward = norm("post_feedforward_layernorm")?;
        let name = format!("{at}.mlp");
        Ok(Block {
            attention_norm: None,
            attention,
            after_attention: Some(after_attention),
            feed_forward_norm: None,
            feed_forward: common::gated(tensors, &name, &sizes, false, self.activation)?,
            after_feed_forward: Some(after_feed_forward),
            residual: Residual::Serial,
        })
    }

    fn anatomy(&self) -> Anatomy {
        Anatomy {
            norms: "after attention and after the feed-forward, none before: a norm stands between the down projection and the residual stream",
            norm_after_ffn: true,
            ..LLAMA_ANATOMY
        }
    }
}
