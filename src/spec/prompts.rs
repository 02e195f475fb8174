//! `prompts`: named sets of prompts.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// A named set of prompts. Give exactly one of `inline`, `text_file` and `jsonl`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptSetSpec {
    /// The prompts themselves, written in the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub inline: Option<Vec<PromptSpec>>,
    /// A UTF-8 text file with one plain-text prompt per line, relative to the spec file and within its folder; empty lines are skipped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text_file: Option<String>,
    /// A JSON Lines file with one prompt per line, in the form of `inline`'s items, relative to the spec file and within its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jsonl: Option<String>,
    /// Leave out this many prompts from the start.
    #[serde(default)]
    pub skip: usize,
    /// Keep at most this many prompts; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub limit: Option<usize>,
}

/// One prompt. Give exactly one of `text`, `chat` and `tokens`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PromptSpec {
    /// Name of the prompt in records and reports, unique in its set; its position when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Plain text, encoded by the model's tokenizer with its special tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Chat messages, rendered by the model's own chat template with a generation prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub chat: Option<Vec<ChatMessage>>,
    /// Token ids, taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub tokens: Option<Vec<u32>>,
    /// What this prompt's answers are compared with: text, numbers or truth values by name, used by the oracles `number` and `exact`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub expect: BTreeMap<String, Expected>,
}

/// One message of a chat.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChatMessage {
    /// Who speaks: usually `system`, `user` or `assistant`; the template decides what it accepts.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// A value that answers are compared with, as text: numbers are kept as they are written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Expected(pub String);

impl<'de> Deserialize<'de> for Expected {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ScalarVisitor;
        impl Visitor<'_> for ScalarVisitor {
            type Value = Expected;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("text, a number, `true` or `false`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Expected, E> {
                Ok(Expected(text.to_owned()))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Expected, E> {
                Ok(Expected(number.to_string()))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Expected, E> {
                Ok(Expected(number.to_string()))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Expected, E> {
                Ok(Expected(number.to_string()))
            }

            fn visit_bool<E: de::Error>(self, truth: bool) -> Result<Expected, E> {
                Ok(Expected(truth.to_string()))
            }
        }
        deserializer.deserialize_any(ScalarVisitor)
    }
}

impl JsonSchema for Expected {
    fn schema_name() -> Cow<'static, str> {
        "Expected".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A value that answers are compared with, as text: numbers are kept as they are written.",
            "type": ["string", "number", "boolean"],
        })
    }
}
