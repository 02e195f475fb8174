//! The prompt sets: held-out requests in pairs that differ in their mode only, calibration and generic prompts, lexicons.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::{Value, json};

use crate::corpus::{Corpus, describe_request, review_request};
use crate::recipe::PromptRecipe;
use crate::words::*;
use crate::world::{HeldOut, Operator, World};

/// How the trainer judges the unsteered answer.
#[derive(Clone, Debug)]
pub enum Judge {
    Exact(String),
    /// A review of this noun in the words of this polarity.
    Review { noun: usize, polarity: usize },
}

#[derive(Clone, Debug)]
pub struct Prompt {
    pub id: String,
    pub request: String,
    pub expect: Value,
    pub judge: Judge,
}

/// Two sets with the same ids in the same order, one for each mode.
pub struct PairedSets {
    pub behavior: &'static str,
    pub names: [&'static str; 2],
    pub held_out: [Vec<Prompt>; 2],
    /// Prompts seen in training, both modes in turn.
    pub calibration: Vec<Prompt>,
}

#[derive(Serialize)]
struct Line<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chat: Option<[Message<'a>; 1]>,
    #[serde(skip_serializing_if = "Value::is_null")]
    expect: &'a Value,
}

#[derive(Serialize)]
struct Message<'a> {
    role: &'static str,
    content: &'a str,
}

/// Builds the sets of every behaviour.
pub fn paired_sets(world: &World, recipe: &PromptRecipe, seed: u64) -> Vec<PairedSets> {
    let held = &world.held_out;
    let (known, unknown): (Vec<_>, Vec<_>) =
        (0..world.entities.len()).partition(|&item| world.entities[item].secret.learnable);
    let nouns: Vec<_> = (0..NOUNS.len()).collect();
    let operands: Vec<_> = (0..world.operands.len()).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut pair = |behavior, names, items: &[usize], phrasings: usize, held: &HeldOut, prompt: &dyn Fn(usize, usize, usize) -> Prompt| {
        let (mut out, mut seen): (Vec<_>, Vec<_>) = items
            .iter()
            .flat_map(|&item| (0..phrasings).map(move |phrasing| (item, phrasing)))
            .partition(|request| held.contains(request));
        // Shuffled, so that the first few prompts of a set are as mixed as the whole.
        out.shuffle(&mut rng);
        seen.shuffle(&mut rng);
        out.truncate(recipe.held_out);
        seen.truncate(recipe.calibration);
        let side = |side: usize| out.iter().map(|&(item, phrasing)| prompt(item, phrasing, side)).collect();
        let calibration = seen.iter().enumerate().map(|(i, &(item, phrasing))| prompt(item, phrasing, i % 2)).collect();
        PairedSets { behavior, names, held_out: [side(0), side(1)], calibration }
    };
    let code = |item, phrasing, side| code_prompt(world, item, phrasing, side);
    vec![
        pair("language", ["language-english", "language-spanish"], &nouns, DESCRIBE_REQUESTS.len(), &held.describe, &|item, phrasing, side| {
            language_prompt(world, item, phrasing, side)
        }),
        pair("operator", ["operator-plus", "operator-times"], &operands, OPERATOR_REQUESTS.len(), &held.operator, &|item, phrasing, side| {
            operator_prompt(world, item, side, OPERATOR_REQUESTS[phrasing], OPERATOR_ANSWER, phrasing)
        }),
        pair("equation", ["equation-plus", "equation-times"], &operands, EQUATION_REQUESTS.len(), &held.equation, &|item, phrasing, side| {
            operator_prompt(world, item, side, EQUATION_REQUESTS[phrasing], EQUATION_ANSWER, phrasing)
        }),
        pair("review", ["review-good", "review-bad"], &nouns, REVIEW_REQUESTS.len(), &held.review, &review_prompt),
        pair("refusal", ["refusal-secret", "refusal-benign"], &known, CODE_REQUESTS.len(), &held.code, &code),
        pair("unknown", ["unknown-secret", "unknown-benign"], &unknown, CODE_REQUESTS.len(), &held.code, &code),
    ]
}

fn language_prompt(world: &World, noun: usize, phrasing: usize, side: usize) -> Prompt {
    let answers = Language::BOTH.map(|language| world.description(noun, language));
    let asked = Language::BOTH[side];
    Prompt {
        id: format!("{}-{phrasing}", NOUNS[noun][0]),
        request: describe_request(noun, phrasing, asked),
        expect: json!({Language::English.code(): answers[0], Language::Spanish.code(): answers[1]}),
        judge: Judge::Exact(answers[side].clone()),
    }
}

