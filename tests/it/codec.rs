//! Special tokens, chats and continuations, on tokenizers written out here.

use std::collections::BTreeMap;

use reachspec::model::ModelError;
use reachspec::model::chat::ChatTemplate;
use reachspec::model::tokenizer::TextCodec;
use reachspec::spec::prompts::ChatMessage;
use serde_json::{Value, json};

use crate::tiny::{TinyModel, WORDS, tokenizer};

const ECHO: &str = "{{ bos_token }} {% for m in messages %}{{ m.content }} {% endfor %}";

fn codec(tokenizer: &Value, config: &Value) -> TextCodec {
    let model = TinyModel::new();
    model.write_json("tokenizer.json", tokenizer);
    if !config.is_null() {
        model.write_json("tokenizer_config.json", config);
    }
    TextCodec::read(model.path()).unwrap()
}

fn words() -> Value {
    tokenizer(&WORDS)
}

/// `<s>` before, `</s>` after.
fn with_post_processor() -> Value {
    let special = |name: &str, id: u32| json!({"id": name, "ids": [id], "tokens": [name]});
    let mut tokenizer = words();
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                   {"SpecialToken": {"id": "</s>", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
        "special_tokens": {"<s>": special("<s>", 1), "</s>": special("</s>", 2)},
    });
    tokenizer
}

fn user(content: &str) -> Vec<ChatMessage> {
    vec![ChatMessage {
        role: "user".into(),
        content: content.into(),
    }]
}

#[test]
fn the_post_processor_decides_whatever_the_flags_say() {
    let names = json!({"bos_token": "<s>", "eos_token": "</s>"});
    let with = |key: &str, value: bool| {
        let mut config = names.clone();
        config[key] = value.into();
        config
    };
    for (tokenizer, config, expected) in [
        (words(), names.clone(), vec![3]),
        (words(), with("add_bos_token", true), vec![3]),
        (words(), with("add_eos_token", true), vec![3]),
        (with_post_processor(), names.clone(), vec![1, 3, 2]),
        (
            with_post_processor(),
            with("add_bos_token", false),
            vec![1, 3, 2],
        ),
        (
            with_post_processor(),
            with("add_eos_token", false),
            vec![1, 3, 2],
        ),
        (with_post_processor(), Value::Null, vec![1, 3, 2]),
    ] {
        let codec = codec(&tokenizer, &config);
        assert_eq!(codec.encode_text("one").unwrap(), expected, "{config}");
        assert_eq!(codec.encode_continuation("one").unwrap(), [3]);
    }
}

#[test]
fn a_beginning_that_the_text_brings_is_not_added_again() {
    let added = codec(
        &with_post_processor(),
        &json!({"bos_token": {"content": "<s>"}}),
    );
    assert_eq!(added.encode_text("<s> one").unwrap(), [1, 3, 2]);
    // Two that are the text's own stay, as in transformers.
    assert_eq!(added.encode_text("<s> <s> one").unwrap(), [1, 1, 3, 2]);
    let none = codec(&words(), &json!({"bos_token": "<s>"}));
    assert_eq!(none.encode_text("<s> one").unwrap(), [1, 3]);
    assert_eq!(none.encode_text("<s> <s> one").unwrap(), [1, 1, 3]);
}

#[test]
fn a_chat_has_only_the_special_tokens_of_its_template() {
    let mut config = json!({"bos_token": "<s>", "chat_template": ECHO});
    for template in [
        json!(ECHO),
        json!([{"name": "tool_use", "template": "no"}, {"name": "default", "template": ECHO}]),
    ] {
        config["chat_template"] = template;
        let codec = codec(&with_post_processor(), &config);
        assert_eq!(codec.encode_chat(&user("two one")).unwrap(), [1, 4, 3]);
        assert_eq!(codec.encode_chat(&user("<s> two")).unwrap(), [1, 1, 4]);
    }
    config["chat_template"] = "{{ messages[0].content }}".into();
    let codec = codec(&with_post_processor(), &config);
    assert_eq!(codec.encode_chat(&user("two one")).unwrap(), [4, 3]);
}

/// Where we differ from transformers 5, which would let its GPT2Tokenizer forget the digits: see tests/reference/text/README.md.
#[test]
fn a_borrowed_class_leaves_the_pipeline_as_written() {
    let mut tokenizer = tokenizer(&["<unk>", "1", "2", "12"]);
    tokenizer["pre_tokenizer"] = json!({"type": "Digits", "individual_digits": true});
    let codec = codec(&tokenizer, &json!({"tokenizer_class": "GPT2Tokenizer"}));
    assert_eq!(codec.encode_text("12").unwrap(), [1, 2]);
}

#[test]
fn a_damaged_tokenizer_of_a_llama_is_named() {
    for text in ["[]", "{}", "null", "{\"model\": {\"type\": \"BPE\"}}", "x"] {
        let model = TinyModel::new();
        model.write("tokenizer.json", text);
        let config = json!({"tokenizer_class": "LlamaTokenizer"});
        model.write_json("tokenizer_config.json", &config);
        let error = TextCodec::read(model.path()).err().unwrap().to_string();
        assert!(error.contains("is not a tokenizer"), "{text}: {error}");
    }
}

#[test]
fn a_template_file_goes_before_the_configuration() {
    let model = TinyModel::new();
    model.write_json("tokenizer_config.json", &json!({"chat_template": "one"}));
    model.write("chat_template.jinja", "two{# messages #}");
    let codec = TextCodec::read(model.path()).unwrap();
    assert_eq!(codec.encode_chat(&user("")).unwrap(), [4]);
}

