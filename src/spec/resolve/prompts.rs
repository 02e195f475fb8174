//! `prompts`: read, encoded and checked against the model.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::context::Context;
use crate::model::ModelError;
use crate::report::format::thousands;
use crate::spec::located::Located;
use crate::spec::path::SpecPath;
use crate::spec::problem::Problem;
use crate::spec::prompts::{PromptSetSpec, PromptSpec};
use crate::spec::source::{Place, Source};
use crate::spec::violations::violations;
use crate::spec::{schema, tree, value};
use crate::study::Prompt;
use crate::units::TokenId;

/// Most prompts of a study from files, in all: every neuron is steered on every one of them.
const MOST_PROMPTS: usize = 100_000;
/// Longest line of a JSON Lines file, in bytes: read, its values take some two hundred times as much.
const LONGEST_LINE: usize = 512 << 10;
/// No token stands for more bytes of a prompt than this, on average over it.
const BYTES_PER_TOKEN: usize = 64;
/// Broken lines of a file after which the rest is not looked at.
const BROKEN_LINES: usize = 100;

/// A prompt as it is written, and where.
struct WrittenPrompt {
    /// Position in its set, before `skip` and `limit`.
    position: usize,
    prompt: PromptSpec,
    path: SpecPath,
    place: Place,
}

/// Every prompt set of the spec by name; sets with problems hold the prompts that have none. `longest` is the longest horizon.
pub fn sets(context: &mut Context<'_>, longest: usize) -> BTreeMap<String, Vec<Prompt>> {
    let sections = SpecPath::root().key("prompts");
    let written = context.written;
    let mut sets = BTreeMap::new();
    for (name, set) in &written.spec.prompts {
        let before = context.problems();
        context.is_named(&sections.key(name), name, "prompt set");
        sets.insert(
            name.clone(),
            one_set(context, &sections.key(name), set, longest),
        );
        if context.problems() > before {
            context.incomplete.insert(name.clone());
        }
    }
    sets
}

fn one_set(
    context: &mut Context<'_>,
    path: &SpecPath,
    set: &PromptSetSpec,
    longest: usize,
) -> Vec<Prompt> {
    let given = [
        ("inline", set.inline.is_some()),
        ("text_file", set.text_file.is_some()),
        ("jsonl", set.jsonl.is_some()),
    ];
    let Some(kind) = context.exactly_one(path, &given) else {
        return Vec::new();
    };
    let (prompts, total) = match kind {
        "inline" => inline(context, &path.key(kind), set),
        _ => from_file(context, &path.key(kind), set),
    };
    if prompts.is_empty() && total > 0 && set.skip >= total {
        let message = format!("`{path}` skips all of its {total} prompts");
        context.reject(&path.key("skip"), message, "make `skip` smaller");
    }
    let prompts = unique(context, prompts);
    let prompts: Vec<Prompt> = (prompts.into_iter())
        .filter_map(|prompt| encode(context, prompt, longest))
        .collect();
    warn_of_repeats(context, path, &prompts);
    prompts
}

/// Prompts that the model cannot tell apart are one prompt, and make intervals too narrow.
fn warn_of_repeats(context: &mut Context<'_>, path: &SpecPath, prompts: &[Prompt]) {
    let mut first: BTreeMap<(&[TokenId], String), &str> = BTreeMap::new();
    let mut repeats = Vec::new();
    for prompt in prompts {
        let content = (&prompt.tokens[..], format!("{:?}", prompt.expect));
        match first.get(&content) {
            Some(earlier) => repeats.push((*earlier, prompt.id.as_str())),
            None => drop(first.insert(content, &prompt.id)),
        }
    }
    let Some((one, other)) = repeats.first() else {
        return;
    };
    let message = format!(
        "{} of the {} prompts of `{path}` repeat the tokens of another one, such as `{other}` those of `{one}`",
        repeats.len(),
        prompts.len()
    );
    let help = "they count as prompts of their own, so that intervals come out too narrow: leave them out; or the vocabulary lacks the words in which they differ";
    context.warn(path, message, help);
}

/// The positions that `skip` and `limit` keep.
fn kept(set: &PromptSetSpec, total: usize) -> Range<usize> {
    let start = set.skip.min(total);
    let limit = set.limit.unwrap_or(usize::MAX);
    start..start.saturating_add(limit).min(total)
}

/// Prompts in the spec, and how many there are before `skip` and `limit`.
fn inline(
    context: &Context<'_>,
    path: &SpecPath,
    set: &PromptSetSpec,
) -> (Vec<WrittenPrompt>, usize) {
    let prompts = set.inline.as_deref().unwrap_or_default();
    let kept = kept(set, prompts.len()).map(|position| WrittenPrompt {
        position,
        prompt: prompts[position].clone(),
        path: path.item(position),
        place: context.written.located.place(&path.item(position)),
    });
    (kept.collect(), prompts.len())
}

