//! `reachspec inspect`.

use std::process::Output;

use assert_cmd::Command;
use serde_json::{Value, json};

use crate::shared;
use crate::tiny::TinyModel;

fn inspect(folder: &std::path::Path, options: &[&str]) -> Output {
    let mut command = Command::cargo_bin("reachspec").unwrap();
    command.arg("inspect").arg(folder).args(options);
    command.output().unwrap()
}

fn card(folder: &std::path::Path, options: &[&str]) -> Value {
    let output = inspect(folder, &[&["--json"], options].concat());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_card_says_what_is_in_the_folder() {
    let model = TinyModel::new();
    let card = card(model.path(), &[]);
    // Two embeddings of 8 × 4, a final norm, and per layer two norms, four 4 × 4 projections and three of 6 × 4.
    let parameters = 2 * 32 + 4 + 2 * (8 + 64 + 72);
    assert_eq!(card["parameters"], parameters);
    assert_eq!(card["memory"]["weights_bytes"], 4 * parameters);
    assert_eq!(card["memory"]["cache_bytes_per_token"], 2 * 2 * 4 * 4);
    assert_eq!(card["stored_as"], json!(["f32"]));
    assert_eq!(card["end_of_text"], json!([{"id": 2, "text": "</s>"}]));
    assert_eq!(card["chat_template"], "none");
    assert_eq!(card["files"].as_object().unwrap().len(), 4);
}

#[test]
fn write_norms_are_those_of_the_columns() {
    let model = TinyModel::new();
    let mut weights = crate::tiny::weights();
    let down = &mut weights
        .get_mut("model.layers.1.mlp.down_proj.weight")
        .unwrap()
        .1;
    down.fill(0.0);
    // Columns 0 to 5 of the 4 × 6 matrix get norms 5, 1, 1, 2, 0 and 3.
    for (row, column, value) in [
        (0, 0, 3.0),
        (2, 0, 4.0),
        (1, 1, -1.0),
        (3, 2, 1.0),
        (0, 3, 2.0),
        (2, 5, 3.0),
    ] {
        down[row * 6 + column] = value;
    }
    model.write_weights("model.safetensors", &weights, safetensors::Dtype::F32);
    let card_of_all = card(model.path(), &[]);
    assert_eq!(
        card_of_all["write_norms"][1],
        json!({"layer": 1, "min": 0.0, "median": 1.5, "max": 5.0})
    );
    assert_eq!(card(model.path(), &["--quick"])["write_norms"], Value::Null);
}

#[test]
fn an_unusable_folder_is_exit_3_with_the_reason() {
    let model = TinyModel::new();
    model.remove("tokenizer.json");
    let output = inspect(model.path(), &[]);
    assert_eq!(output.status.code(), Some(3));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("tokenizer.json: is missing"), "{error}");
    assert!(output.stdout.is_empty());

    let nowhere = model.file("nowhere");
    assert_eq!(inspect(&nowhere, &[]).status.code(), Some(3));
}

#[test]
fn a_damaged_template_is_said_but_stops_nothing() {
    let model = TinyModel::new();
    model.write("chat_template.jinja", "{% for %}");
    let card = card(model.path(), &[]);
    let problem = card["chat_template"]["unusable"].as_str().unwrap();
    assert!(problem.contains("cannot be compiled"), "{problem}");
}

#[test]
fn stories260k_has_a_card() {
    let Some(folder) = shared::model("stories260k") else {
        return;
    };
    let output = inspect(&folder, &[]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "260,032, stored as f32",
        "172 per layer, 860 in all",
        "2 \"</s>\"",
        "none: give `text` prompts",
        "1.2 KiB per token",
    ] {
        assert!(text.contains(line), "{line:?} is not in:\n{text}");
    }
}
