//! Phi-3 (Abdin et al. 2024): a Llama whose projections are fused into two tensors, with LongRoPE for its long contexts.

use std::sync::Arc;

use super::ModelError;
use super::common::{self, Block, Common, Defaults, LlamaNames};
use crate::model::decoder::Sizes;
use crate::model::keys::Keys;
use crate::model::parts::{Activation, Attention, FeedForward};
use crate::model::rope::{Rope, RopeConfig, Scaling};
use crate::model::tensors::{Order, Tensors};

/// The configuration.
pub struct Phi3 {
    common: Common,
    rope: RopeConfig,
    activation: Activation,
    window: Option<usize>,
}

const DEFAULTS: Defaults = Defaults {
    context: 4096,
    eps: 1e-5,
    ..common::LLAMA
};

impl Phi3 {
    /// Reads `config.json`.
    pub fn read(keys: &Keys<'_>) -> Result<Self, String> {
        let mut common = Common::read(keys, &DEFAULTS)?;
        let rope = rope(keys, &common.sizes)?;
        if let Scaling::Long { .. } = rope.scaling {
            common.sizes.context = common.sizes.context.min(original_context(keys)?);
        }
        Ok(Self {
            rope,
            activation: common::activation(keys, "hidden_act", "silu")?,
            window: keys.optional_size("sliding_window")?,
            common,
        })
    }
}

/// The context that the model was first trained on. Only the outer key counts.
fn original_context(keys: &Keys<'_>) -> Result<usize, String> {
    Ok((keys.optional_size("original_max_position_embeddings")?).unwrap_or(4096))
}

/// Phi-3 rotates only the first channels of each head where `partial_rotary_factor` says so.
fn rope(keys: &Keys<'_>, sizes: &Sizes) -> Result<RopeConfig, String> {
    let written = keys.rope()?;
    let inner = written.as_ref().unwrap_or(keys);
    let share = inner.share(
        "partial_rotary_factor",
        keys.share("partial_rotary_factor", 1.0)?,
    )?;
    let channels = (sizes.heads.dim as f64 * share) as usize;
    let theta = inner.positive("rope_theta", keys.positive("rope_theta", 10_000.0)?)?;
    let kind = inner.text("rope_type", inner.text("type", "default")?)?;
    let scaling = match kind {
        "default" => Scaling::Default,
        "longrope" | "su" | "yarn" => long_rope(keys, inner, channels, sizes.context)?,
        other => {
            return Err(format!(
                "rope scaling `{other}` is not one of Phi-3's; supported are `default` and `longrope`"
            ));
        }
    };
    RopeConfig::new(theta, channels, scaling)
}

/// transformers, modeling_rope_utils.py, `_compute_longrope_parameters`.
fn long_rope(
    keys: &Keys<'_>,
    written: &Keys<'_>,
    channels: usize,
    context: usize,
) -> Result<Scaling, String> {
    let original = original_context(keys)? as f64;
    let factor = written.positive("factor", context as f64 / original)?;
    let usual = match factor <= 1.0 {
        true => 1.0,
        false => (1.0 + factor.ln() / original.ln()).sqrt(),
    };
    // Not used within the first context, but a checkpoint without it is not one of Phi-3's.
    written.factors("long_factor", channels / 2)?;
    Ok(Scaling::Long {
        factors: written.factors("short_factor", channels / 2)?,
        attention: written.positive("attention_factor", usual)?,
    })
}

impl LlamaNames for Phi3 {
    fn name(&self) -> &'static str {
        "phi3"
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
        let (d, ff, heads) = (sizes.d_model, sizes.d_ff, sizes.heads);
        let attention_norm = tensors.rms_norm(&format!("{at}.input_layernorm"), d, eps)?;
        // Rows of the fused projections: queries, keys, values; gate, up.
        let (q, kv) = (heads.query * heads.dim, sizes.heads.kv_width());
        let parts = [0..q, q..q + kv, q + kv..q + 2 * kv];
        let name = format!("{at}.self_attn.qkv_proj");
        let [query, key, value] = tensors.fused(&name, d, false, Order::OutputMajor, parts)?;
        let attention = Attention {
            query,
            key,
            value,
            output: tensors.linear(&format!("{at}.self_attn.o_proj"), q, d, false)?,
            query_key_norms: None,
            rope: Some(rope.clone()),
            heads,
            scores: common::plain_scores(heads.dim as f64),
            window: self.window,
        };
        let name = format!("{at}.post_attention_layernorm");
        let feed_forward_norm = tensors.rms_norm(&name, d, eps)?;
        let parts = [0..ff, ff..2 * ff];
        let name = format!("{at}.mlp.gate_up_proj");
        let [gate, up] = tensors.fused(&name, d, false, Order::OutputMajor, parts)?;
        let feed_forward = FeedForward {
            gate: Some(gate),
            up,
            down: tensors.linear(&format!("{at}.mlp.down_proj"), ff, d, false)?,
            activation: self.activation,
        };
        Ok(common::pre_norm(
            attention_norm,
            attention,
            feed_forward_norm,
            feed_forward,
        ))
    }
}