fn chat_error(config: &Value) -> String {
    let result: Result<_, ModelError> = codec(&words(), config).encode_chat(&user("one"));
    result.unwrap_err().to_string()
}

#[test]
fn chats_that_cannot_be_rendered_say_why() {
    let without = chat_error(&json!({}));
    assert!(
        without.contains("has no chat template: give `text` prompts"),
        "{without}"
    );
    for (template, word) in [
        ("{% for %}", "cannot be compiled"),
        ("{{ raise_exception('no ' + messages[0].role) }}", "no user"),
        (
            "{% for a in range(90000) %}{% for b in range(90000) %}{% endfor %}{% endfor %}",
            "fuel",
        ),
        ("{% include 'tokenizer.json' %}", "template not found"),
        ("{{ strftime_now('%Q') }}", "%Q"),
        ("{{ messages.nothing.more }}", "undefined"),
        ("one", "never reads `messages`"),
        (" \n", "it is blank"),
    ] {
        let error = chat_error(&json!({"chat_template": template}));
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
    for template in [
        json!(5),
        json!({"default": ECHO}),
        json!([]),
        json!([{"name": "tools", "template": ECHO}]),
        json!([{"name": "default", "template": 5}]),
    ] {
        let error = chat_error(&json!({"chat_template": template}));
        let named = error.contains("tokenizer_config.json: ") && error.contains("`chat_template`");
        assert!(named, "{template}: {error}");
    }
}

#[test]
fn the_clock_of_templates_stands_still() {
    let template = "{# messages #}{{ strftime_now('%d %b %Y, %-d %B %y %A %H:%M') }}";
    let codec = codec(&words(), &json!({"chat_template": template}));
    assert_eq!(
        codec.render_chat(&user("")).unwrap(),
        "26 Jul 2024, 26 July 24 Friday 00:00"
    );
}

#[test]
fn special_tokens_of_the_configuration_are_skipped_by_decode() {
    let plain = json!({});
    let named = json!({"pad_token": "five", "additional_special_tokens": ["four"]});
    let tokens = [1, 3, 7, 6, 4, 2];
    assert_eq!(codec(&words(), &plain).decode(&tokens), "one five four two");
    assert_eq!(codec(&words(), &named).decode(&tokens), "one two");
    assert_eq!(
        codec(&words(), &named).token_text(7).as_deref(),
        Some("five")
    );
    assert_eq!(
        codec(&words(), &plain).token_text(7).as_deref(),
        Some(" five")
    );
}

#[test]
fn padding_and_truncation_that_were_saved_are_not_applied() {
    let mut tokenizer = words();
    tokenizer["truncation"] =
        json!({"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0});
    tokenizer["padding"] = json!({"strategy": {"Fixed": 6}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "<unk>"});
    let codec = codec(&tokenizer, &json!({}));
    assert_eq!(codec.encode_text("one two three").unwrap(), [3, 4, 5]);
    assert_eq!(
        codec.encode_continuation("one two three").unwrap(),
        [3, 4, 5]
    );
}

#[test]
fn a_continuation_gets_no_space_that_is_not_in_it() {
    let spaced = ["<unk>", "<s>", "</s>", "▁one", "one", "▁two"];
    let metaspace = |scheme: &str| json!({"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": true});
    let normalised = json!({"type": "Sequence", "normalizers": [
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]});
    let (plain, llama) = (json!({}), json!({"tokenizer_class": "LlamaTokenizer"}));
    for (normaliser, pre_tokenizer, config) in [
        (Value::Null, metaspace("always"), &plain),
        (
            Value::Null,
            json!({"type": "Sequence", "pretokenizers": [metaspace("first")]}),
            &plain,
        ),
        (normalised, Value::Null, &plain),
        (Value::Null, Value::Null, &llama),
    ] {
        let mut tokenizer = tokenizer(&spaced);
        tokenizer["pre_tokenizer"] = pre_tokenizer;
        tokenizer["normalizer"] = normaliser;
        let codec = codec(&tokenizer, config);
        assert_eq!(codec.encode_text("one").unwrap(), [3]);
        assert_eq!(codec.encode_continuation("one").unwrap(), [4]);
        assert_eq!(codec.encode_continuation(" two").unwrap(), [5]);
    }
}

#[test]
fn hostile_templates_are_errors() {
    let compile = |source: &str| ChatTemplate::compile(source, BTreeMap::new());
    // Values that hold themselves, and chains that would be as deep as they are long.
    for source in [
        "{% set ns=namespace() %}{% set ns.a=ns %}{{ ns }}".to_owned(),
        format!("{{{{ 1{} }}}}", "~1".repeat(100_000)),
        format!("{{{{ {}1 }}}}", "not ".repeat(100_000)),
    ] {
        compile(&source).unwrap_err();
    }
    let messages = user("hello");
    // As deep, and as long, as is allowed at all.
    let deep = "{% set ns=namespace(l=[]) %}{% for i in range(90000) %}{% set ns.l=[ns.l] %}{% endfor %}{{ ns.l }}";
    let long = format!("{{{{ 1{} }}}}", "~1".repeat(30_000));
    for source in [deep, &long] {
        // Whether it is rendered or refused: it ends.
        let _ = compile(source).map(|template| template.render(&messages));
    }
    let endless = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}";
    let error = compile(endless).unwrap().render(&messages).unwrap_err();
    assert!(error.to_string().contains("fuel"), "{error}");
}
