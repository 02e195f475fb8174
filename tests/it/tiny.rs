//! A model folder of a few hundred bytes, to be broken in tests.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use reachspec::model::families;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Tensors by name: shape and values.
pub type Weights = BTreeMap<String, (Vec<usize>, Vec<f32>)>;

/// A complete model folder in a temporary directory.
pub struct TinyModel {
    folder: TempDir,
}

impl TinyModel {
    /// Two layers of width 4 with 6 neurons each, 8 words, untied, `f32`.
    pub fn new() -> Self {
        let model = Self {
            folder: TempDir::new().unwrap(),
        };
        model.write_json("config.json", &config());
        model.write_json("tokenizer.json", &tokenizer(&WORDS));
        model.write_json("tokenizer_config.json", &tokenizer_config());
        model.write_weights("model.safetensors", &weights(), Dtype::F32);
        model
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        std::fs::write(self.file(name), content).unwrap();
    }

    pub fn write_json(&self, name: &str, value: &Value) {
        self.write(name, value.to_string());
    }

    pub fn remove(&self, name: &str) {
        std::fs::remove_file(self.file(name)).unwrap();
    }

    /// Writes weights in a stored number type: `F32`, or `BF16` for values that it holds exactly.
    pub fn write_weights(&self, name: &str, weights: &Weights, dtype: Dtype) {
        self.write(name, safetensors_bytes(weights, dtype));
    }
}

pub const WORDS: [&str; 8] = [
    "<unk>", "<s>", "</s>", "one", "two", "three", "four", "five",
];

pub fn config() -> Value {
    json!({
        "model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 2, "num_attention_heads": 2,
        "vocab_size": 8, "max_position_embeddings": 16, "eos_token_id": 2, "tie_word_embeddings": false,
    })
}

/// A word-level tokenizer without a post-processor.
pub fn tokenizer(words: &[&str]) -> Value {
    let vocabulary: BTreeMap<&str, usize> = words.iter().copied().zip(0..).collect();
    let added: Vec<Value> = (words.iter().take(3).enumerate())
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

pub fn tokenizer_config() -> Value {
    json!({"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": true})
}

/// Every tensor of [`config`].
pub fn weights() -> Weights {
    weights_of(&config())
}

/// Every tensor of a configuration, filled with multiples of 1/64 that differ from each other.
pub fn weights_of(config: &Value) -> Weights {
    let (family, _) = families::read(&config.to_string()).unwrap();
    let mut next = 0;
    (families::expected(family.as_ref()).unwrap().into_iter())
        .map(|tensor| (tensor.name, tensor.dims))
        .map(|(name, dims)| {
            let count = dims.iter().product();
            let values = std::iter::repeat_with(|| {
                next = (next * 5 + 3) % 127;
                (next - 63) as f32 / 64.0
            });
            (name, (dims, values.take(count).collect()))
        })
        .collect()
}

pub fn safetensors_bytes(weights: &Weights, dtype: Dtype) -> Vec<u8> {
    let stored: Vec<(&String, &Vec<usize>, Vec<u8>)> = weights
        .iter()
        .map(|(name, (dims, values))| {
            let bytes = values.iter().flat_map(|value| match dtype {
                Dtype::BF16 => ((value.to_bits() >> 16) as u16).to_le_bytes().to_vec(),
                _ => value.to_le_bytes().to_vec(),
            });
            (name, dims, bytes.collect())
        })
        .collect();
    let views = stored.iter().map(|(name, dims, bytes)| {
        (
            *name,
            TensorView::new(dtype, (*dims).clone(), bytes).unwrap(),
        )
    });
    safetensors::serialize(views, None).unwrap()
}
