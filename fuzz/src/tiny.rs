//! A model folder of a few hundred bytes: whatever its input does not say, a target takes from here.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reachspec::model::families::{self, Family};
use serde_json::{Value, json};

/// More weights than these are not made.
const MOST_WEIGHTS: usize = 1 << 18;
/// More layers than these are not made.
const MOST_LAYERS: usize = 16;

/// The words of the tokenizer.
pub const WORDS: [&str; 8] = [
    "<unk>", "<s>", "</s>", "one", "two", "three", "four", "five",
];

/// Two layers of width 4 with 6 neurons each, 8 words, untied.
pub fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 8, "max_position_embeddings": 16, "eos_token_id": 2, "tie_word_embeddings": false,
    })
}

/// A word-level tokenizer.
pub fn tokenizer() -> Value {
    let vocabulary: BTreeMap<&str, usize> = WORDS.iter().copied().zip(0..).collect();
    let added: Vec<Value> = (WORDS.iter().take(3).enumerate())
        .map(|(id, word)| {
            json!({"id": id, "content": word, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
        })
        .collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": {"type": "WhitespaceSplit"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
    })
}

/// Its special tokens.
pub fn tokenizer_config() -> Value {
    json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": true})
}

/// The safetensors header of every tensor that a configuration asks for, in `f32`; none for a configuration that is refused or large.
pub fn header(config: &str) -> Option<Value> {
    let (family, _) = families::read(config).ok()?;
    if family.sizes().layers > MOST_LAYERS {
        return None;
    }
    let mut start = 0usize;
    let mut header = serde_json::Map::new();
    for tensor in families::expected(family.as_ref() as &dyn Family).ok()? {
        let count = (tensor.dims.iter()).try_fold(1usize, |count, dim| count.checked_mul(*dim))?;
        let end = start.checked_add(count.checked_mul(4)?)?;
        if end > 4 * MOST_WEIGHTS {
            return None;
        }
        let entry = json!({"dtype": "F32", "shape": tensor.dims, "data_offsets": [start, end]});
        header.insert(tensor.name, entry);
        start = end;
    }
    Some(Value::Object(header))
}

/// A safetensors file with this header, and as many values as it announces: multiples of 1/64 that differ from each other.
pub fn weights(header: &[u8]) -> Vec<u8> {
    let announced = serde_json::from_slice::<Value>(header).ok();
    let ends = announced.as_ref().and_then(Value::as_object);
    let end = (ends.into_iter().flatten())
        .filter_map(|(_, tensor)| tensor["data_offsets"][1].as_u64())
        .max();
    let size = end.unwrap_or(0).min(4 * MOST_WEIGHTS as u64) as usize;
    let mut next = 0u32;
    let values = std::iter::repeat_with(|| {
        next = (next * 5 + 3) % 127;
        (next as f32 - 63.0) / 64.0
    });
    let values = values.flat_map(f32::to_le_bytes).take(size);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(values);
    file
}

/// Writes the whole model.
///
/// # Panics
/// If the folder cannot be written.
pub fn write(folder: &Path) {
    let config = config().to_string();
    let header = header(&config).expect("small").to_string();
    let files = [
        ("config.json", config.into_bytes()),
        ("tokenizer.json", tokenizer().to_string().into_bytes()),
        (
            "tokenizer_config.json",
            tokenizer_config().to_string().into_bytes(),
        ),
        ("model.safetensors", weights(header.as_bytes())),
    ];
    for (name, content) in files {
        std::fs::write(folder.join(name), content).expect("a folder that can be written");
    }
}

/// A new folder, in memory where the machine has such. It is left to the operating system: a target never ends in order.
///
/// # Panics
/// If none can be made.
pub fn folder(target: &str) -> PathBuf {
    let shared = Path::new("/dev/shm");
    let parent = match shared.is_dir() {
        true => shared.to_owned(),
        false => std::env::temp_dir(),
    };
    let folder = parent.join(format!("reachspec-fuzz-{target}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder that can be written");
    folder
}