/// Prompts of a text or JSON Lines file, and how many lines it has before `skip` and `limit`.
fn from_file(
    context: &mut Context<'_>,
    path: &SpecPath,
    set: &PromptSetSpec,
) -> (Vec<WrittenPrompt>, usize) {
    let Some(name) = set.text_file.as_ref().or(set.jsonl.as_ref()) else {
        return (Vec::new(), 0);
    };
    let Some(source) = context.read(path, name) else {
        return (Vec::new(), 0);
    };
    let total = lines(&source.text).count();
    if total == 0 {
        let message = format!("the file {} holds no prompt", source.name);
        context.reject(path, message, "write one prompt per line");
    }
    let kept = kept(set, total);
    context.prompts += kept.len();
    if context.prompts > MOST_PROMPTS {
        let (many, most) = (thousands(context.prompts), thousands(MOST_PROMPTS));
        let message = format!(
            "with those of the file {} there are {many} prompts, and a study has at most {most}",
            source.name
        );
        context.reject(path, message, "take some of them with `skip` and `limit`");
        return (Vec::new(), total);
    }
    let mut prompts = Vec::new();
    let mut broken = 0;
    let positioned = lines(&source.text).enumerate().skip(kept.start);
    for (position, bytes) in positioned.take(kept.len()) {
        if broken >= BROKEN_LINES {
            break;
        }
        let prompt = if set.text_file.is_some() {
            Ok(PromptSpec {
                text: Some(source.text[bytes.clone()].to_owned()),
                ..PromptSpec::default()
            })
        } else {
            json_line(&source, bytes.clone())
        };
        match prompt {
            Ok(prompt) => prompts.push(WrittenPrompt {
                position,
                prompt,
                path: path.clone(),
                place: Place::span(&source, bytes),
            }),
            Err(problems) => {
                broken += 1;
                problems.into_iter().for_each(|p| context.report(p));
            }
        }
    }
    (prompts, total)
}

/// The bytes of each line that is not blank, without its line ending.
fn lines(text: &str) -> impl Iterator<Item = Range<usize>> {
    let mut next = 0;
    text.split_inclusive('\n').filter_map(move |line| {
        let start = next;
        next += line.len();
        let content = line.trim_end_matches(['\n', '\r']);
        (!content.trim().is_empty()).then(|| start..start + content.len())
    })
}

/// A prompt from a line of JSON Lines.
fn json_line(source: &Arc<Source>, bytes: Range<usize>) -> Result<PromptSpec, Vec<Problem>> {
    let line = &source.text[bytes.clone()];
    let here = |message: String| {
        let place = Place::span(source, bytes.clone());
        vec![Problem::new(SpecPath::root(), place, message)]
    };
    if line.len() > LONGEST_LINE {
        let (length, most) = (thousands(line.len()), thousands(LONGEST_LINE));
        let message = format!("this line has {length} bytes, and {most} are supported");
        let start = Place::span(source, bytes.start..bytes.start);
        return Err(vec![
            Problem::new(SpecPath::root(), start, message).help("shorten the prompt"),
        ]);
    }
    let mut json: Value = serde_json::from_str(line).map_err(|error| {
        let start = bytes.start + error.column().saturating_sub(1).min(line.len());
        let place = Place::span(source, start..start + 1);
        let message = format!("this line is not valid JSON: {error}");
        vec![
            Problem::new(SpecPath::root(), place, message)
                .help("each line is one prompt, such as {\"text\": \"One day\"}"),
        ]
    })?;
    value::normalise(&mut json);
    let alone = Arc::new(Source {
        name: source.name.clone(),
        text: line.to_owned(),
    });
    let tree = match tree::build(&alone) {
        Ok(tree) => Some(tree),
        // JSON is YAML, but for a few escapes: where the tree cannot be built, problems point to the whole line.
        Err(unbuilt) if unbuilt.duplicates.is_empty() => None,
        Err(unbuilt) => {
            let moved = |problem: Problem| here(problem.message);
            return Err(unbuilt.duplicates.into_iter().flat_map(moved).collect());
        }
    };
    let located = Located::part(source.clone(), bytes.clone(), tree);
    let problems = violations(&schema::PROMPT, &json, &located);
    if !problems.is_empty() {
        return Err(problems);
    }
    serde_json::from_value(json).map_err(|error| here(error.to_string()))
}

/// Prompts with distinct names.
fn unique(context: &mut Context<'_>, prompts: Vec<WrittenPrompt>) -> Vec<WrittenPrompt> {
    let mut seen: BTreeMap<String, Place> = BTreeMap::new();
    for prompt in &prompts {
        if let Some(first) = seen.insert(prompt.id(), prompt.place.clone()) {
            let message = format!("two prompts of this set are named `{}`", prompt.id());
            let problem = Problem::new(prompt.path.clone(), prompt.place.clone(), message)
                .also(first, "the other one")
                .help("the name is `id`, or the position in the set, counted from 0");
            context.report(problem);
        }
    }
    prompts
}

