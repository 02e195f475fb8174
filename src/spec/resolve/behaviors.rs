//! `behaviors`: outcome classes, contrasts and readout tokens.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use super::oracle::{expected_values, oracle};
use crate::spec::behavior::{BehaviorSpec, ContrastSpec, OutcomeSpec};
use crate::spec::path::SpecPath;
use crate::spec::problem::quote;
use crate::study::{Behavior, Contrast, Outcome, Prompt};
use crate::units::TokenId;

/// Names of outcomes that no class may have.
const RESERVED: [&str; 2] = ["collapse", "other"];

type Sets = BTreeMap<String, Vec<Prompt>>;

/// The behaviours without problems, sorted by name.
pub fn behaviors(context: &mut Context<'_>, sets: &Sets) -> Vec<Behavior> {
    let section = SpecPath::root().key("behaviors");
    let written = context.written;
    (written.spec.behaviors.iter())
        .filter_map(|(name, spec)| behavior(context, &section.key(name), name, spec, sets))
        .collect()
}

fn behavior(
    context: &mut Context<'_>,
    path: &SpecPath,
    name: &str,
    spec: &BehaviorSpec,
    sets: &Sets,
) -> Option<Behavior> {
    context.is_named(path, name, "behavior");
    let known = context.prompt_set_exists(&path.key("prompts"), &spec.prompts);
    let prompts = sets
        .get(&spec.prompts)
        .map(Vec::as_slice)
        .unwrap_or_default();
    let outcomes = outcomes(context, path, spec, prompts);
    let contrast = contrast(context, &path.key("contrast"), spec, sets);
    let (target_tokens, control_tokens) = readout(context, path, spec);
    known.then_some(())?;
    Some(Behavior {
        name: name.to_owned(),
        description: spec.description.clone().unwrap_or_default(),
        prompts: spec.prompts.clone(),
        outcomes: outcomes?,
        contrast: contrast?,
        target_tokens,
        control_tokens,
        expected_trigger: spec.expected_trigger,
    })
}

fn outcomes(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &BehaviorSpec,
    prompts: &[Prompt],
) -> Option<Vec<Outcome>> {
    let given = [
        ("flipped_when", spec.flipped_when.is_some()),
        ("outcomes", spec.outcomes.is_some()),
    ];
    let key = context.exactly_one(path, &given)?;
    let path = path.key(key);
    if let Some(when) = &spec.flipped_when {
        let oracle = oracle(context, &path, when)?;
        expected_values(context, &path, &oracle, &spec.prompts, prompts);
        return Some(vec![Outcome {
            name: "flipped".into(),
            oracle,
            flipped: true,
        }]);
    }
    let classes = spec.outcomes.as_deref()?;
    class_names(context, &path, classes);
    if !classes.iter().any(|class| class.flipped) {
        context.reject(
            &path,
            format!("no class of `{path}` counts as a flip, so nothing could ever trigger"),
            "give at least one class `flipped: true`",
        );
    }
    let resolved: Vec<Option<Outcome>> = (classes.iter().enumerate())
        .map(|(index, class)| {
            let path = path.item(index).key("when");
            let oracle = oracle(context, &path, &class.when)?;
            expected_values(context, &path, &oracle, &spec.prompts, prompts);
            Some(Outcome {
                name: class.name.clone(),
                oracle,
                flipped: class.flipped,
            })
        })
        .collect();
    resolved.into_iter().collect()
}

/// Class names must be there, be distinct, and leave `collapse` and `other` alone.
fn class_names(context: &mut Context<'_>, path: &SpecPath, classes: &[OutcomeSpec]) {
    let mut seen: BTreeMap<&str, SpecPath> = BTreeMap::new();
    for (index, class) in classes.iter().enumerate() {
        let path = path.item(index).key("name");
        let name = class.name.as_str();
        context.is_named(&path, name, "class");
        if RESERVED.contains(&name) {
            let help = "`collapse` is judged by `coherence`, and `other` is what no class claims: choose another name";
            context.reject(&path, format!("the class name `{name}` is taken"), help);
        }
        if let Some(first) = seen.insert(name, path.clone()) {
            let first = context.written.located.place(&first);
            let problem = context
                .problem(&path, format!("two classes are named `{name}`"))
                .also(first, "the other one")
                .help("rename one of the two");
            context.report(problem);
        }
    }
}

/// `None` when the contrast has problems, `Some(None)` when there is none.
fn contrast(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &BehaviorSpec,
    sets: &Sets,
) -> Option<Option<Contrast>> {
    let Some(written) = &spec.contrast else {
        return Some(None);
    };
    context
        .prompt_set_exists(&path.key("prompts"), &written.prompts)
        .then_some(())?;
    let (original, perturbed) = (sets.get(&spec.prompts)?, sets.get(&written.prompts)?);
    let is_complete = |name: &String| !context.incomplete.contains(name);
    if !(is_complete(&spec.prompts) && is_complete(&written.prompts)) {
        return None;
    }
    if original.len() != perturbed.len() {
        context.reject(
            &path.key("prompts"),
            format!(
                "the contrast `{}` has {} prompts, but `{}` has {}",
                written.prompts,
                perturbed.len(),
                spec.prompts,
                original.len()
            ),
            "the two are paired by position: give both the same number, or use `skip` and `limit`",
        );
        return None;
    }
    let prefill = prefill(context, path, written)?;
    let pair = |prompts: &[Prompt]| with_prefill(prompts, &prefill);
    let pairs = Contrast {
        original: pair(original),
        perturbed: pair(perturbed),
        prefill: prefill.clone(),
    };
    let most = context.target.shape().context;
    let longest = pairs
        .original
        .iter()
        .chain(&pairs.perturbed)
        .map(Vec::len)
        .max();
    if longest.is_some_and(|longest| longest > most) {
        let message = format!(
            "with its prefill, a prompt of this contrast is longer than the model's context of {most} tokens"
        );
        context.reject(path, message, "shorten the prompts or the prefill");
        return None;
    }
    Some(Some(pairs))
}

