//! Feeds a model folder: configuration, tokenizer, safetensors headers, index, chat template, in any combination; what the input leaves out is
//! that of a small whole model, with weights made for the configuration. Reading it must answer with a model or with an error that names a
//! file, and never panic, nor take memory for what a header or a configuration only claims. A model that is accepted encodes a text, runs
//! forward, and is steered.
//!
//! Input: parts that are files, by their names (see `FILES`); `@@header` is a safetensors header whose length is written for it, and to
//! which the data that it announces are added.

#![no_main]

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use reachspec::model::{
    Cell, LanguageModel, ModelHeader, Probe, Resources, Sequence, Steering,
    TensorTransformer, Transformer,
};
use reachspec::spec::doses::Apply;
use reachspec::spec::model::Dtype;
use reachspec::units::{Dose, NeuronId};
use reachspec_fuzz::parts::{part, parts};
use reachspec_fuzz::tiny;

const FILES: [&str; 8] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors",
    "model.safetensors.index.json",
    "a.safetensors",
];
/// A model that is read may be as large as its files say; one that is run is small.
const MOST_RUN: usize = 1 << 20;

fuzz_target!(|input: &[u8]| {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tiny::folder("model"));
    write(folder, &parts(input));
    match ModelHeader::read(folder) {
        Err(error) => assert!(!error.to_string().is_empty()),
        Ok(header) => {
            let tokens = encode(&header);
            if header.shape.parameters > MOST_RUN || header.shape.context > MOST_RUN {
                return;
            }
            let resources = Resources {
                threads: 1,
                memory: 256 << 20,
            };
            if let Ok(model) = Transformer::load(header, resources) {
                run(&model, &tokens);
            }
            // The other engine.
            let header = ModelHeader::read(folder).expect("as before");
            let (device, dtype) = (candle_core::Device::Cpu, Dtype::F32);
            if let Ok(model) = TensorTransformer::load(header, &device, dtype) {
                run(&model, &tokens);
            }
        }
    }
});

/// Writes the files of the input, and the others as they are in the small model.
fn write(folder: &Path, parts: &[(&[u8], &[u8])]) {
    for name in FILES {
        let path = folder.join(name);
        match content(name, parts) {
            Some(content) => std::fs::write(path, content).expect("a folder that can be written"),
            None => drop(std::fs::remove_file(path)),
        }
    }
}

fn content(name: &str, parts: &[(&[u8], &[u8])]) -> Option<Vec<u8>> {
    if let Some(given) = part(parts, name) {
        return Some(given.to_vec());
    }
    match name {
        "config.json" => Some(tiny::config().to_string().into_bytes()),
        "tokenizer.json" => Some(tiny::tokenizer().to_string().into_bytes()),
        "tokenizer_config.json" => Some(tiny::tokenizer_config().to_string().into_bytes()),
        "model.safetensors" => match part(parts, "header") {
            Some(header) => Some(tiny::weights(header)),
            None if part(parts, "a.safetensors").is_some() => None,
            None => {
                let config = content("config.json", parts)?;
                let header = tiny::header(std::str::from_utf8(&config).ok()?)?;
                Some(tiny::weights(header.to_string().as_bytes()))
            }
        },
        _ => None,
    }
}

/// Text to tokens and back, in every way there is.
fn encode(header: &ModelHeader) -> Vec<u32> {
    let codec = &header.codec;
    let chat = [reachspec::spec::prompts::ChatMessage {
        role: "user".into(),
        content: "two one".into(),
    }];
    if let Ok(tokens) = codec.encode_chat(&chat) {
        codec.decode(&tokens);
    }
    if let Ok(tokens) = codec.encode_continuation(" five") {
        codec.decode(&tokens);
    }
    for id in [0, 3, 7, u32::MAX] {
        codec.token_text(id);
    }
    let tokens = codec.encode_text("one two <s> é").unwrap_or_default();
    codec.decode(&tokens);
    let known = tokens
        .iter()
        .filter(|id| (**id as usize) < header.shape.vocab);
    match known.copied().take(4).collect::<Vec<u32>>() {
        none if none.is_empty() => vec![0],
        some => some,
    }
}

/// Two rollouts, one steered, and what is read of a forward pass. Errors are answers.
fn run(model: &dyn LanguageModel, tokens: &[u32]) {
    let shape = model.shape();
    let (layers, d_ff, vocab) = (shape.layers, shape.d_ff, shape.vocab);
    let neuron = NeuronId {
        layer: layers.saturating_sub(1),
        index: d_ff.saturating_sub(1),
    };
    let cell = |steering| Cell {
        prompt: tokens,
        steering,
        horizon: 3,
        stop_at_end: true,
        stop_at_loop: None,
        sample: None,
    };
    let steering = Steering {
        neuron,
        dose: Dose(1.5),
        apply: Apply::Generation,
        window: None,
    };
    let cells = [cell(None), cell(Some(steering))];
    let _ = model.rollouts(&cells, &mut |_, rollout| {
        assert!(rollout.tokens.iter().all(|id| (*id as usize) < vocab));
        assert!(rollout.nll.iter().all(|nll| nll.is_finite()));
        assert!(rollout.cosines.iter().all(|cosine| cosine.is_finite()));
        model.decode(&rollout.tokens);
        Ok(())
    });
    let probe = Probe {
        residuals: true,
        activations: true,
        ffn_outputs: true,
        embedded: true,
        logits: true,
    };
    let sequence = Sequence { tokens, from: 0 };
    let _ = model.observe(&[sequence], probe, &mut |_, observed| {
        assert_eq!(observed.logits.len(), tokens.len() * vocab);
    });
    if layers > 0 && d_ff > 0 {
        model.effective_write(neuron);
    }
}