impl WrittenPrompt {
    fn id(&self) -> String {
        self.prompt
            .id
            .clone()
            .unwrap_or_else(|| self.position.to_string())
    }
}

/// Encodes a prompt, and checks that it fits the model with `longest` generated tokens behind it.
fn encode(context: &mut Context<'_>, written: WrittenPrompt, longest: usize) -> Option<Prompt> {
    let outcome = check_length(context, &written.prompt).and_then(|()| {
        let tokens = tokens_of(context, &written)?;
        check_tokens(context, &tokens, longest)?;
        Ok(tokens)
    });
    let name = written.id();
    match outcome {
        Ok(tokens) => Some(Prompt {
            id: name,
            text: readable(context, &written.prompt, &tokens),
            tokens,
            expect: (written.prompt.expect.into_iter())
                .map(|(key, expected)| (key, expected.0))
                .collect(),
        }),
        Err(fault) => {
            let message = format!("prompt `{name}` {}", fault.message);
            let problem = Problem::new(written.path, written.place, message).help(fault.help);
            context.blame(fault.of_model, problem);
            None
        }
    }
}

/// What is wrong with a prompt.
struct Fault {
    message: String,
    /// What to do.
    help: String,
    /// Whether the model is to blame.
    of_model: bool,
}

impl Fault {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            help: help.into(),
            of_model: false,
        }
    }
}

fn tokens_of(context: &Context<'_>, written: &WrittenPrompt) -> Result<Vec<TokenId>, Fault> {
    let prompt = &written.prompt;
    let refused = |error: ModelError| Fault {
        message: format!("cannot be encoded: {error}"),
        help: "the model's tokenizer or chat template refuses it".into(),
        of_model: error.is_of_model(),
    };
    match (&prompt.text, &prompt.chat, &prompt.tokens) {
        (Some(text), None, None) => context.target.encode_text(text).map_err(refused),
        (None, Some(chat), None) => context.target.encode_chat(chat).map_err(refused),
        (None, None, Some(tokens)) => Ok(tokens.clone()),
        _ => Err(Fault::new(
            "gives none or several of `text`, `chat` and `tokens`",
            "give exactly one",
        )),
    }
}

/// A text that cannot fit is not encoded, which takes many times its length.
fn check_length(context: &Context<'_>, prompt: &PromptSpec) -> Result<(), Fault> {
    let chat = prompt.chat.iter().flatten();
    let texts = chat.map(|message| message.content.len());
    let bytes = texts
        .chain(prompt.text.iter().map(String::len))
        .sum::<usize>();
    let tokens = context.target.shape().context;
    match bytes > tokens.saturating_mul(BYTES_PER_TOKEN) {
        false => Ok(()),
        true => Err(Fault::new(
            format!(
                "has {} bytes, and the model's context is {tokens} tokens",
                thousands(bytes)
            ),
            "shorten the prompt",
        )),
    }
}

fn check_tokens(context: &Context<'_>, tokens: &[TokenId], longest: usize) -> Result<(), Fault> {
    let shape = context.target.shape();
    if tokens.is_empty() {
        return Err(Fault::new(
            "is empty: it has no token",
            "write at least one word",
        ));
    }
    if let Some(token) = tokens.iter().find(|&&token| token as usize >= shape.vocab) {
        return Err(Fault::new(
            format!(
                "has the token {token}, but the model knows {} tokens",
                shape.vocab
            ),
            format!("token ids go from 0 to {}", shape.vocab.saturating_sub(1)),
        ));
    }
    let room = shape.context.saturating_sub(longest);
    if tokens.len() > room {
        // Horizons that are wrong themselves count as none here.
        let with_horizon = match longest {
            0 => String::new(),
            longest => format!("; with the longest horizon of {longest} that is"),
        };
        return Err(Fault::new(
            format!(
                "has {} tokens{with_horizon} more than the model's context of {}",
                tokens.len(),
                shape.context
            ),
            "shorten the prompt or the horizon",
        ));
    }
    Ok(())
}

/// The prompt as a person reads it: the text, or the last user message.
fn readable(context: &Context<'_>, prompt: &PromptSpec, tokens: &[TokenId]) -> String {
    if let Some(text) = &prompt.text {
        return text.clone();
    }
    let chat = prompt.chat.as_deref().unwrap_or_default();
    let last_user = chat.iter().rev().find(|message| message.role == "user");
    match last_user.or(chat.last()) {
        Some(message) => message.content.clone(),
        None => context.target.decode(tokens),
    }
}
