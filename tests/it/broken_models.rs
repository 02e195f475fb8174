//! Model folders with one thing broken each: what `check`, `plan` and `run` say about them.

#![cfg(target_os = "linux")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

use crate::bad_inputs::{Visit, Workplace, answers};
use crate::odd_files::{circle, endless, folder, nested, pipe, vast};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const CONFIG: &str = "config.json";
const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const GENERATION: &str = "generation_config.json";
const TEMPLATE: &str = "chat_template.jinja";
const DOWN: &str = "model.layers.3.mlp.down_proj.weight";
const NORM: &str = "model.norm.weight";

/// What is done with the model.
#[derive(Clone, Copy)]
enum With {
    Check,
    Plan,
    Run,
}
use With::{Check, Plan, Run};

/// A name, what shows the fault, and how it is made.
type Case = (&'static str, With, fn(&Model));

/// A copy of the shipped model, to be broken.
struct Model(Workplace);

impl Model {
    fn file(&self, name: &str) -> PathBuf {
        self.0.path("model").join(name)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.file(name)).unwrap()
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        fs::write(self.file(name), content).unwrap();
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.file(name)).unwrap();
    }

    /// Changes a JSON file.
    fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let mut value = serde_json::from_slice(&self.read(name)).unwrap();
        change(&mut value);
        self.write(name, value.to_string());
    }

    /// Sets a key of `config.json`, its value as it is written.
    fn config(&self, key: &str, written: &str) {
        let mut config: Map<String, Value> = serde_json::from_slice(&self.read(CONFIG)).unwrap();
        config.remove(key);
        let rest = Value::from(config).to_string();
        self.write(
            CONFIG,
            rest.replacen('{', &format!("{{\n\"{key}\": {written},\n"), 1),
        );
    }

    /// Cuts a file off.
    fn cut(&self, name: &str, length: usize) {
        let bytes = self.read(name);
        self.write(name, &bytes[..length.min(bytes.len())]);
    }

    /// The header of the weights, and what follows it.
    fn weights(&self) -> (Map<String, Value>, Vec<u8>) {
        let bytes = self.read(WEIGHTS);
        let (size, rest) = bytes.split_first_chunk().unwrap();
        let (header, data) = rest.split_at(u64::from_le_bytes(*size) as usize);
        (serde_json::from_slice(header).unwrap(), data.to_owned())
    }

    fn write_weights(&self, header: &Map<String, Value>, data: &[u8]) {
        self.write(
            WEIGHTS,
            weights(&Value::from(header.clone()).to_string(), data),
        );
    }

    /// Changes the header of the weights.
    fn header(&self, change: impl FnOnce(&mut Map<String, Value>)) {
        let (mut header, data) = self.weights();
        change(&mut header);
        self.write_weights(&header, &data);
    }

    /// Replaces the header of the weights by a text, before the same data.
    fn header_text(&self, text: &str) {
        let (_, data) = self.weights();
        self.write(WEIGHTS, weights(text, &data));
    }

    /// Writes other numbers over the beginning of a tensor: the upper halves of `f32`, as bf16 is stored.
    fn numbers(&self, tensor: &str, numbers: &[f32]) {
        let (header, mut data) = self.weights();
        let start = header[tensor]["data_offsets"][0].as_u64().unwrap() as usize;
        for (at, number) in numbers.iter().enumerate() {
            let half = (number.to_bits() >> 16) as u16;
            data[start + 2 * at..][..2].copy_from_slice(&half.to_le_bytes());
        }
        self.write_weights(&header, &data);
    }

    /// Replaces a file by something else of that name.
    fn instead(&self, name: &str, make: impl FnOnce(&Path)) {
        let file = self.file(name);
        if file.exists() {
            fs::remove_file(&file).unwrap();
        }
        make(&file);
    }

    /// Puts the tensors into two shards, and an index beside them that `change` makes a lie.
    fn shards(&self, change: impl FnOnce(&Self, &mut Value)) {
        let (header, data) = self.weights();
        let mut map = Map::new();
        for (number, shard) in ["a.safetensors", "b.safetensors"].into_iter().enumerate() {
            let (mut part, mut bytes) = (Map::new(), Vec::new());
            let tensors = header.iter().filter(|(name, _)| *name != "__metadata__");
            for (name, tensor) in tensors.skip(number).step_by(2) {
                let at = |end: usize| tensor["data_offsets"][end].as_u64().unwrap() as usize;
                let mut tensor = tensor.clone();
                let start = bytes.len();
                bytes.extend(&data[at(0)..at(1)]);
                tensor["data_offsets"] = json!([start, bytes.len()]);
                part.insert(name.clone(), tensor);
                map.insert(name.clone(), shard.into());
            }
            self.write(shard, weights(&Value::from(part).to_string(), &bytes));
        }
        self.remove(WEIGHTS);
        let mut index = json!({"weight_map": map});
        change(self, &mut index);
        self.write(INDEX, index.to_string());
    }

    fn command(&self, with: With) -> Command {
        self.0.reachspec(match with {
            Check => &["check", "study.yaml"],
            Plan => &["plan", "study.yaml"],
            Run => &["run", "study.yaml", "--out", "run"],
        })
    }
}

