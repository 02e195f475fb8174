//! What is changed in a `tokenizer.json` before it is loaded.

use std::fmt;

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use crate::report::format::thousands;

/// Longer than this, in lengths of the text, no tokenizer makes it.
const MOST_GROWTH: f64 = 100.0;

/// Models of which transformers takes `tokenizer.json` as it is, whatever class `tokenizer_config.json` names.
const AS_WRITTEN: [&str; 4] = ["mistral", "olmo2", "phi3", "qwen2"];

/// `tokenizer.json` with the pipeline that transformers 5 builds for its class LlamaTokenizer instead of the written one. None where
/// the written one stands.
///
/// The classes of Gemma, GPT-2, GPT-NeoX and Qwen2 build theirs too. Theirs is the one that these models have written down, so there
/// is nothing to change; and a model that borrows such a class for another pipeline (SmolLM2 is a GPT2Tokenizer that splits digits) was
/// trained with what it has written down, which transformers 4 took and we take.
pub(super) fn as_class_builds(
    json: &str,
    tokenizer_config: &Value,
    model_config: &Value,
) -> Option<String> {
    let class = [tokenizer_config, model_config]
        .iter()
        .find_map(|config| config["tokenizer_class"].as_str())?;
    let written = model_config["model_type"]
        .as_str()
        .is_some_and(|model| AS_WRITTEN.contains(&model));
    // Llama 3 names the class as well, but its tokenizer is of another kind.
    if class.strip_suffix("Fast").unwrap_or(class) != "LlamaTokenizer"
        || written
        || json.contains("\"ByteLevel\"")
    {
        return None;
    }
    let spaced = tokenizer_config["add_prefix_space"] != false;
    let scheme = match tokenizer_config["legacy"] == true {
        _ if !spaced => "never",
        true => "always",
        false => "first",
    };
    let mut decoders = vec![
        json!({"type": "Replace", "pattern": {"String": "▁"}, "content": " "}),
        json!({"type": "ByteFallback"}),
        json!({"type": "Fuse"}),
    ];
    if spaced {
        decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    }
    let mut whole: Value = serde_json::from_str(json).ok()?;
    let parts = whole.as_object_mut()?;
    parts.insert("normalizer".into(), Value::Null);
    parts.insert(
        "pre_tokenizer".into(),
        json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": false}),
    );
    parts.insert(
        "decoder".into(),
        json!({"type": "Sequence", "decoders": decoders}),
    );
    Some(whole.to_string())
}

/// `tokenizer.json` without what puts white space before a text; None where nothing does.
pub(super) fn without_leading_space(json: &str) -> Option<String> {
    /// The two small parts, so that a large vocabulary is not parsed for nothing.
    #[derive(Deserialize)]
    struct Parts {
        #[serde(default)]
        normalizer: Value,
        #[serde(default)]
        pre_tokenizer: Value,
    }
    let mut parts: Parts = serde_json::from_str(json).ok()?;
    let changed = [
        drop_leading_space(&mut parts.normalizer),
        drop_leading_space(&mut parts.pre_tokenizer),
    ];
    if !changed.contains(&true) {
        return None;
    }
    let mut whole: Value = serde_json::from_str(json).ok()?;
    whole["normalizer"] = parts.normalizer;
    whole["pre_tokenizer"] = parts.pre_tokenizer;
    Some(whole.to_string())
}

