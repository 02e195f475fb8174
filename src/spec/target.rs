//! What resolution needs to know of a model: its sizes and its tokenizer, not its weights.

use std::collections::BTreeMap;

use super::prompts::ChatMessage;
use crate::model::{ModelError, ModelHeader, Shape};
use crate::units::TokenId;

/// The model that a spec is resolved for.
pub trait SpecTarget {
    /// Sizes and kind.
    fn shape(&self) -> &Shape;

    /// SHA-256 (lower-case hex) by file name.
    fn files(&self) -> &BTreeMap<String, String>;

    /// Number types in which the weights are stored, sorted.
    fn stored_as(&self) -> Vec<String>;

    /// Plain text, with the special tokens that the tokenizer adds.
    fn encode_text(&self, text: &str) -> Result<Vec<TokenId>, ModelError>;

    /// A chat, rendered by the model's template with a generation prompt.
    fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<TokenId>, ModelError>;

    /// Text that continues a prompt: no special tokens are added.
    fn encode_continuation(&self, text: &str) -> Result<Vec<TokenId>, ModelError>;

    /// Text of tokens, without special tokens.
    fn decode(&self, tokens: &[TokenId]) -> String;
}

impl SpecTarget for ModelHeader {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    fn stored_as(&self) -> Vec<String> {
        self.stored_as.clone()
    }

    fn encode_text(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        self.codec.encode_text(text)
    }

    fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<TokenId>, ModelError> {
        self.codec.encode_chat(messages)
    }

    fn encode_continuation(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        self.codec.encode_continuation(text)
    }

    fn decode(&self, tokens: &[TokenId]) -> String {
        self.codec.decode(tokens)
    }
}

/// A model without weights for tests: a token is a byte of the text plus 3, token 1 starts a text, token 2 a chat message.
pub struct ToyTarget {
    shape: Shape,
    files: BTreeMap<String, String>,
}

impl Default for ToyTarget {
    fn default() -> Self {
        Self {
            shape: Shape {
                family: "toy".into(),
                layers: 4,
                d_model: 16,
                d_ff: 32,
                vocab: 259,
                context: 128,
                norm_after_ffn: false,
                parameters: 1_000_000,
            },
            files: BTreeMap::from([("config.json".into(), "0".repeat(64))]),
        }
    }
}

impl SpecTarget for ToyTarget {
    fn shape(&self) -> &Shape {
        &self.shape
    }

    fn files(&self) -> &BTreeMap<String, String> {
        &self.files
    }

    fn stored_as(&self) -> Vec<String> {
        vec!["f32".into()]
    }

    fn encode_text(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        let mut tokens = vec![1];
        tokens.extend(self.encode_continuation(text)?);
        Ok(tokens)
    }

    fn encode_chat(&self, messages: &[ChatMessage]) -> Result<Vec<TokenId>, ModelError> {
        let mut tokens = vec![1];
        for message in messages {
            if !["system", "user", "assistant"].contains(&message.role.as_str()) {
                return Err(ModelError::Refused {
                    file: "chat_template".into(),
                    problem: format!("knows no role `{}`", message.role),
                });
            }
            tokens.push(2);
            tokens.extend(self.encode_continuation(&message.content)?);
        }
        Ok(tokens)
    }

    fn encode_continuation(&self, text: &str) -> Result<Vec<TokenId>, ModelError> {
        Ok(text.bytes().map(|byte| u32::from(byte) + 3).collect())
    }

    fn decode(&self, tokens: &[TokenId]) -> String {
        let bytes: Vec<u8> = (tokens.iter())
            .filter_map(|token| u8::try_from(token.checked_sub(3)?).ok())
            .collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
