//! Qwen3 (Yang et al. 2025): Llama with a norm of each head's queries and keys, and sliding windows as in Qwen2.

use super::common::{self, Biases, Defaults};
use super::llama::LlamaLike;
use super::qwen2;
use crate::model::keys::Keys;

/// Reads `config.json`.
pub fn read(keys: &Keys<'_>) -> Result<LlamaLike, String> {
    let defaults = Defaults {
        kv_heads: Some(32),
        head_dim: Some(128),
        context: 32_768,
        ..common::LLAMA
    };
    let llama = LlamaLike::read(keys, "qwen3", &defaults)?;
    Ok(LlamaLike {
        attention_biases: Biases::read(keys)?,
        head_norms: true,
        windows: qwen2::windows(keys, llama.common.sizes.layers)?,
        ..llama
    })
}