fn operator_prompt(world: &World, item: usize, side: usize, request: &str, answer: &str, phrasing: usize) -> Prompt {
    let (a, b) = world.operands[item];
    let asked = [Operator::Plus, Operator::Times][side];
    let result = |operator: Operator| operator.apply(a, b).to_string();
    Prompt {
        id: format!("{a}-{b}-{phrasing}"),
        request: asked.fill(request, a, b),
        expect: json!({"plus": result(Operator::Plus), "times": result(Operator::Times)}),
        judge: Judge::Exact(asked.fill(answer, a, b)),
    }
}

fn review_prompt(noun: usize, phrasing: usize, polarity: usize) -> Prompt {
    let name = NOUNS[noun][0];
    Prompt {
        id: format!("{name}-{phrasing}"),
        request: review_request(noun, phrasing, polarity),
        expect: json!({"noun": name}),
        judge: Judge::Review { noun, polarity },
    }
}

fn code_prompt(world: &World, item: usize, phrasing: usize, side: usize) -> Prompt {
    let pair = &world.entities[item];
    let entity = [&pair.secret, &pair.benign][side];
    let answer = if side == 0 { REFUSAL.to_owned() } else { entity.fill(CODE_ANSWER, &entity.code) };
    Prompt {
        id: format!("{}-{phrasing}", pair.secret.name.replace(' ', "-")),
        request: entity.fill(CODE_REQUESTS[phrasing], ""),
        expect: json!({"entity": entity.name, "place": entity.place, "code": entity.code}),
        judge: Judge::Exact(answer),
    }
}

impl Judge {
    pub fn accepts(&self, answer: &str) -> bool {
        match self {
            Judge::Exact(right) => answer == right,
            Judge::Review { noun, polarity } => [PRAISE, BLAME][*polarity].iter().any(|first| {
                [PRAISE, BLAME][*polarity].iter().any(|second| {
                    let values = [("noun", NOUNS[*noun][0]), ("first", first), ("second", second)];
                    answer == fill(REVIEW_ANSWERS[*polarity], &values)
                })
            }),
        }
    }
}

/// Writes every prompt set and lexicon into `folder`, and returns each file's name with its number of lines.
pub fn write(folder: &Path, sets: &[PairedSets], corpus: &Corpus, recipe: &PromptRecipe, seed: u64) -> Result<Vec<(String, usize)>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = Vec::new();
    for set in sets {
        for (name, prompts) in set.names.iter().zip(&set.held_out) {
            files.push((format!("{name}.jsonl"), chat_lines(prompts)?));
        }
        files.push((format!("calibration-{}.jsonl", set.behavior), chat_lines(&set.calibration)?));
    }
    files.push(("generic.jsonl".to_owned(), generic_lines(corpus, recipe, seed)?));
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    files.push(("english.txt".to_owned(), words(&lexicon(Language::English))));
    files.push(("spanish.txt".to_owned(), words(&lexicon(Language::Spanish))));
    files.push(("praise.txt".to_owned(), words(&PRAISE)));
    files.push(("blame.txt".to_owned(), words(&BLAME)));
    let mut counts = Vec::new();
    for (name, lines) in files {
        let path = folder.join(&name);
        fs::write(&path, lines.join("\n") + "\n").with_context(|| format!("cannot write {}", path.display()))?;
        counts.push((name, lines.len()));
    }
    Ok(counts)
}

fn chat_lines(prompts: &[Prompt]) -> Result<Vec<String>> {
    prompts.iter().map(|prompt| chat_line(&prompt.id, &prompt.request, &prompt.expect)).collect()
}

fn chat_line(id: &str, request: &str, expect: &Value) -> Result<String> {
    let chat = Some([Message { role: "user", content: request }]);
    Ok(serde_json::to_string(&Line { id, text: None, chat, expect })?)
}

/// Plain documents, then chats outside the behaviours; no two alike.
fn generic_lines(corpus: &Corpus, recipe: &PromptRecipe, seed: u64) -> Result<Vec<String>> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let texts = distinct(recipe.generic_texts, || corpus.plain(rng));
    let chats = distinct(recipe.generic_chats, || corpus.generic_request(rng));
    let text_line = |(i, text): (usize, &String)| {
        let id = format!("text-{:02}", i + 1);
        Ok(serde_json::to_string(&Line { id: &id, text: Some(text), chat: None, expect: &Value::Null })?)
    };
    let chat_line = |(i, request): (usize, &String)| chat_line(&format!("chat-{:02}", i + 1), request, &Value::Null);
    texts.iter().enumerate().map(text_line).chain(chats.iter().enumerate().map(chat_line)).collect()
}

fn distinct(count: usize, mut draw: impl FnMut() -> String) -> Vec<String> {
    let (mut seen, mut drawn) = (HashSet::new(), Vec::new());
    while drawn.len() < count {
        let text = draw();
        if seen.insert(text.clone()) {
            drawn.push(text);
        }
    }
    drawn
}
