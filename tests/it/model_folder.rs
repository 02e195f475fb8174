//! Whole and broken model folders: what is read, and what every error says.

use reachspec::model::ModelHeader;
use reachspec::model::checkpoint::Checkpoint;
use safetensors::Dtype;
use serde_json::json;

use crate::shared;
use crate::tiny::{TinyModel, WORDS, Weights, config, tokenizer, weights};

const DOWN: &str = "model.layers.1.mlp.down_proj.weight";

/// The error of reading the header, which must name `file` and hold every one of `words`.
fn header_error(model: &TinyModel, file: &str, words: &[&str]) {
    let error = match ModelHeader::read(model.path()) {
        Ok(_) => panic!("the folder was accepted; expected an error with {words:?}"),
        Err(error) => error.to_string(),
    };
    for word in words.iter().chain([&file]) {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

fn with_weights(change: impl FnOnce(&mut Weights)) -> TinyModel {
    let model = TinyModel::new();
    let mut weights = weights();
    change(&mut weights);
    model.write_weights("model.safetensors", &weights, Dtype::F32);
    model
}

#[test]
fn a_whole_folder_is_read() {
    let model = TinyModel::new();
    let header = ModelHeader::read(model.path()).unwrap();
    assert_eq!((header.shape.layers, header.shape.d_ff), (2, 6));
    assert_eq!(header.end_of_text, [2]);
    let files: Vec<&str> = header.files.keys().map(String::as_str).collect();
    let expected = [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ];
    assert_eq!(files, expected);
    assert_eq!(header.codec.encode_text("two one").unwrap(), [4, 3]);
}

#[test]
fn hashes_are_those_of_the_bytes() {
    let model = TinyModel::new();
    model.write("chat_template.jinja", "abc");
    let header = ModelHeader::read(model.path()).unwrap();
    // FIPS 180-4's own example.
    assert_eq!(
        header.files["chat_template.jinja"],
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
}

#[test]
fn tensors_are_read_in_every_stored_type() {
    let expected = weights()[DOWN].1.clone();
    for dtype in [Dtype::F32, Dtype::BF16] {
        let model = TinyModel::new();
        model.write_weights("model.safetensors", &weights(), dtype);
        let checkpoint = Checkpoint::open(model.path()).unwrap();
        assert_eq!(checkpoint.values(DOWN, &[4, 6]).unwrap(), expected);
    }
}

#[test]
fn a_tensor_longer_than_one_piece_is_read_whole() {
    let model = TinyModel::new();
    let values: Vec<f32> = (0..600_000).map(|i| i as f32).collect();
    let weights = Weights::from([("long".into(), (vec![3, 200_000], values.clone()))]);
    model.write_weights("model.safetensors", &weights, Dtype::F32);
    let checkpoint = Checkpoint::open(model.path()).unwrap();
    assert_eq!(checkpoint.values("long", &[3, 200_000]).unwrap(), values);
}

#[test]
fn shards_are_read_through_their_index() {
    let model = TinyModel::new();
    model.remove("model.safetensors");
    let (mut first, mut second) = (Weights::new(), Weights::new());
    let mut map = serde_json::Map::new();
    for (number, (name, tensor)) in weights().into_iter().enumerate() {
        let (shard, file) = match number % 2 {
            0 => (&mut first, "a.safetensors"),
            _ => (&mut second, "b.safetensors"),
        };
        shard.insert(name.clone(), tensor);
        map.insert(name, file.into());
    }
    model.write_weights("a.safetensors", &first, Dtype::F32);
    model.write_weights("b.safetensors", &second, Dtype::F32);
    let index = json!({"metadata": {}, "weight_map": map});
    model.write_json("model.safetensors.index.json", &index);
    let header = ModelHeader::read(model.path()).unwrap();
    assert!(
        header.files.contains_key("a.safetensors") && header.files.contains_key("b.safetensors")
    );

    let mut lying = index.clone();
    lying["weight_map"]["model.norm.weight"] = "a.safetensors".into();
    lying["weight_map"]["lm_head.weight"] = "b.safetensors".into();
    model.write_json("model.safetensors.index.json", &lying);
    header_error(&model, "index.json", &["and it is not"]);

    lying["weight_map"]["model.norm.weight"] = "../a.safetensors".into();
    model.write_json("model.safetensors.index.json", &lying);
    header_error(&model, "index.json", &["not a plain file name"]);

    second.extend(first);
    model.write_weights("b.safetensors", &second, Dtype::F32);
    model.write_json("model.safetensors.index.json", &index);
    header_error(&model, "b.safetensors", &["another shard"]);
}

#[test]
fn a_truncated_file_is_named_before_anything_is_loaded() {
    let model = TinyModel::new();
    let whole = std::fs::read(model.file("model.safetensors")).unwrap();
    model.write("model.safetensors", &whole[..whole.len() - 1]);
    header_error(
        &model,
        "model.safetensors",
        &["not fetched or copied completely"],
    );
    model.write("model.safetensors", &whole[..100]);
    header_error(&model, "model.safetensors", &["cut short"]);
    model.write("model.safetensors", &whole[..7]);
    header_error(&model, "model.safetensors", &["7 bytes"]);
}

#[test]
fn lying_headers_are_errors_and_allocate_nothing() {
    let model = TinyModel::new();
    let file = |header: &str, data: usize| {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        bytes
    };
    let huge = r#"{"x":{"dtype":"F32","shape":[4611686018427387904,16],"data_offsets":[0,8]}}"#;
    let gap = r#"{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#;
    let short = r#"{"x":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}}"#;
    let past = r#"{"x":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}"#;
    for header in [huge, gap, short, past, "{", "[]", "\u{1}", ""] {
        model.write("model.safetensors", file(header, 8));
        header_error(&model, "model.safetensors", &["fetch it again"]);
    }
    model.write("model.safetensors", u64::MAX.to_le_bytes());
    header_error(
        &model,
        "model.safetensors",
        &["cut short or not safetensors"],
    );
}

#[test]
fn every_misfit_is_listed_at_once() {
    let model = with_weights(|weights| {
        weights.get_mut(DOWN).unwrap().0 = vec![6, 4];
        weights.remove("model.norm.weight");
        weights.insert("model.layers.0.mlp.extra".into(), (vec![1], vec![0.0]));
        let frequencies = "model.layers.0.self_attn.rotary_emb.inv_freq".into();
        weights.insert(frequencies, (vec![1], vec![0.0]));
    });
    header_error(
        &model,
        "model.safetensors",
        &[
            "`model.layers.1.mlp.down_proj.weight` has shape [6, 4], expected [4, 6]",
            "missing: `model.norm.weight`",
            "unexpected: `model.layers.0.mlp.extra`",
        ],
    );
    let error = Checkpoint::open(model.path())
        .unwrap()
        .values(DOWN, &[4, 6])
        .unwrap_err();
    assert!(error.to_string().contains("[6, 4]"), "{error}");
}

#[test]
fn a_key_that_stands_twice_is_refused_even_where_both_say_the_same() {
    let twice = |key: &str, text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        text.replacen('{', &format!("{{\"{key}\": {},", value[key]), 1)
    };
    let model = TinyModel::new();
    model.write("config.json", twice("model_type", &config().to_string()));
    header_error(&model, "config.json", &["`model_type` stands there twice"]);

    let model = TinyModel::new();
    let generation = r#"{"eos_token_id": 2, "eos_token_id": 2}"#;
    model.write("generation_config.json", generation);
    let said = "`eos_token_id` stands there twice";
    header_error(&model, "generation_config.json", &[said]);

    let model = TinyModel::new();
    let stored = std::fs::read(model.file("model.safetensors")).unwrap();
    let (size, rest) = stored.split_first_chunk().unwrap();
    let (header, data) = rest.split_at(u64::from_le_bytes(*size) as usize);
    let header = twice(DOWN, std::str::from_utf8(header).unwrap());
    let size = (header.len() as u64).to_le_bytes();
    model.write(
        "model.safetensors",
        [&size[..], header.as_bytes(), data].concat(),
    );
    let said = format!("`{DOWN}` stands there twice");
    header_error(&model, "model.safetensors", &[&said]);
}

#[test]
fn a_configuration_with_absurdly_many_layers_is_refused_quickly() {
    let model = TinyModel::new();
    let mut config = config();
    config["num_hidden_layers"] = 16_000_000.into();
    model.write_json("config.json", &config);
    header_error(&model, "config.json", &["num_hidden_layers", "16000000"]);
    config["num_hidden_layers"] = 60_000.into();
    model.write_json("config.json", &config);
    header_error(&model, "model.safetensors", &["layers: 60000"]);
}

#[test]
fn tied_embeddings_lie_under_either_name_and_untied_ones_under_both() {
    let mut tied = config();
    tied["tie_word_embeddings"] = true.into();
    for kept in ["model.embed_tokens.weight", "lm_head.weight"] {
        let model = with_weights(|weights| {
            weights.retain(|name, _| {
                name == kept || name.starts_with("model.layers") || name == "model.norm.weight"
            });
        });
        let missing = match kept {
            "lm_head.weight" => "model.embed_tokens.weight",
            _ => "lm_head.weight",
        };
        header_error(&model, "model.safetensors", &["missing", missing]);
        model.write_json("config.json", &tied);
        ModelHeader::read(model.path()).unwrap();
        let checkpoint = Checkpoint::open(model.path()).unwrap();
        let values = checkpoint
            .values("model.embed_tokens.weight", &[8, 4])
            .unwrap();
        assert_eq!(values, weights()[kept].1);
    }
    // Both, and different from each other: which one is meant?
    let both = TinyModel::new();
    both.write_json("config.json", &tied);
    header_error(
        &both,
        "model.safetensors",
        &["`lm_head.weight` differs", "tie_word_embeddings"],
    );
    let same = with_weights(|weights| {
        let embedding = weights["model.embed_tokens.weight"].clone();
        weights.insert("lm_head.weight".into(), embedding);
    });
    same.write_json("config.json", &tied);
    ModelHeader::read(same.path()).unwrap();
}

#[test]
fn biases_are_expected_when_the_configuration_has_them() {
    let model = TinyModel::new();
    let mut config = config();
    config["attention_bias"] = true.into();
    model.write_json("config.json", &config);
    header_error(
        &model,
        "model.safetensors",
        &["missing", "self_attn.o_proj.bias"],
    );
}

#[test]
fn a_weight_that_is_no_number_is_found_when_it_is_loaded() {
    for value in [f32::NAN, f32::INFINITY] {
        let model = with_weights(|weights| weights.get_mut(DOWN).unwrap().1[5] = value);
        ModelHeader::read(model.path()).unwrap();
        let checkpoint = Checkpoint::open(model.path()).unwrap();
        let error = checkpoint.values(DOWN, &[4, 6]).unwrap_err().to_string();
        assert!(
            error.contains(DOWN) && error.contains("element 5"),
            "{error}"
        );
        checkpoint.values("model.norm.weight", &[4]).unwrap();
    }
}

#[test]
fn other_number_types_are_refused_by_name() {
    let model = TinyModel::new();
    model.write_weights("model.safetensors", &weights(), Dtype::I32);
    header_error(&model, "model.safetensors", &["i32", "f32, f16 and bf16"]);
}

#[test]
fn pickles_are_not_opened() {
    let model = TinyModel::new();
    model.remove("model.safetensors");
    header_error(&model, "", &["no model.safetensors"]);
    model.write("pytorch_model.bin", "not read");
    header_error(
        &model,
        "pytorch_model.bin",
        &["pickle", "convert it to safetensors"],
    );
}

#[test]
fn a_tokenizer_of_another_model_is_refused() {
    let model = TinyModel::new();
    let words = [&WORDS[..], &["six"]].concat();
    model.write_json("tokenizer.json", &tokenizer(&words));
    header_error(
        &model,
        "tokenizer.json",
        &["\"six\"", "id 8", "`vocab_size`"],
    );
    // Rows without a token are padding.
    model.write_json("tokenizer.json", &tokenizer(&WORDS[..6]));
    ModelHeader::read(model.path()).unwrap();
}

#[test]
fn missing_and_damaged_small_files_are_named() {
    for file in ["tokenizer.json", "config.json"] {
        let model = TinyModel::new();
        model.write(file, "{");
        header_error(&model, file, &[]);
        model.remove(file);
        header_error(&model, file, &[]);
    }
    for file in ["tokenizer_config.json", "generation_config.json"] {
        let model = TinyModel::new();
        model.write(file, "{");
        header_error(&model, file, &["not valid JSON"]);
    }
    let model = TinyModel::new();
    model.remove("tokenizer.json");
    model.write("tokenizer.model", "");
    header_error(&model, "tokenizer.json", &["save_pretrained"]);
}

#[test]
fn generation_config_has_the_last_word_on_end_of_text() {
    let model = TinyModel::new();
    model.write_json("generation_config.json", &json!({"eos_token_id": [2, 5]}));
    assert_eq!(ModelHeader::read(model.path()).unwrap().end_of_text, [2, 5]);
    model.write_json("generation_config.json", &json!({"temperature": 1.0}));
    assert_eq!(ModelHeader::read(model.path()).unwrap().end_of_text, [2]);
    model.write_json("generation_config.json", &json!({"eos_token_id": 9}));
    header_error(&model, "", &["eos_token_id", "9"]);
}

#[test]
fn stories260k_is_read() {
    let Some(folder) = shared::model("stories260k") else {
        return;
    };
    let header = ModelHeader::read(&folder).unwrap();
    assert_eq!((header.shape.layers, header.shape.d_ff), (5, 172));
    assert_eq!(header.end_of_text, [2]);
    let checkpoint = Checkpoint::open(&folder).unwrap();
    checkpoint.values("model.norm.weight", &[64]).unwrap();
}
