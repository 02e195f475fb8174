//! Gemma 3's text model (Gemma Team 2025): Gemma 2 with a norm of each head's queries and keys instead of a soft cap on scores, and two
//! rotary embeddings: one for layers with a sliding window, a slower one for every sixth layer, which sees everything.

use super::common::{self, Biases, Common, Defaults};
use super::gemma2::{self, Sandwich};
use crate::model::decoder::Sizes;
use crate::model::kernels::Scores;
use crate::model::keys::Keys;
use crate::model::rope::{RopeConfig, Scaling};

/// Reads `config.json`.
pub fn read(keys: &Keys<'_>) -> Result<Sandwich, String> {
    let defaults = Defaults {
        context: 131_072,
        ..gemma2::DEFAULTS
    };
    let common = Common::read(keys, &defaults)?;
    let Sizes { heads, layers, .. } = common.sizes;
    let pattern = keys.optional_size("sliding_window_pattern")?.unwrap_or(6);
    let windows = keys.windows(layers, keys.sliding_window()?, |layer| {
        !(layer + 1).is_multiple_of(pattern)
    })?;
    let [global, local] = ropes(keys, heads.dim, common.sizes.context)?;
    let rope = |window: &Option<usize>| match window {
        Some(_) => local.clone(),
        None => global.clone(),
    };
    Ok(Sandwich {
        name: "gemma3_text",
        ropes: windows.iter().map(rope).collect(),
        activation: common::activation(keys, "hidden_activation", "gelu_pytorch_tanh")?,
        biases: Biases::read(keys)?,
        // transformers reads `attn_logit_softcapping` and does not use it.
        scores: Scores {
            soft_cap: None,
            ..common::plain_scores(keys.positive("query_pre_attn_scalar", 256.0)?)
        },
        logit_cap: gemma2::cap(keys, "final_logit_softcapping", None)?,
        windows,
        head_norms: true,
        common,
    })
}

/// The rotary embeddings of layers that see everything, and of those with a window. They are written as `rope_theta`, `rope_scaling` and
/// `rope_local_base_freq`, or as `rope_parameters` by kind of layer.
fn ropes(keys: &Keys<'_>, channels: usize, context: usize) -> Result<[RopeConfig; 2], String> {
    let written = keys.below("rope_parameters")?;
    let of = |kind: &str, key: &str, default: f64, scaled: bool| {
        let written = match &written {
            Some(kinds) => kinds.below(kind)?,
            None => None,
        };
        let mut theta = keys.positive(key, default)?;
        let mut scaling = Scaling::Default;
        if let Some(written) = written {
            theta = written.positive("rope_theta", theta)?;
            scaling = Scaling::read(&written, context)?;
        }
        if scaled && let Some(written) = keys.below("rope_scaling")? {
            scaling = Scaling::read(&written, context)?;
        }
        RopeConfig::new(theta, channels, scaling)
    };
    Ok([
        of("full_attention", "rope_theta", 1_000_000.0, true)?,
        of("sliding_attention", "rope_local_base_freq", 10_000.0, false)?,
    ])
}
