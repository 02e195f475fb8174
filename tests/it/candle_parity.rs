//! The unsteered forward pass against candle-transformers, a second independent implementation, for the families that it has.
//!
//! GPT-2 and GPT-NeoX are not among them. What candle-transformers leaves out is left out of both sides: scaled rotary frequencies in
//! Gemma 3, sliding windows, by texts that are shorter than any window, and scores that are scaled by another number than the width of a
//! head. Its `gelu` is the exact one, so that Gemma's, which is the approximation, is written as such.

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models;
use reachspec::model::{
    LanguageModel, ModelHeader, Observed, Probe, Resources, Sequence, Transformer,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

const TOKENS: [u32; 9] = [1, 40, 7, 88, 23, 23, 61, 5, 90];

/// Logits after the last of [`TOKENS`], by candle-transformers.
type Theirs = fn(&Value, VarBuilder<'_>, &Tensor) -> candle_core::Result<Tensor>;

/// Holds our logits against theirs, for a model of the repository with some keys of its configuration replaced.
fn hold(folder: &str, replaced: &[(&str, Value)], theirs: Theirs) {
    let original = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let copy = tempfile::tempdir().unwrap();
    let mut weights = HashMap::new();
    for file in std::fs::read_dir(original).unwrap() {
        let file = file.unwrap().path();
        std::fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
        if file.extension().is_some_and(|e| e == "safetensors") {
            weights.extend(candle_core::safetensors::load(&file, &Device::Cpu).unwrap());
        }
    }
    let config = copy.path().join("config.json");
    let mut keys: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    for (key, value) in replaced {
        keys[*key] = value.clone();
    }
    std::fs::write(config, keys.to_string()).unwrap();

    let model = Transformer::load(
        ModelHeader::read(copy.path()).unwrap(),
        Resources::of_machine(),
    )
    .unwrap();
    let probe = Probe {
        logits: true,
        ..Probe::default()
    };
    let sequence = Sequence {
        tokens: &TOKENS,
        from: TOKENS.len() - 1,
    };
    let mut ours = Observed::default();
    model
        .observe(&[sequence], probe, &mut |_, seen| ours = seen)
        .unwrap();

    let weights = VarBuilder::from_tensors(weights, DType::F32, &Device::Cpu);
    let tokens = Tensor::new(&[TOKENS], &Device::Cpu).unwrap();
    let theirs = theirs(&keys, weights, &tokens).unwrap();
    let theirs: Vec<f32> = theirs.flatten_all().unwrap().to_vec1().unwrap();
    assert_eq!(ours.logits.len(), theirs.len());
    let spread = theirs.iter().copied().fold(f32::MIN, f32::max)
        - theirs.iter().copied().fold(f32::MAX, f32::min);
    let worst = (ours.logits.iter().zip(&theirs))
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(worst <= 1e-4 * spread, "{worst} of a spread of {spread}");
}

fn config<T: DeserializeOwned>(keys: &Value) -> T {
    serde_json::from_value(keys.clone()).unwrap()
}

#[test]
fn llama() {
    hold("specs/models/bilingual", &[], |keys, weights, tokens| {
        let config = config::<models::llama::LlamaConfig>(keys).into_config(false);
        let mut cache = models::llama::Cache::new(true, DType::F32, &config, &Device::Cpu)?;
        models::llama::Llama::load(weights, &config)?.forward(tokens, 0, &mut cache)
    });
}

#[test]
fn mistral() {
    let folder = "tests/reference/models/tiny-mistral";
    hold(folder, &[], |keys, weights, tokens| {
        models::mistral::Model::new(&config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn qwen2() {
    let folder = "tests/reference/models/tiny-qwen2";
    hold(folder, &[], |keys, weights, tokens| {
        models::qwen2::ModelForCausalLM::new(&config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn qwen3() {
    let folder = "tests/reference/models/tiny-qwen3";
    hold(folder, &[], |keys, weights, tokens| {
        models::qwen3::ModelForCausalLM::new(&config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn gemma() {
    let folder = "tests/reference/models/tiny-gemma";
    let gelu = [("hidden_act", json!("gelu_pytorch_tanh"))];
    hold(folder, &gelu, |keys, weights, tokens| {
        models::gemma::Model::new(false, &config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn gemma2() {
    let folder = "tests/reference/models/tiny-gemma2";
    let scaled_by_width = [("query_pre_attn_scalar", json!(10))];
    hold(folder, &scaled_by_width, |keys, weights, tokens| {
        models::gemma2::Model::new(false, &config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn gemma3() {
    let folder = "tests/reference/models/tiny-gemma3";
    let plain = [
        ("rope_scaling", Value::Null),
        ("query_pre_attn_scalar", json!(8)),
    ];
    hold(folder, &plain, |keys, weights, tokens| {
        models::gemma3::Model::new(false, &config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn phi3() {
    let folder = "tests/reference/models/tiny-phi3";
    hold(folder, &[], |keys, weights, tokens| {
        models::phi3::Model::new(&config(keys), weights)?.forward(tokens, 0)
    });
}

#[test]
fn olmo2() {
    let folder = "tests/reference/models/tiny-olmo2";
    hold(folder, &[], |keys, weights, tokens| {
        models::olmo2::Model::new(&config(keys), weights)?.forward(tokens, 0)
    });
}