/// A safetensors file.
fn weights(header: &str, data: &[u8]) -> Vec<u8> {
    [
        &(header.len() as u64).to_le_bytes(),
        header.as_bytes(),
        data,
    ]
    .concat()
}

const HEADERS: &[Case] = &[
    ("empty", Check, |m| m.write(WEIGHTS, "")),
    ("seven bytes", Check, |m| m.cut(WEIGHTS, 7)),
    ("cut within the header", Check, |m| m.cut(WEIGHTS, 1000)),
    ("cut within the data", Check, |m| m.cut(WEIGHTS, 1_000_000)),
    ("one byte short", Check, |m| {
        m.cut(WEIGHTS, m.read(WEIGHTS).len() - 1)
    }),
    ("one byte too many", Check, |m| {
        m.write(WEIGHTS, [m.read(WEIGHTS), vec![0]].concat())
    }),
    ("header of no bytes", Check, |m| m.header_text("")),
    ("header length beyond the file", Check, |m| {
        let bytes = m.read(WEIGHTS);
        m.write(
            WEIGHTS,
            [&(bytes.len() as u64).to_le_bytes(), &bytes[8..]].concat(),
        );
    }),
    ("header length 2^63", Check, |m| {
        m.write(
            WEIGHTS,
            [&(1_u64 << 63).to_le_bytes(), &m.read(WEIGHTS)[8..]].concat(),
        )
    }),
    ("header length -1", Check, |m| {
        m.write(WEIGHTS, [&[0xff; 8], &m.read(WEIGHTS)[8..]].concat())
    }),
    ("header length one short", Check, |m| {
        let bytes = m.read(WEIGHTS);
        let size = u64::from_le_bytes(*bytes.first_chunk().unwrap()) - 1;
        m.write(WEIGHTS, [&size.to_le_bytes(), &bytes[8..]].concat());
    }),
    ("header is not JSON", Check, |m| {
        m.header_text("these are no tensors")
    }),
    ("header is a list", Check, |m| m.header_text("[]")),
    ("header is not UTF-8", Check, |m| {
        let mut bytes = m.read(WEIGHTS);
        bytes[12] = 0xff;
        m.write(WEIGHTS, bytes);
    }),
    ("header of no tensor", Check, |m| {
        m.write(WEIGHTS, weights("{}", &[]))
    }),
    ("header within itself 100,000 times", Check, |m| {
        m.header_text(&nested(100_000))
    }),
    ("header of 120,000 tensors", Check, |m| {
        let tensors: Vec<String> = (0..120_000)
            .map(|n| {
                format!(
                    r#""{n}":{{"dtype":"U8","shape":[],"data_offsets":[{n},{}]}}"#,
                    n + 1
                )
            })
            .collect();
        m.write(
            WEIGHTS,
            weights(&format!("{{{}}}", tensors.join(",")), &vec![0; 120_000]),
        );
    }),
    ("header with a shape of 4,000,000 sizes", Check, |m| {
        let shape = vec!["1"; 4_000_000].join(",");
        m.write(
            WEIGHTS,
            weights(
                &format!(r#"{{"x":{{"dtype":"U8","shape":[{shape}],"data_offsets":[0,1]}}}}"#),
                &[0],
            ),
        );
    }),
    ("offsets overlap", Check, |m| {
        m.header(|h| h[NORM]["data_offsets"] = h[DOWN]["data_offsets"].clone())
    }),
    ("offsets beyond the file", Check, |m| {
        m.header(|h| h[NORM]["data_offsets"] = json!([1_u64 << 62, (1_u64 << 62) + 256]))
    }),
    ("offsets backwards", Check, |m| {
        m.header(|h| h[NORM]["data_offsets"].as_array_mut().unwrap().reverse())
    }),
    ("offsets negative", Check, |m| {
        m.header(|h| h[NORM]["data_offsets"] = json!([-256, 0]))
    }),
    ("number type unknown", Check, |m| {
        m.header(|h| h[NORM]["dtype"] = "FLOAT".into())
    }),
    ("number type not of a language model", Check, |m| {
        m.header(|h| h[NORM]["dtype"] = "I16".into())
    }),
    ("shape overflows", Check, |m| {
        m.header(|h| h[NORM]["shape"] = json!([u64::MAX, 2, 64]))
    }),
    ("shape negative", Check, |m| {
        m.header(|h| h[NORM]["shape"] = json!([-128]))
    }),
    ("shape of another size", Check, |m| {
        m.header(|h| h[NORM]["shape"] = json!([64]))
    }),
    ("shape turned", Check, |m| {
        m.header(|h| h[DOWN]["shape"].as_array_mut().unwrap().reverse())
    }),
    ("tensor missing", Check, |m| {
        m.header(|h| {
            let tensor = h.remove(NORM).unwrap();
            h.insert("model.norm.wait".into(), tensor);
        })
    }),
    ("tensor of no element", Check, |m| {
        let (mut header, data) = m.weights();
        header.insert(
            "model.layers.0.extra".into(),
            json!({"dtype": "BF16", "shape": [0], "data_offsets": [0, 0]}),
        );
        m.write_weights(&header, &data);
    }),
    ("one of ours has no element", Check, |m| {
        let (header, data) = m.weights();
        let at = |end: usize| header[NORM]["data_offsets"][end].as_u64().unwrap() as usize;
        let (start, end) = (at(0), at(1));
        let mut header = header.clone();
        for tensor in header
            .values_mut()
            .filter(|tensor| tensor["data_offsets"].is_array())
        {
            for place in tensor["data_offsets"].as_array_mut().unwrap() {
                let old = place.as_u64().unwrap() as usize;
                *place = (if old >= end { old - (end - start) } else { old }).into();
            }
        }
        header[NORM] = json!({"dtype": "BF16", "shape": [0], "data_offsets": [start, start]});
        m.write_weights(&header, &[&data[..start], &data[end..]].concat());
    }),
    ("a pickle by that name", Check, |m| {
        m.write(WEIGHTS, [b"PK\x03\x04".as_slice(), &[0; 4000]].concat())
    }),
    ("an older pickle by that name", Check, |m| {
        m.write(
            WEIGHTS,
            [
                b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.".as_slice(),
                &[0; 4000],
            ]
            .concat(),
        )
    }),
    ("an error page by that name", Check, |m| {
        m.write(
            WEIGHTS,
            "<!DOCTYPE html><html><head><title>404</title></head></html>",
        )
    }),
    ("a pointer of Git LFS", Check, |m| {
        m.write(WEIGHTS, "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n")
    }),
    ("as long as a disk", Check, |m| m.instead(WEIGHTS, vast)),
];

const VALUES: &[Case] = &[
    ("not a number", Plan, |m| m.numbers(DOWN, &[0.5, f32::NAN])),
    ("infinite", Plan, |m| m.numbers(NORM, &[f32::NEG_INFINITY])),
    ("not a number, in a run", Run, |m| {
        m.numbers(DOWN, &[0.5, f32::NAN])
    }),
    ("infinite, in a run", Run, |m| {
        m.numbers("model.embed_tokens.weight", &[f32::INFINITY])
    }),
    ("too large to be multiplied, in a run", Run, |m| {
        m.numbers(NORM, &[3e38; 128])
    }),
    ("embedding too large, in a run", Run, |m| {
        m.numbers("model.embed_tokens.weight", &[3e38; 356 * 128])
    }),
    ("write direction of length 0, in a run", Run, |m| {
        m.numbers(DOWN, &[0.0; 128 * 384]);
    }),
    ("final norm of zeros, in a run", Run, |m| {
        m.numbers(NORM, &[0.0; 128])
    }),
    ("unembedding of zeros, in a run", Run, |m| {
        m.numbers("model.embed_tokens.weight", &[0.0; 356 * 128])
    }),
];

const FILES: &[Case] = &[
    ("no folder", Check, |m| {
        fs::remove_dir_all(m.file("")).unwrap()
    }),
    ("an empty folder", Check, |m| {
        fs::remove_dir_all(m.file("")).unwrap();
        folder(&m.file(""));
    }),
    ("no weights", Check, |m| m.remove(WEIGHTS)),
    ("weights only as a pickle", Check, |m| {
        fs::rename(m.file(WEIGHTS), m.file("pytorch_model.bin")).unwrap()
    }),
    ("weights only as GGUF", Check, |m| {
        fs::rename(m.file(WEIGHTS), m.file("model.gguf")).unwrap()
    }),
    ("weights are a folder", Check, |m| {
        m.instead(WEIGHTS, folder)
    }),
    ("weights are a pipe", Check, |m| m.instead(WEIGHTS, pipe)),
    ("weights are endless", Check, |m| {
        m.instead(WEIGHTS, endless)
    }),
    ("weights are a link to themselves", Check, |m| {
        m.instead(WEIGHTS, circle)
    }),
    ("weights are a link to nothing", Check, |m| {
        m.instead(WEIGHTS, |p| symlink("nowhere", p).unwrap())
    }),
    ("configuration missing", Check, |m| m.remove(CONFIG)),
    ("configuration is a folder", Check, |m| {
        m.instead(CONFIG, folder)
    }),
    ("configuration is a pipe", Check, |m| {
        m.instead(CONFIG, pipe)
    }),
    ("configuration is endless", Check, |m| {
        m.instead(CONFIG, endless)
    }),
    ("configuration is a link to itself", Check, |m| {
        m.instead(CONFIG, circle)
    }),
    ("configuration is as long as a disk", Check, |m| {
        m.instead(CONFIG, vast)
    }),
    ("configuration of 50 MB", Check, |m| {
        m.write(CONFIG, format!("[{}0]", "0,".repeat(25 << 20)))
    }),
    ("tokenizer is a folder", Check, |m| {
        m.instead(TOKENIZER, folder)
    }),
    ("tokenizer is a pipe", Check, |m| m.instead(TOKENIZER, pipe)),
    ("tokenizer is endless", Check, |m| {
        m.instead(TOKENIZER, endless)
    }),
    ("tokenizer is as long as a disk", Check, |m| {
        m.instead(TOKENIZER, vast)
    }),
    ("tokenizer of 50 MB", Check, |m| {
        m.write(TOKENIZER, format!("[{}0]", "0,".repeat(25 << 20)))
    }),
    ("tokenizer_config.json is a pipe", Check, |m| {
        m.instead(TOKENIZER_CONFIG, pipe)
    }),
    ("tokenizer_config.json is endless", Check, |m| {
        m.instead(TOKENIZER_CONFIG, endless)
    }),
    ("generation_config.json is a pipe", Check, |m| {
        m.instead(GENERATION, pipe)
    }),
    ("generation_config.json is endless", Check, |m| {
        m.instead(GENERATION, endless)
    }),
    ("generation_config.json is a folder", Check, |m| {
        m.instead(GENERATION, folder)
    }),
    ("chat template is a pipe", Check, |m| {
        m.instead(TEMPLATE, pipe)
    }),
    ("chat template is endless", Check, |m| {
        m.instead(TEMPLATE, endless)
    }),
    ("chat template is a folder", Check, |m| {
        m.instead(TEMPLATE, folder)
    }),
    ("index is a pipe", Check, |m| {
        m.remove(WEIGHTS);
        m.instead(INDEX, pipe);
    }),
    ("index is endless", Check, |m| {
        m.remove(WEIGHTS);
        m.instead(INDEX, endless);
    }),
];

const SHARDS: &[Case] = &[
    ("index is not JSON", Check, |m| {
        m.shards(|_, _| {});
        m.write(INDEX, "{\"weight_map\": {");
    }),
    ("index without a map", Check, |m| {
        m.shards(|_, index| *index = json!({"metadata": {}}))
    }),
    ("index of no tensor", Check, |m| {
        m.shards(|_, index| index["weight_map"] = json!({}))
    }),
    ("index names no text", Check, |m| {
        m.shards(|_, index| index["weight_map"][NORM] = 3.into())
    }),
    ("shard missing", Check, |m| {
        m.shards(|m, _| m.remove("b.safetensors"))
    }),
    ("shard truncated", Check, |m| {
        m.shards(|m, _| m.cut("b.safetensors", 100_000))
    }),
    ("shard above the folder", Check, |m| {
        m.shards(|_, index| index["weight_map"][NORM] = "../b.safetensors".into())
    }),
    ("shard by its whole path", Check, |m| {
        m.shards(|_, index| index["weight_map"][NORM] = "/etc/passwd".into())
    }),
    ("shard is the folder", Check, |m| {
        m.shards(|_, index| index["weight_map"][NORM] = "..".into())
    }),
    ("shard is a file of another kind", Check, |m| {
        m.shards(|_, index| index["weight_map"][NORM] = CONFIG.into())
    }),
    ("shard is a pipe", Check, |m| {
        m.shards(|m, _| m.instead("b.safetensors", pipe))
    }),
    ("shard is endless", Check, |m| {
        m.shards(|m, _| m.instead("b.safetensors", endless))
    }),
    ("shard is a folder", Check, |m| {
        m.shards(|m, _| m.instead("b.safetensors", folder))
    }),
    ("tensor in the other shard", Check, |m| {
        m.shards(|_, index| index["weight_map"][NORM] = "a.safetensors".into())
    }),
    ("tensor in both shards", Check, |m| {
        m.shards(|m, _| fs::write(m.file("b.safetensors"), m.read("a.safetensors")).unwrap())
    }),
    ("index of 50 MB", Check, |m| {
        m.shards(|_, _| {});
        m.write(
            INDEX,
            format!("{{\"weight_map\": [{}0]}}", "0,".repeat(25 << 20)),
        );
    }),
];

const CONFIGURATIONS: &[Case] = &[
    ("empty", Check, |m| m.write(CONFIG, "")),
    ("not JSON", Check, |m| m.write(CONFIG, "model_type: llama")),
    ("cut off", Check, |m| m.cut(CONFIG, 200)),
    ("not UTF-8", Check, |m| {
        m.write(CONFIG, b"{\"model_type\": \"\xff\"}")
    }),
    ("a list", Check, |m| m.write(CONFIG, "[1, 2]")),
    ("null", Check, |m| m.write(CONFIG, "null")),
    ("within itself 100,000 times", Check, |m| {
        m.write(CONFIG, nested(100_000))
    }),
    ("no model_type", Check, |m| m.config("model_type", "null")),
    ("model_type unknown", Check, |m| {
        m.config("model_type", "\"mamba\"")
    }),
    ("model_type is a number", Check, |m| {
        m.config("model_type", "3")
    }),
    ("model_type of another family", Check, |m| {
        m.config("model_type", "\"gpt2\"")
    }),
    ("hidden_size missing", Check, |m| {
        m.config("hidden_size", "null")
    }),
    ("hidden_size 0", Check, |m| m.config("hidden_size", "0")),
    ("hidden_size negative", Check, |m| {
        m.config("hidden_size", "-128")
    }),
    ("hidden_size with a fraction", Check, |m| {
        m.config("hidden_size", "128.5")
    }),
    ("hidden_size 2^62", Check, |m| {
        m.config("hidden_size", "4611686018427387904")
    }),
    ("hidden_size beyond 64 bits", Check, |m| {
        m.config("hidden_size", "99999999999999999999999999")
    }),
    ("hidden_size is a text", Check, |m| {
        m.config("hidden_size", "\"128\"")
    }),
    ("hidden_size 2^24", Check, |m| {
        m.config("hidden_size", "16777216")
    }),
    ("hidden_size of another model", Check, |m| {
        m.config("hidden_size", "256")
    }),
    ("layers 0", Check, |m| m.config("num_hidden_layers", "0")),
    ("layers 10^9", Check, |m| {
        m.config("num_hidden_layers", "1000000000")
    }),
    ("layers 16 million", Check, |m| {
        m.config("num_hidden_layers", "16000000")
    }),
    ("layers 16 million, of Mistral", Check, |m| {
        m.config("num_hidden_layers", "16000000");
        m.config("model_type", "\"mistral\"");
    }),
    ("layers one more", Check, |m| {
        m.config("num_hidden_layers", "9")
    }),
    ("heads 0", Check, |m| m.config("num_attention_heads", "0")),
    ("heads that do not divide", Check, |m| {
        m.config("num_key_value_heads", "3")
    }),
    ("heads more than the width", Check, |m| {
        m.config("num_attention_heads", "16000000");
        m.config("head_dim", "null");
    }),
    ("head_dim odd", Check, |m| m.config("head_dim", "33")),
    ("head_dim huge", Check, |m| m.config("head_dim", "16777216")),
    ("neurons 0", Check, |m| m.config("intermediate_size", "0")),
    ("vocab_size 0", Check, |m| m.config("vocab_size", "0")),
    ("vocab_size huge", Check, |m| {
        m.config("vocab_size", "16777216")
    }),
    ("vocab_size smaller than the tokenizer", Check, |m| {
        m.config("vocab_size", "300")
    }),
    ("context 0", Check, |m| {
        m.config("max_position_embeddings", "0")
    }),
    ("context of 8 tokens", Check, |m| {
        m.config("max_position_embeddings", "8")
    }),
    ("context beyond counting", Check, |m| {
        m.config("max_position_embeddings", "1000000000000")
    }),
    ("rope_theta 0", Check, |m| m.config("rope_theta", "0")),
    ("rope_theta negative", Check, |m| {
        m.config("rope_theta", "-10000.0")
    }),
    ("rope_theta NaN", Check, |m| m.config("rope_theta", "NaN")),
    ("rope_theta infinite", Check, |m| {
        m.config("rope_theta", "1e999")
    }),
    ("rope_theta too small for f32", Check, |m| {
        m.config("rope_theta", "1e-300")
    }),
    ("rope_theta too large for f32", Check, |m| {
        m.config("rope_theta", "1e300")
    }),
    ("rope_scaling unknown", Check, |m| {
        m.config("rope_scaling", r#"{"type": "yarn", "factor": 4}"#)
    }),
    ("rope_scaling by 0", Check, |m| {
        m.config("rope_scaling", r#"{"type": "linear", "factor": 0}"#)
    }),
    ("rope_scaling too small for f32", Check, |m| {
        m.config("rope_scaling", r#"{"type": "linear", "factor": 1e-300}"#)
    }),
    ("rope_scaling is a text", Check, |m| {
        m.config("rope_scaling", "\"linear\"")
    }),
    ("rms_norm_eps negative", Check, |m| {
        m.config("rms_norm_eps", "-1e-6")
    }),
    ("rms_norm_eps is a text", Check, |m| {
        m.config("rms_norm_eps", "\"1e-6\"")
    }),
    ("rms_norm_eps 1", Check, |m| m.config("rms_norm_eps", "1")),
    ("hidden_act unknown", Check, |m| {
        m.config("hidden_act", "\"relu\"")
    }),
    ("hidden_act is a list", Check, |m| {
        m.config("hidden_act", "[\"silu\"]")
    }),
    ("tie_word_embeddings is a text", Check, |m| {
        m.config("tie_word_embeddings", "\"yes\"")
    }),
    ("tie_word_embeddings false", Check, |m| {
        m.config("tie_word_embeddings", "false")
    }),
    ("attention_bias true", Check, |m| {
        m.config("attention_bias", "true")
    }),
    ("quantised", Check, |m| {
        m.config("quantization_config", "{\"bits\": 4}")
    }),
    ("eos_token_id beyond the vocabulary", Check, |m| {
        m.config("eos_token_id", "356")
    }),
    ("eos_token_id negative", Check, |m| {
        m.config("eos_token_id", "-1")
    }),
    ("eos_token_id is a text", Check, |m| {
        m.config("eos_token_id", "\"<eos>\"")
    }),
    ("generation_config.json is not JSON", Check, |m| {
        m.write(GENERATION, "{")
    }),
    ("generation_config.json is a list", Check, |m| {
        m.write(GENERATION, "[4]")
    }),
    (
        "generation_config.json: eos beyond the vocabulary",
        Check,
        |m| m.write(GENERATION, "{\"eos_token_id\": [4, 4294967295]}"),
    ),
    ("generation_config.json: eos beyond 32 bits", Check, |m| {
        m.write(GENERATION, "{\"eos_token_id\": 4294967296}")
    }),
    ("generation_config.json: eos with a fraction", Check, |m| {
        m.write(GENERATION, "{\"eos_token_id\": 4.5}")
    }),
    ("generation_config.json: eos within lists", Check, |m| {
        m.write(GENERATION, "{\"eos_token_id\": [[4]]}")
    }),
];

const TOKENIZERS: &[Case] = &[
    ("missing", Check, |m| m.remove(TOKENIZER)),
    ("missing, beside SentencePiece's", Check, |m| {
        fs::rename(m.file(TOKENIZER), m.file("tokenizer.model")).unwrap()
    }),
    ("empty", Check, |m| m.write(TOKENIZER, "")),
    ("not JSON", Check, |m| m.write(TOKENIZER, "a tokenizer")),
    ("cut off", Check, |m| m.cut(TOKENIZER, 5000)),
    ("not UTF-8", Check, |m| {
        m.write(TOKENIZER, b"{\"version\": \"\xff\"}")
    }),
    ("a list", Check, |m| m.write(TOKENIZER, "[]")),
    ("within itself 100,000 times", Check, |m| {
        m.write(TOKENIZER, nested(100_000))
    }),
    ("no model", Check, |m| {
        m.edit(TOKENIZER, |t| t["model"] = Value::Null)
    }),
    ("model of a kind unknown", Check, |m| {
        m.edit(TOKENIZER, |t| t["model"]["type"] = "Syllables".into())
    }),
    ("version unknown", Check, |m| {
        m.edit(TOKENIZER, |t| t["version"] = "9.0".into())
    }),
    ("vocabulary empty", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"]["vocab"] = json!({});
            t["added_tokens"] = json!([]);
            t["post_processor"] = Value::Null;
        })
    }),
    ("vocabulary larger than the model's", Check, |m| {
        m.edit(TOKENIZER, |t| t["model"]["vocab"]["zebra"] = 356.into())
    }),
    ("vocabulary with an id of 2^32 - 1", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"]["vocab"]["zebra"] = u32::MAX.into()
        })
    }),
    ("vocabulary with an id of 2^32", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"]["vocab"]["zebra"] = (1_u64 << 32).into()
        })
    }),
    ("vocabulary with a negative id", Check, |m| {
        m.edit(TOKENIZER, |t| t["model"]["vocab"]["zebra"] = (-1).into())
    }),
    ("no token for unknown words", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"]["unk_token"] = "<missing>".into();
            t["model"]["vocab"].as_object_mut().unwrap().remove("honey");
        })
    }),
    ("added token beyond the vocabulary", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["added_tokens"][5]["id"] = 4_000_000_000_u32.into();
            t["added_tokens"][5]["content"] = "<new>".into();
        })
    }),
    ("added token without content", Check, |m| {
        m.edit(TOKENIZER, |t| {
            drop(
                t["added_tokens"][5]
                    .as_object_mut()
                    .unwrap()
                    .remove("content"),
            )
        })
    }),
    ("added token is a text", Check, |m| {
        m.edit(TOKENIZER, |t| t["added_tokens"][5] = "<new>".into())
    }),
    (
        "template of the post-processor without its token",
        Check,
        |m| {
            m.edit(TOKENIZER, |t| {
                t["post_processor"]["special_tokens"] = json!({})
            })
        },
    ),
    (
        "template of the post-processor with a token beyond the vocabulary",
        Check,
        |m| {
            m.edit(TOKENIZER, |t| {
                t["post_processor"]["special_tokens"]["<bos>"]["ids"] = json!([4_000_000_000_u32])
            })
        },
    ),
    ("pre-tokenizer with a broken pattern", Check, |m| {
        m.edit(TOKENIZER, |t| t["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated", "invert": false}))
    }),
    ("200 patterns", Check, |m| {
        let split = json!({"type": "Split", "pattern": {"Regex": r"\D*\D*\D*[\d#]"}, "behavior": "Isolated", "invert": false});
        m.edit(
            TOKENIZER,
            |t| {
                t["pre_tokenizer"] =
                    json!({"type": "Sequence", "pretokenizers": vec![split.clone(); 200]})
            },
        )
    }),
    ("merges that repeat", Check, |m| {
        m.edit(TOKENIZER, |t| t["model"] = json!({"type": "BPE", "vocab": {"a": 0, "aa": 1}, "merges": vec!["a a"; 1_000_000]}))
    }),
    ("pre-tokenizer with an endless pattern", Check, |m| {
        m.edit(TOKENIZER, |t| t["pre_tokenizer"] = json!({"type": "Split", "pattern": {"Regex": "(([a-z ]+)+)+$~"}, "behavior": "Isolated", "invert": false}))
    }),
    ("normalizer with a broken table", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["normalizer"] = json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})
        })
    }),
    ("normalizer with a lying table", Check, |m| {
        m.edit(
            TOKENIZER,
            |t| {
                t["normalizer"] =
                    json!({"type": "Precompiled", "precompiled_charsmap": "BAAAAP////8="})
            },
        )
    }),
    ("normalizer that makes text grow without end", Check, |m| {
        m.edit(TOKENIZER, |t| {
            let grow =
                json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aaaaaaaaaa"});
            t["normalizer"] = json!({"type": "Sequence", "normalizers": vec![grow; 12]});
        })
    }),
    ("BPE with merges of tokens that are none", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["x y"]})
        })
    }),
    ("BPE with a merge of one part", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": ["a"]})
        })
    }),
    ("BPE with dropout", Check, |m| {
        m.edit(
            TOKENIZER,
            |t| {
                t["model"] = json!({"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": 0.5})
            },
        )
    }),
    ("Unigram without pieces", Check, |m| {
        m.edit(TOKENIZER, |t| {
            t["model"] = json!({"type": "Unigram", "unk_id": 0, "vocab": []})
        })
    }),
    (
        "Unigram with an unknown piece beyond the others",
        Check,
        |m| {
            m.edit(TOKENIZER, |t| {
                t["model"] = json!({"type": "Unigram", "unk_id": 7, "vocab": [["a", -1.0]]})
            })
        },
    ),
    ("Unigram without an unknown piece", Check, |m| {
        m.edit(
            TOKENIZER,
            |t| t["model"] = json!({"type": "Unigram", "unk_id": null, "vocab": [["q", -1.0]]}),
        )
    }),
    ("WordPiece without its prefix", Check, |m| {
        m.edit(TOKENIZER, |t| t["model"] = json!({"type": "WordPiece", "vocab": {"a": 0}, "unk_token": "<none>", "continuing_subword_prefix": "##", "max_input_chars_per_word": 0}))
    }),
    ("tokenizer_config.json is not JSON", Check, |m| {
        m.write(TOKENIZER_CONFIG, "{")
    }),
    ("tokenizer_config.json is a list", Check, |m| {
        m.write(TOKENIZER_CONFIG, "[]")
    }),
    (
        "tokenizer_config.json with an added token that is none",
        Check,
        |m| {
            m.edit(TOKENIZER_CONFIG, |c| {
                c["added_tokens_decoder"] = json!({"356": {"content": 3}})
            })
        },
    ),
    (
        "tokenizer_config.json with an added token beyond the vocabulary",
        Check,
        |m| {
            m.edit(TOKENIZER_CONFIG, |c| c["added_tokens_decoder"] = json!({"356": {"content": "<new>", "lstrip": false, "rstrip": false, "single_word": false, "normalized": false, "special": true}}))
        },
    ),
    (
        "tokenizer_config.json with added tokens that are a list",
        Check,
        |m| m.edit(TOKENIZER_CONFIG, |c| c["added_tokens_decoder"] = json!([1])),
    ),
];

