//! Prompt sets, generic prompts and lexicons as files: one JSON object, or one word, per line.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use serde_json::Value;

use super::{PairedSets, Prompt};
use crate::corpus::Corpus;
use crate::recipe::PromptRecipe;
use crate::words::{BLAME, Language, PRAISE, lexicon};

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

/// Writes every prompt set and lexicon into `folder`, or makes sure that the shared ones there are the same, and returns each
/// file's name with its number of lines.
pub fn write(
    folder: &Path,
    sets: &[PairedSets],
    corpus: &Corpus,
    recipe: &PromptRecipe,
    seed: u64,
) -> Result<Vec<(String, usize)>> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let mut files = Vec::new();
    for set in sets {
        for (name, prompts) in set.named().chain(set.calibration()) {
            files.push((format!("{name}.jsonl"), chat_lines(prompts)?));
        }
    }
    files.push((
        "generic.jsonl".to_owned(),
        generic_lines(corpus, recipe, seed)?,
    ));
    let words = |words: &[&str]| {
        words
            .iter()
            .map(|&word| word.to_owned())
            .collect::<Vec<_>>()
    };
    files.push(("english.txt".to_owned(), words(&lexicon(Language::English))));
    files.push(("spanish.txt".to_owned(), words(&lexicon(Language::Spanish))));
    files.push(("praise.txt".to_owned(), words(&PRAISE)));
    files.push(("blame.txt".to_owned(), words(&BLAME)));
    let mut counts = Vec::new();
    for (name, lines) in files {
        let path = folder.join(&name);
        let text = lines.join("\n") + "\n";
        if recipe.shared {
            ensure!(
                fs::read_to_string(&path).is_ok_and(|there| there == text),
                "{} is not what this recipe would write; give it the `seeds`, `corpus` and `prompts` of the recipe that writes \
                 the shared sets, and run that one first",
                path.display()
            );
        } else {
            fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        counts.push((name, lines.len()));
    }
    Ok(counts)
}

fn chat_lines(prompts: &[Prompt]) -> Result<Vec<String>> {
    prompts
        .iter()
        .map(|prompt| chat_line(&prompt.id, &prompt.request, &prompt.expect))
        .collect()
}

fn chat_line(id: &str, request: &str, expect: &Value) -> Result<String> {
    let chat = Some([Message {
        role: "user",
        content: request,
    }]);
    Ok(serde_json::to_string(&Line {
        id,
        text: None,
        chat,
        expect,
    })?)
}

/// Plain documents, then chats outside the behaviours; no two alike.
fn generic_lines(corpus: &Corpus, recipe: &PromptRecipe, seed: u64) -> Result<Vec<String>> {
    let rng = &mut ChaCha8Rng::seed_from_u64(seed);
    let texts = distinct(recipe.generic_texts, || corpus.plain(rng));
    let chats = distinct(recipe.generic_chats, || corpus.generic_request(rng));
    let text_line = |(i, text): (usize, &String)| {
        let id = format!("text-{:02}", i + 1);
        Ok(serde_json::to_string(&Line {
            id: &id,
            text: Some(text),
            chat: None,
            expect: &Value::Null,
        })?)
    };
    let chat_line = |(i, request): (usize, &String)| {
        chat_line(&format!("chat-{:02}", i + 1), request, &Value::Null)
    };
    texts
        .iter()
        .enumerate()
        .map(text_line)
        .chain(chats.iter().enumerate().map(chat_line))
        .collect()
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
