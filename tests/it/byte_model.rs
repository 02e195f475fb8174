//! A model of the sizes of `ToyTarget`, whose tokens are bytes as there: token 1 starts a text, 2 a message of a chat.

#![cfg(target_os = "linux")]

use std::fs;
use std::path::Path;

use safetensors::Dtype;
use serde_json::{Map, Value, json};

use crate::tiny::{safetensors_bytes, weights_of};

/// Writes its files into a folder.
pub fn write(folder: &Path) {
    let config = json!({
        "model_type": "llama", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2,
        "vocab_size": 259, "max_position_embeddings": 128, "tie_word_embeddings": true,
    });
    let write = |name: &str, content: &[u8]| fs::write(folder.join(name), content).unwrap();
    write("config.json", config.to_string().as_bytes());
    write("tokenizer.json", tokenizer().to_string().as_bytes());
    write(
        "tokenizer_config.json",
        json!({"bos_token": "<s>", "chat_template": TEMPLATE})
            .to_string()
            .as_bytes(),
    );
    write(
        "model.safetensors",
        &safetensors_bytes(&weights_of(&config), Dtype::F32),
    );
}

const TEMPLATE: &str = "<s>{% for message in messages %}\
    {% if message.role not in ['system', 'user', 'assistant'] %}{{ raise_exception('knows no role `' ~ message.role ~ '`') }}{% endif %}\
    <m>{{ message.content }}{% endfor %}";

fn tokenizer() -> Value {
    let named = ["<pad>", "<s>", "<m>"];
    let bytes = (0..=255).map(|byte| format!("<0x{byte:02X}>"));
    let vocabulary: Map<String, Value> = (named.map(str::to_owned).into_iter().chain(bytes))
        .zip(0..)
        .map(|(token, id)| (token, Value::from(id)))
        .collect();
    let added: Vec<Value> = (named.iter().enumerate())
        .map(|(id, token)| {
            json!({"id": id, "content": token, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "added_tokens": added, "normalizer": null, "pre_tokenizer": null,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": [], "byte_fallback": true},
    })
}
