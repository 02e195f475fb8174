//! Text against transformers: `tests/reference/text/make.py` made the references.

use std::path::Path;

use reachspec::model::chat::ChatTemplate;
use reachspec::model::tokenizer::TextCodec;
use reachspec::spec::prompts::ChatMessage;
use serde_json::Value;

use crate::shared;
use crate::tiny::TinyModel;

fn reference(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

fn messages(value: &Value) -> Vec<ChatMessage> {
    serde_json::from_value(value.clone()).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

/// What the codec of a folder does otherwise than its reference says, a line each.
fn differences(folder: &Path, reference: &Value) -> Vec<String> {
    let codec = TextCodec::read(folder).unwrap();
    let mut found = Vec::new();
    let mut compare = |what: &str, case: &Value, ours: String, theirs: String| {
        if ours != theirs {
            let place = folder.display();
            found.push(format!("{place}: {what} {case}\n  ours {ours}"));
        }
    };
    let cases = |key: &str| reference[key].as_array().cloned().unwrap_or_default();
    for case in cases("encode") {
        let ours = codec.encode_text(text(&case["text"])).unwrap();
        let theirs = ids(&case["ids"]);
        compare("encode", &case, format!("{ours:?}"), format!("{theirs:?}"));
    }
    for case in cases("continuation") {
        let ours = codec.encode_continuation(text(&case["text"])).unwrap();
        let theirs = ids(&case["ids"]);
        compare(
            "continue",
            &case,
            format!("{ours:?}"),
            format!("{theirs:?}"),
        );
    }
    for case in cases("decode") {
        let ours = codec.decode(&ids(&case["ids"]));
        compare("decode", &case, ours, text(&case["text"]).to_owned());
    }
    for case in cases("chats") {
        let chat = messages(&case["messages"]);
        let ours = codec.render_chat(&chat).unwrap();
        compare("render", &case, ours, text(&case["text"]).to_owned());
        let ours = codec.encode_chat(&chat).unwrap();
        let theirs = ids(&case["ids"]);
        compare("chat", &case, format!("{ours:?}"), format!("{theirs:?}"));
    }
    found
}

#[test]
fn stories260k_is_encoded_and_decoded_as_transformers_does() {
    let Some(folder) = shared::model("stories260k") else {
        return;
    };
    let reference = reference(include_str!("../reference/text/stories260k.json"));
    let found = differences(&folder, &reference);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn tokenizers_of_every_kind_encode_decode_and_chat_as_in_transformers() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/text/tokenizers");
    let mut references = reference(include_str!("../reference/text/tokenizers.json"));
    let references = references.as_object_mut().unwrap();
    references.remove("made_with");
    assert_eq!(references.len(), 7);
    let found: Vec<String> = (references.iter())
        .flat_map(|(name, reference)| differences(&folder.join(name), reference))
        .collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn classes_that_replace_the_pipeline_are_followed() {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/reference/text/tokenizers");
    let reference = reference(include_str!("../reference/text/classes.json"));
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 14);
    for case in cases {
        let (folder, changed) = (folders.join(text(&case["folder"])), TinyModel::new());
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        changed.write("tokenizer.json", read("tokenizer.json"));
        for name in ["tokenizer_config", "config"] {
            let file = format!("{name}.json");
            let mut config: Value = serde_json::from_str(&read(&file)).unwrap();
            for (key, value) in case[name].as_object().unwrap() {
                config[key] = value.clone();
            }
            changed.write_json(&file, &config);
        }
        let found = differences(changed.path(), case);
        let what = (&case["folder"], &case["tokenizer_config"], &case["config"]);
        assert!(found.is_empty(), "{what:?}\n{}", found.join("\n"));
    }
}

#[test]
fn single_tokens_read_as_they_do_within_a_text() {
    let Some(folder) = shared::model("stories260k") else {
        return;
    };
    let codec = TextCodec::read(&folder).unwrap();
    let text = |id| codec.token_text(id);
    assert_eq!(text(403).as_deref(), Some(" Once"));
    assert_eq!(text(1).as_deref(), Some("<s>"));
    assert_eq!(text(512), None);
    assert_eq!(codec.decode(&[9999]), "");
}

#[test]
fn chat_templates_render_as_in_transformers() {
    let reference = reference(include_str!("../reference/text/chat_templates.json"));
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 340);
    let mut found = Vec::new();
    for case in cases {
        let (name, chat) = (text(&case["template"]), text(&case["chat"]));
        let template = &reference["templates"][name];
        let specials = serde_json::from_value(template["specials"].clone()).unwrap();
        let rendered =
            ChatTemplate::compile(text(&template["source"]), specials).and_then(|template| {
                let rendered = template.render(&messages(&reference["chats"][chat]));
                rendered.map_err(|error| error.to_string())
            });
        // Refused without `raise_exception`: `refused` is empty, as the words are each engine's own.
        let equal = match (&rendered, case["refused"].as_str()) {
            (Ok(ours), None) => ours == text(&case["rendered"]),
            (Err(error), Some(refused)) => error.contains(refused),
            _ => false,
        };
        if !equal {
            found.push(format!("{name} of {chat}: {rendered:?}\n  theirs {case}"));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}