fn prefill(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &ContrastSpec,
) -> Option<Vec<TokenId>> {
    let Some(text) = &spec.prefill else {
        return Some(Vec::new());
    };
    match context.target.encode_continuation(text) {
        Ok(tokens) => Some(tokens),
        Err(error) => {
            let message = format!("the prefill cannot be encoded: {error}");
            let problem = context.problem(&path.key("prefill"), message);
            context.blame(error.is_of_model(), problem.help("choose another text"));
            None
        }
    }
}

fn with_prefill(prompts: &[Prompt], prefill: &[TokenId]) -> Vec<Vec<TokenId>> {
    (prompts.iter())
        .map(|prompt| [&prompt.tokens, prefill].concat())
        .collect()
}

/// Tokens at the positive and at the negative end of the readout axis, sorted, without repeats.
fn readout(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &BehaviorSpec,
) -> (Vec<TokenId>, Vec<TokenId>) {
    let ends = [
        ("target_tokens", &spec.target_tokens),
        ("control_tokens", &spec.control_tokens),
    ];
    for (one, other) in [(0, 1), (1, 0)] {
        if !ends[one].1.is_empty() && ends[other].1.is_empty() {
            context.reject(
                &path.key(ends[one].0),
                format!("`{path}` gives `{}` but no `{}`", ends[one].0, ends[other].0),
                "the readout axis runs from the control tokens to the target tokens: give both, or neither",
            );
        }
    }
    let target = first_tokens(context, &path.key(ends[0].0), ends[0].1);
    let control = first_tokens(context, &path.key(ends[1].0), ends[1].1);
    for (token, written) in &control {
        if let Some(other) = target.get(token) {
            let place = context.written.located.place(other);
            let text = context.target.decode(&[*token]);
            let problem = context
                .problem(written, format!("this control token is a target token too: both start with token {token} (`{text}`)"))
                .also(place, "the target token")
                .help("choose texts that differ in their first token");
            context.report(problem);
        }
    }
    (target.into_keys().collect(), control.into_keys().collect())
}

/// The first token of each text, with where the text is written.
fn first_tokens(
    context: &mut Context<'_>,
    path: &SpecPath,
    texts: &[String],
) -> BTreeMap<TokenId, SpecPath> {
    let mut tokens = BTreeMap::new();
    for (index, text) in texts.iter().enumerate() {
        let path = path.item(index);
        match context.target.encode_continuation(text) {
            Ok(encoded) => match encoded.first() {
                Some(&token) => {
                    warn_of_the_first(context, &path, text, &encoded);
                    tokens.entry(token).or_insert(path);
                }
                None => context.reject(
                    &path,
                    "this text has no token",
                    "write at least one character",
                ),
            },
            Err(error) => {
                let message = format!("this text cannot be encoded: {error}");
                let problem = context.problem(&path, message);
                context.blame(error.is_of_model(), problem.help("choose another text"));
            }
        }
    }
    tokens
}

/// A text stands for its first token, which may be a letter where a word was meant, or no part of the text at all.
fn warn_of_the_first(context: &mut Context<'_>, path: &SpecPath, text: &str, encoded: &[TokenId]) {
    let first = context.target.decode(&encoded[..1]);
    let spelt = first.trim();
    if spelt.is_empty() || !text.trim_start().starts_with(spelt) {
        let message = format!(
            "{} begins with a token that does not spell it: {} (`{first}`)",
            quote(text),
            encoded[0]
        );
        let help = "the vocabulary may lack this text, and then many texts have that token; choose another one";
        context.warn(path, message, help);
    } else if encoded.len() > 1 {
        let message = format!(
            "{} is {} tokens, of which the readout axis takes the first, `{first}`",
            quote(text),
            encoded.len()
        );
        context.warn(path, message, space_helps(context, text));
    }
}

fn space_helps(context: &Context<'_>, text: &str) -> String {
    let spaced = format!(" {text}");
    let encoded = context.target.encode_continuation(&spaced);
    match encoded.is_ok_and(|tokens| tokens.len() == 1) {
        true => format!("with a space before it, `\"{spaced}\"`, it is one token"),
        false => "make sure that this token tells target from control; a space before a word often makes it one token".into(),
    }
}

/// Names of the behaviours that a group is measured on, sorted; all when the group names none.
pub fn measured_on(
    context: &mut Context<'_>,
    path: &SpecPath,
    named: Option<&[String]>,
) -> Vec<String> {
    let Some(named) = named else {
        return context.written.spec.behaviors.keys().cloned().collect();
    };
    let mut names = BTreeSet::new();
    for (index, name) in named.iter().enumerate() {
        if context.behavior_exists(&path.item(index), name) {
            names.insert(name.clone());
        }
    }
    names.into_iter().collect()
}
