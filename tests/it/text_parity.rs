//! Text against transformers: `tests/references/make_text.py` made the references.

use reachspec::model::chat::ChatTemplate;
use reachspec::model::tokenizer::TextCodec;
use reachspec::spec::prompts::ChatMessage;
use serde_json::Value;

use crate::shared;

fn reference(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    serde_json::from_value(value.clone()).unwrap()
}

#[test]
fn stories260k_is_encoded_and_decoded_as_transformers_does() {
    let Some(folder) = shared::model("stories260k") else {
        return;
    };
    let codec = TextCodec::read(&folder).unwrap();
    let reference = reference(include_str!("../references/text_stories260k.json"));
    let cases = |key: &str| reference[key].as_array().unwrap().clone();
    for case in cases("encode") {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            codec.encode_text(text).unwrap(),
            ids(&case["ids"]),
            "{text:?}"
        );
    }
    for case in cases("continuation") {
        let text = case["text"].as_str().unwrap();
        assert_eq!(
            codec.encode_continuation(text).unwrap(),
            ids(&case["ids"]),
            "{text:?}"
        );
    }
    for case in cases("decode") {
        assert_eq!(
            codec.decode(&ids(&case["ids"])),
            case["text"].as_str().unwrap()
        );
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
    let reference = reference(include_str!("../references/chat_templates.json"));
    let cases = reference["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 30);
    for case in cases {
        let specials = serde_json::from_value(case["specials"].clone()).unwrap();
        let messages: Vec<ChatMessage> = serde_json::from_value(case["messages"].clone()).unwrap();
        let template = ChatTemplate::compile(case["source"].as_str().unwrap(), specials).unwrap();
        let place = format!("{} of {}", case["template"], case["chat"]);
        match (template.render(&messages), case["refused"].as_str()) {
            (Ok(text), None) => assert_eq!(text, case["rendered"].as_str().unwrap(), "{place}"),
            (Err(error), Some(refused)) => assert!(error.contains(refused), "{place}: {error}"),
            (ours, theirs) => panic!("{place}: {ours:?} and {theirs:?}"),
        }
    }
}