/// With the prompts of the quickstart, which are chats.
const TEMPLATES: &[Case] = &[
    ("none", Check, |m| {
        m.edit(TOKENIZER_CONFIG, |c| c["chat_template"] = Value::Null)
    }),
    ("a number", Check, |m| {
        m.edit(TOKENIZER_CONFIG, |c| c["chat_template"] = 3.into())
    }),
    ("a list without a default", Check, |m| {
        m.edit(TOKENIZER_CONFIG, |c| {
            c["chat_template"] = json!([{"name": "tools", "template": "x"}])
        })
    }),
    ("broken", Check, |m| {
        m.write(TEMPLATE, "{% for message in messages %}")
    }),
    ("not UTF-8", Check, |m| m.write(TEMPLATE, b"\xff\xfe")),
    ("empty", Check, |m| m.write(TEMPLATE, "")),
    ("says the same to everybody", Check, |m| {
        m.write(TEMPLATE, "<bos> hello <assistant>")
    }),
    ("calls what is not there", Check, |m| {
        m.write(TEMPLATE, "{{ open('/etc/passwd') }}")
    }),
    ("includes a file", Check, |m| {
        m.write(TEMPLATE, "{% include '/etc/passwd' %}")
    }),
    ("refuses every message", Check, |m| {
        m.write(TEMPLATE, "{{ raise_exception('I speak to nobody') }}")
    }),
    ("endless", Check, |m| {
        m.write(TEMPLATE, "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}")
    }),
    ("recurses without end", Check, |m| {
        m.write(
            TEMPLATE,
            "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        )
    }),
    ("doubles a text", Check, |m| {
        m.write(TEMPLATE, "{% set ns = namespace(t='x') %}{% for a in range(60) %}{% set ns.t = ns.t ~ ns.t %}{% endfor %}{{ ns.t }}")
    }),
    ("doubles a text with +", Check, |m| {
        m.write(TEMPLATE, "{% set ns = namespace(t='x') %}{% for a in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}")
    }),
    ("doubles a list", Check, |m| {
        m.write(TEMPLATE, "{% set ns = namespace(t=[1]) %}{% for a in range(60) %}{% set ns.t = ns.t + ns.t %}{% endfor %}{{ ns.t }}")
    }),
    ("multiplies a text", Check, |m| {
        m.write(TEMPLATE, "{{ 'x' * 4000000000 }}")
    }),
    ("replaces a letter by many", Check, |m| {
        m.write(TEMPLATE, "{% set ns = namespace(t='x') %}{% for a in range(60) %}{% set ns.t = ns.t | replace('x', 'xxxxxxxxxx') %}{% endfor %}{{ ns.t }}")
    }),
    ("prints the same long text for ever", Check, |m| {
        m.write(
            TEMPLATE,
            format!(
                "{{% set t = '{}' %}}{{% for a in range(90000) %}}{{{{ t }}}}{{% endfor %}}",
                "x".repeat(30_000)
            ),
        )
    }),
    ("prints a tree of lists", Check, |m| {
        m.write(TEMPLATE, "{% set ns = namespace(t=[1]) %}{% for a in range(60) %}{% set ns.t = [ns.t, ns.t] %}{% endfor %}{{ ns.t }}")
    }),
    ("compares trees of lists", Check, |m| {
        m.write(TEMPLATE, "{% set ns = namespace(t=[1], u=[1]) %}{% for a in range(60) %}{% set ns.t = [ns.t, ns.t] %}{% set ns.u = [ns.u, ns.u] %}{% endfor %}{{ ns.t == ns.u }}")
    }),
    ("pads a text", Check, |m| {
        m.write(TEMPLATE, "{{ '%4000000000d' | format(1) }}")
    }),
    ("indents a text", Check, |m| {
        m.write(TEMPLATE, "{{ 'x\nx' | indent(4000000000) }}")
    }),
    ("within itself", Check, |m| {
        m.write(
            TEMPLATE,
            format!("{{{{ {}1{} }}}}", "[".repeat(20_000), "]".repeat(20_000)),
        )
    }),
    ("huge", Check, |m| m.write(TEMPLATE, "x".repeat(50 << 20))),
    ("huge, in tokenizer_config.json", Check, |m| {
        m.edit(TOKENIZER_CONFIG, |c| {
            c["chat_template"] = "x".repeat(50 << 20).into()
        })
    }),
];

const KINDS: [(&str, &[Case]); 7] = [
    ("weights", HEADERS),
    ("numbers", VALUES),
    ("files", FILES),
    ("shards", SHARDS),
    ("config", CONFIGURATIONS),
    ("tokenizer", TOKENIZERS),
    ("template", TEMPLATES),
];

/// Every broken model with the command that is run on it.
pub fn visit(visit: Visit<'_>) {
    for (kind, _) in KINDS {
        visit_kind(kind, visit);
    }
}

fn visit_kind(kind: &str, visit: Visit<'_>) {
    let (_, cases) = KINDS.iter().find(|(name, _)| *name == kind).unwrap();
    for (name, with, break_it) in *cases {
        let model = Model(Workplace::new());
        break_it(&model);
        visit(&format!("{kind}: {name}"), &mut model.command(*with));
    }
}

/// A test for each kind, so that kinds run side by side.
macro_rules! explained {
    ($($test:ident: $kind:literal;)*) => {
        $(#[test]
        fn $test() {
            insta::assert_snapshot!(answers(|visit| visit_kind($kind, visit)));
        })*
    };
}

explained! {
    broken_weights_are_explained: "weights";
    broken_numbers_are_explained: "numbers";
    files_that_are_none_are_explained: "files";
    broken_shards_are_explained: "shards";
    broken_configurations_are_explained: "config";
    broken_tokenizers_are_explained: "tokenizer";
    broken_templates_are_explained: "template";
}
