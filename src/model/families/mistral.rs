//! Mistral (Jiang et al. 2023): Llama with a sliding window in every layer, and without biases.

use super::common::{self, Defaults};
use super::llama::LlamaLike;
use crate::model::keys::Keys;

/// Reads `config.json`.
pub fn read(keys: &Keys<'_>) -> Result<LlamaLike, String> {
    let defaults = Defaults {
        kv_heads: Some(8),
        context: 131_072,
        ..common::LLAMA
    };
    let llama = LlamaLike::read(keys, "mistral", &defaults)?;
    Ok(LlamaLike {
        windows: vec![keys.sliding_window()?; llama.common.sizes.layers],
        ..llama
    })
}
