//! Text to tokens and back.

use super::ModelError;
use crate::spec::prompts::ChatMessage;
use crate::units::TokenId;

/// A model's tokenizer with its chat template.
pub struct TextCodec {}

impl TextCodec {
    /// Plain text, with the special tokens that the tokenizer adds.
    pub fn encode_text(&self, _: &str) -> Result<Vec<TokenId>, ModelError> {
        unimplemented!("helper `model`")
    }

    /// A chat, rendered by the model's template with a generation prompt; no special token is doubled.
    pub fn encode_chat(&self, _: &[ChatMessage]) -> Result<Vec<TokenId>, ModelError> {
        unimplemented!("helper `model`")
    }

    /// Text that continues a prompt: no special tokens are added.
    pub fn encode_continuation(&self, _: &str) -> Result<Vec<TokenId>, ModelError> {
        unimplemented!("helper `model`")
    }

    /// Text of tokens, without special tokens.
    pub fn decode(&self, _: &[TokenId]) -> String {
        unimplemented!("helper `model`")
    }
}