/// Why a tokenizer cannot be used although it can be read. A text may come out of the normaliser or the decoder many times longer than it
/// went in, and fill any memory (replacements of published tokenizers make three bytes of one); or merges are dropped at random.
pub(super) fn refusal(json: &str) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Parts {
        #[serde(default)]
        normalizer: Value,
        #[serde(default)]
        pre_tokenizer: Value,
        #[serde(default)]
        decoder: Value,
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        dropout: Option<f64>,
    }
    // What cannot be read is refused when it is loaded.
    let parts: Parts = serde_json::from_str(json).ok()?;
    if growth(&parts.normalizer).max(growth(&parts.decoder)) > MOST_GROWTH {
        return Some("makes texts many times longer by its replacements; fetch it again");
    }
    let patterns = [&parts.normalizer, &parts.pre_tokenizer, &parts.decoder].map(patterns);
    if patterns.iter().sum::<usize>() > MOST_PATTERNS {
        return Some(
            "has more than 16 regular expressions, each of which may take long for a text; fetch it again",
        );
    }
    let random = parts.model.dropout.is_some_and(|dropout| dropout > 0.0);
    random.then_some(
        "makes other tokens of the same text every time (`model.dropout`); set that to null",
    )
}

/// Most merges for each token, which may be merged in several ways. Each takes memory of its own: a file of merges that repeat would take
/// gigabytes.
const MERGES_PER_TOKEN: usize = 8;

/// Why a tokenizer is not even to be loaded.
pub(super) fn bloated(json: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Whole {
        model: Model,
    }
    #[derive(Deserialize)]
    struct Model {
        #[serde(default)]
        vocab: Entries,
        #[serde(default)]
        merges: Entries,
    }
    // What cannot be read is refused when it is loaded.
    let Model { vocab, merges } = serde_json::from_str::<Whole>(json).ok()?.model;
    (merges.0 > vocab.0.saturating_mul(MERGES_PER_TOKEN)).then(|| {
        format!(
            "has {} merges for {} tokens, which no tokenizer needs; fetch it again",
            thousands(merges.0),
            thousands(vocab.0)
        )
    })
}

/// How many entries a list or mapping has, read without keeping them.
#[derive(Default)]
struct Entries(usize);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Counter;
        impl<'de> Visitor<'de> for Counter {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or mapping")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Entries, A::Error> {
                let mut count = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Entries(count))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut count = 0;
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Entries(count))
            }
        }
        deserializer.deserialize_any(Counter)
    }
}

/// Most regular expressions of a tokenizer: published ones have a handful.
const MOST_PATTERNS: usize = 16;

/// Regular expressions in a part of a tokenizer.
fn patterns(part: &Value) -> usize {
    match part {
        Value::Object(map) => {
            usize::from(map.contains_key("Regex")) + map.values().map(patterns).sum::<usize>()
        }
        Value::Array(list) => list.iter().map(patterns).sum(),
        _ => 0,
    }
}

/// By what a part of a tokenizer multiplies the length of a text, at most.
fn growth(part: &Value) -> f64 {
    let lists = ["normalizers", "decoders"];
    let inside = lists.iter().filter_map(|list| part[*list].as_array());
    let content = part["content"].as_str().map_or(0, str::len) as f64;
    let own = match (part["type"].as_str(), part["pattern"]["String"].as_str()) {
        (Some("Replace"), Some(pattern)) => content / pattern.len().max(1) as f64,
        (Some("Replace"), None) => content + 1.0,
        _ => 1.0,
    };
    inside.flatten().map(growth).product::<f64>() * own.max(1.0)
}

/// Walks a normaliser or pre-tokenizer; says whether it changed.
fn drop_leading_space(part: &mut Value) -> bool {
    match part["type"].as_str() {
        Some("Sequence") => {
            let mut changed = false;
            for list in ["normalizers", "pretokenizers"] {
                for part in part[list].as_array_mut().into_iter().flatten() {
                    changed |= drop_leading_space(part);
                }
            }
            changed
        }
        Some("Prepend") => {
            // An empty sequence does nothing; `null` is not allowed within a sequence.
            *part = serde_json::json!({"type": "Sequence", "normalizers": []});
            true
        }
        Some("Metaspace") if part["prepend_scheme"] != "never" => {
            part["prepend_scheme"] = "never".into();
            // The older way to say the same.
            part["add_prefix_space"] = false.into();
            true
        }
        Some("ByteLevel") if part["add_prefix_space"] == true => {
            part["add_prefix_space"] = false.into();
            true
        }
        _ => false,
    }
}
