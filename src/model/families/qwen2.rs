//! Qwen2 and Qwen2.5 (Yang et al. 2024): Llama with biases on queries, keys and values, and sliding windows in upper layers where the
//! configuration switches them on.

use super::common::{self, Biases, Defaults};
use super::llama::LlamaLike;
use crate::model::keys::Keys;

/// Reads `config.json`.
pub fn read(keys: &Keys<'_>) -> Result<LlamaLike, String> {
    let defaults = Defaults {
        kv_heads: Some(32),
        context: 32_768,
        ..common::LLAMA
    };
    let llama = LlamaLike::read(keys, "qwen2", &defaults)?;
    Ok(LlamaLike {
        attention_biases: Biases {
            inputs: true,
            output: false,
        },
        windows: windows(keys, llama.common.sizes.layers)?,
        ..llama
    })
}

/// None unless `use_sliding_window`; then in the layers from `max_window_layers` on, or as `layer_types` says.
pub fn windows(keys: &Keys<'_>, layers: usize) -> Result<Vec<Option<usize>>, String> {
    let window = match keys.flag("use_sliding_window", false)? {
        true => keys.sliding_window()?,
        false => None,
    };
    let first = match keys.get("max_window_layers") {
        None => 28,
        // 0 is allowed: every layer slides.
        Some(value) => value
            .as_u64()
            .ok_or_else(|| format!("`max_window_layers` is {value}, not a whole number"))?,
    };
    keys.windows(layers, window, |layer| layer as u64 >= first)
}
