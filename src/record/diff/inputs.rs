//! What two runs were asked: the spec key by key, and everything that is known by its hash.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use crate::record::by_key::{self, KeyChange};
use crate::record::canonical;
use crate::record::manifest::Manifest;
use crate::report::format::counted;
use crate::study::{Prompt, Study};
use crate::units::TokenId;

/// An input with another hash.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct InputChange {
    /// What kind of input it is.
    pub kind: InputKind,
    /// Name of the file, of the prompt set, or of the behaviour whose contrast it is.
    pub name: String,
    /// SHA-256 in the first run, lower-case hex; null where it has no such input.
    pub first: Option<String>,
    /// SHA-256 in the second run.
    pub second: Option<String>,
    /// What is known about the difference, in words; may be empty.
    pub note: String,
}

/// What kind of input it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    /// A file of the model: configuration or weights.
    Model,
    /// A file that says how text and chats become tokens.
    Tokenizer,
    /// A prompt set, as the model reads it.
    Prompts,
    /// The pairs of prompts that a behaviour's screen compares.
    Contrast,
    /// The text of the spec; what it means is compared key by key.
    SpecText,
}

impl InputKind {
    /// The kind in words.
    pub fn name(self) -> &'static str {
        match self {
            InputKind::Model => "model file",
            InputKind::Tokenizer => "tokenizer file",
            InputKind::Prompts => "prompts",
            InputKind::Contrast => "contrast of",
            InputKind::SpecText => "spec text",
        }
    }

    fn of_file(name: &str) -> Self {
        match name.starts_with("tokenizer") || name.starts_with("chat_template") {
            true => InputKind::Tokenizer,
            false => InputKind::Model,
        }
    }
}

/// Keys of the resolved studies with other values, apart from prompts and files, which are [`inputs`]: so no prompt is shown.
pub fn spec(first: &Study, second: &Study) -> Vec<KeyChange> {
    by_key::changes(&keys_of(first), &keys_of(second), &|_| false)
}

fn keys_of(study: &Study) -> Value {
    let mut value = serde_json::to_value(study).expect("studies are plain data");
    let remove = |value: Option<&mut Value>, keys: &[&str]| {
        if let Some(object) = value.and_then(Value::as_object_mut) {
            keys.iter().for_each(|key| drop(object.remove(*key)));
        }
    };
    remove(value.get_mut("model"), &["files"]);
    let behaviors = value.get_mut("behaviors").and_then(Value::as_array_mut);
    for behavior in behaviors.into_iter().flatten() {
        remove(behavior.get_mut("contrast"), &["original", "perturbed"]);
    }
    remove(Some(&mut value), &["prompts"]);
    value
}

/// Inputs with other hashes, by kind and name.
pub fn inputs(first: &Manifest, second: &Manifest) -> Vec<InputChange> {
    let (one, other) = (hashes(first), hashes(second));
    let all: BTreeSet<&Input> = one.keys().chain(other.keys()).collect();
    let changed = all
        .into_iter()
        .filter(|&input| one.get(input) != other.get(input));
    changed
        .map(|input| InputChange {
            kind: input.0,
            name: input.1.clone(),
            first: one.get(input).cloned(),
            second: other.get(input).cloned(),
            note: note(input, &first.study, &second.study),
        })
        .collect()
}

/// Kind and name of an input.
type Input = (InputKind, String);

/// The hash of every input. The spec's is named alike in all runs, whatever its file.
fn hashes(manifest: &Manifest) -> BTreeMap<Input, String> {
    let study = &manifest.study;
    let files = study.model.files.iter();
    let sets = manifest.prompts_sha256.iter();
    (files.map(|(name, hash)| ((InputKind::of_file(name), name.clone()), hash.clone())))
        .chain(sets.map(|(name, hash)| ((InputKind::Prompts, name.clone()), hash.clone())))
        .chain(study.behaviors.iter().filter_map(|behavior| {
            let contrast = behavior.contrast.as_ref()?;
            let hash = canonical::hash(&(&contrast.original, &contrast.perturbed));
            Some(((InputKind::Contrast, behavior.name.clone()), hash))
        }))
        .chain([(
            (InputKind::SpecText, String::new()),
            manifest.spec.sha256.clone(),
        )])
        .collect()
}

fn note(input: &Input, first: &Study, second: &Study) -> String {
    let (kind, name) = input;
    let sets = (first.prompts.get(name), second.prompts.get(name));
    match (kind, sets) {
        (InputKind::Prompts, (Some(one), Some(other))) => prompts_note(one, other),
        _ => String::new(),
    }
}

/// How many prompts there are, and how many of them only one run has or has with another content.
fn prompts_note(one: &[Prompt], other: &[Prompt]) -> String {
    let by_id = |set: &'_ [Prompt]| -> BTreeMap<String, Content> {
        set.iter()
            .map(|prompt| (prompt.id.clone(), content(prompt)))
            .collect()
    };
    let (first, second) = (by_id(one), by_id(other));
    let gone = first.keys().filter(|id| !second.contains_key(*id)).count();
    let new = second.keys().filter(|id| !first.contains_key(*id)).count();
    let edited = (first.iter())
        .filter(|(id, content)| second.get(*id).is_some_and(|other| other != *content))
        .count();
    let parts = [(gone, "gone"), (new, "new"), (edited, "edited")];
    let mut words = format!("{} → {}", one.len(), counted(other.len(), "prompt"));
    for (count, what) in parts.iter().filter(|(count, _)| *count > 0) {
        words += &format!(", {count} {what}");
    }
    if parts.iter().all(|(count, _)| *count == 0) {
        words += " in another order";
    }
    words
}

/// What a prompt is apart from its identifier.
type Content = (Vec<TokenId>, String, BTreeMap<String, String>);

fn content(prompt: &Prompt) -> Content {
    (
        prompt.tokens.clone(),
        prompt.text.clone(),
        prompt.expect.clone(),
    )
}
