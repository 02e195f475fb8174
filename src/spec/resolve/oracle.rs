//! Oracles: word lists read, patterns compiled, names checked.

use std::collections::{BTreeMap, BTreeSet};

use super::context::Context;
use crate::oracles::{
    Judge, Lexicon, Need, Oracle, Strings, has_letters, is_word, parse_number, script_named,
};
use crate::report::format::thousands;
use crate::spec::oracle::{LexiconSpec, OracleSpec, StringsSpec};
use crate::spec::path::SpecPath;
use crate::spec::problem::quote;
use crate::spec::suggest;
use crate::study::Prompt;

/// Scripts that are suggested for a misspelt name.
const COMMON_SCRIPTS: [&str; 20] = [
    "Arabic",
    "Armenian",
    "Bengali",
    "Cyrillic",
    "Devanagari",
    "Ethiopic",
    "Georgian",
    "Greek",
    "Gujarati",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Katakana",
    "Khmer",
    "Latin",
    "Myanmar",
    "Tamil",
    "Telugu",
    "Thai",
];

/// Most regular expressions of a study: each may take a MiB when compiled, and as much again while it matches.
const REGEXES: usize = 100;
/// Most strings that must all be found: each is looked for by itself.
const STRINGS: usize = 1000;

/// An oracle that can judge, or `None` and a report.
pub fn oracle(context: &mut Context<'_>, path: &SpecPath, spec: &OracleSpec) -> Option<Oracle> {
    if let Some(strings) = &spec.contains {
        let path = path.key("contains");
        return strings_of(context, &path, strings, empty).map(Oracle::Contains);
    }
    if let Some(strings) = &spec.starts_with {
        let path = path.key("starts_with");
        return strings_of(context, &path, strings, blank).map(Oracle::StartsWith);
    }
    if let Some(pattern) = &spec.regex {
        return regex(context, &path.key("regex"), pattern);
    }
    if let Some(lexicon) = &spec.lexicon {
        return lexicon_of(context, &path.key("lexicon"), lexicon).map(Oracle::Lexicon);
    }
    if let Some(script) = &spec.unicode_script {
        script_exists(
            context,
            &path.key("unicode_script").key("script"),
            &script.script,
        )?;
        let (script, at_least) = (script.script.clone(), script.at_least);
        return Some(Oracle::UnicodeScript { script, at_least });
    }
    if let Some(number) = &spec.number {
        return Some(Oracle::Number {
            expect: number.expect.clone(),
            which: number.which,
            tolerance: number.tolerance,
        });
    }
    if let Some(exact) = &spec.exact {
        let (expect, mode) = (exact.expect.clone(), exact.mode);
        return Some(Oracle::Exact { expect, mode });
    }
    if let Some(inner) = &spec.all {
        return several(context, &path.key("all"), inner).map(Oracle::All);
    }
    if let Some(inner) = &spec.any {
        return several(context, &path.key("any"), inner).map(Oracle::Any);
    }
    let inner = oracle(context, &path.key("not"), spec.not.as_deref()?)?;
    Some(Oracle::Not(Box::new(inner)))
}

fn several(
    context: &mut Context<'_>,
    path: &SpecPath,
    specs: &[OracleSpec],
) -> Option<Vec<Oracle>> {
    let oracles: Vec<Option<Oracle>> = (specs.iter().enumerate())
        .map(|(index, spec)| oracle(context, &path.item(index), spec))
        .collect();
    oracles.into_iter().collect()
}

fn regex(context: &mut Context<'_>, path: &SpecPath, pattern: &str) -> Option<Oracle> {
    context.regexes += 1;
    if pattern.is_empty() {
        let help = "write what is looked for";
        context.reject(path, "an empty pattern is found in every text", help);
        return None;
    }
    if context.regexes <= REGEXES {
        let oracle = Oracle::Regex(pattern.to_owned());
        let judge = compiled(context, path, &oracle)?;
        warn_of_a_match_in_all(context, path, &judge);
        return Some(oracle);
    }
    if context.regexes == REGEXES + 1 {
        let message = format!("the study has more than {REGEXES} regular expressions");
        let help = "join alternatives with `|`, or list words in `contains` or `lexicon`";
        context.reject(path, message, help);
    }
    None
}

/// A pattern that is found in the empty text and in those unlike each other, such as `a*`, is found in every one.
fn warn_of_a_match_in_all(context: &mut Context<'_>, path: &SpecPath, judge: &Judge) {
    let unlike = ["", "a", "Я 7\n", "#"];
    if unlike
        .iter()
        .all(|text| judge.judge(text, &BTreeMap::new()).holds)
    {
        let message = "this pattern matches the empty text, and it seems every other one";
        let help = "`*`, `?` and an empty alternative match nothing at all too: write what must be there, with `+` for once or more";
        context.warn(path, message, help);
    }
}

fn compiled(context: &mut Context<'_>, path: &SpecPath, oracle: &Oracle) -> Option<Judge> {
    match oracle.compile() {
        Ok(judge) => Some(judge),
        Err(error) => {
            let help = "the syntax is that of the Rust crate `regex`; in YAML, single quotes keep backslashes as they are";
            context.reject(path, error.to_string(), help);
            None
        }
    }
}

/// Why a string cannot be looked for in a text.
fn empty(string: &str) -> Option<&'static str> {
    (string.is_empty()).then_some("an empty string is found in every text")
}

/// Why a text cannot be asked whether it starts with a string.
fn blank(string: &str) -> Option<&'static str> {
    let message = "a text is looked at without its leading white space, and this is nothing else";
    empty(string).or_else(|| string.trim().is_empty().then_some(message))
}

fn strings_of(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &StringsSpec,
    fault: fn(&str) -> Option<&'static str>,
) -> Option<Strings> {
    let given = [("any", spec.any.is_some()), ("all", spec.all.is_some())];
    let key = context.exactly_one(path, &given)?;
    let (strings, need) = match key {
        "any" => (spec.any.as_ref()?, Need::Any),
        _ => (spec.all.as_ref()?, Need::All),
    };
    if need == Need::All && strings.len() > STRINGS {
        let message = format!(
            "{} strings are to be found all, and {STRINGS} are supported",
            strings.len()
        );
        context.reject(&path.key(key), message, "leave some of them out");
        return None;
    }
    let mut faults = strings.iter().map(|string| fault(string)).enumerate();
    if let Some((position, Some(message))) = faults.find(|(_, fault)| fault.is_some()) {
        context.reject(&path.key(key).item(position), message, "remove it");
        return None;
    }
    let strings = Strings {
        strings: strings.iter().cloned().collect(),
        need,
        case_sensitive: spec.case_sensitive,
    };
    compiled(context, path, &Oracle::Contains(strings.clone()))?;
    Some(strings)
}

fn lexicon_of(context: &mut Context<'_>, path: &SpecPath, spec: &LexiconSpec) -> Option<Lexicon> {
    let given = [
        ("words", spec.words.is_some()),
        ("words_file", spec.words_file.is_some()),
    ];
    let key = context.exactly_one(path, &given)?;
    let words = word_list(
        context,
        &path.key(key),
        spec.words.as_deref(),
        spec.words_file.as_deref(),
    )?;
    let against = match (&spec.against, &spec.against_file) {
        (None, None) => None,
        (words, file) => {
            let given = [
                ("against", words.is_some()),
                ("against_file", file.is_some()),
            ];
            let key = context.exactly_one(path, &given)?;
            Some(word_list(
                context,
                &path.key(key),
                words.as_deref(),
                file.as_deref(),
            )?)
        }
    };
    warn_of_too_many_words(context, path, spec.min_words);
    Some(Lexicon {
        words,
        against,
        at_least: spec.at_least,
        min_words: spec.min_words,
    })
}

/// A token holds more than one word so seldom that more words than tokens are not to be expected.
fn warn_of_too_many_words(context: &mut Context<'_>, path: &SpecPath, min_words: usize) {
    let longest = context.written.spec.rollout.horizons.last();
    if let Some(longest) = longest.filter(|longest| min_words > longest.0) {
        let message = format!(
            "{} words are needed, and no rollout is longer than {longest} tokens",
            thousands(min_words)
        );
        let help =
            "with fewer words than this the oracle is false: lower it, or choose a longer horizon";
        context.warn(&path.key("min_words"), message, help);
    }
}

/// Longest word list; a language's dictionary is shorter.
const MOST_WORDS: usize = 500_000;
/// Most words of a study's lists together: each takes some 50 bytes.
const MOST_WORDS_IN_ALL: usize = 1_000_000;

/// Words in lower case, from the spec or from a file.
fn word_list(
    context: &mut Context<'_>,
    path: &SpecPath,
    words: Option<&[String]>,
    file: Option<&str>,
) -> Option<BTreeSet<String>> {
    let source = match file {
        Some(file) => Some(context.read(path, file)?),
        None => None,
    };
    let written: Vec<&str> = match (&source, words) {
        // One more than may be, to know that there are more.
        (Some(source), _) => source
            .text
            .lines()
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .take(MOST_WORDS + 1)
            .collect(),
        (None, words) => words
            .unwrap_or_default()
            .iter()
            .map(|word| word.trim())
            .collect(),
    };
    if written.is_empty() {
        context.reject(path, "the word list is empty", "write one word per line");
        return None;
    }
    if written.len() > MOST_WORDS {
        let message = format!(
            "the word list has more than {} words",
            thousands(MOST_WORDS)
        );
        context.reject(path, message, "leave out what the answers cannot hold");
        return None;
    }
    context.words += written.len();
    if context.words > MOST_WORDS_IN_ALL {
        let message = format!(
            "the word lists of the study have more than {} words together",
            thousands(MOST_WORDS_IN_ALL)
        );
        context.reject(
            path,
            message,
            "use shorter lists, or fewer oracles with long ones",
        );
        return None;
    }
    if let Some(position) = written.iter().position(|word| !is_word(word)) {
        let path = if source.is_some() {
            path.clone()
        } else {
            path.item(position)
        };
        let message = format!(
            "{} is not one word, so no word of a text can equal it",
            quote(written[position])
        );
        context.reject(
            &path,
            message,
            "words are runs of letters, digits, `_` and inner `'`; for phrases use `contains`",
        );
        return None;
    }
    Some(written.iter().map(|word| word.to_lowercase()).collect())
}

fn script_exists(context: &mut Context<'_>, path: &SpecPath, name: &str) -> Option<()> {
    let (message, help) = match script_named(name) {
        Ok(script) if has_letters(script) => return Some(()),
        Ok(_) => (
            format!("no letter that is counted belongs to the script `{name}`"),
            "letters common to several scripts are left out: name a script that has letters of its own".into(),
        ),
        Err(error) => (
            error.to_string(),
            suggest::did_you_mean(name, COMMON_SCRIPTS),
        ),
    };
    context.reject(path, message, help);
    None
}

/// Every prompt must hold the values that the oracle compares with. `set` is the name of the prompts' set.
pub fn expected_values(
    context: &mut Context<'_>,
    path: &SpecPath,
    oracle: &Oracle,
    set: &str,
    prompts: &[Prompt],
) {
    let expected: BTreeSet<(&str, bool)> = oracle.expected().into_iter().collect();
    for (name, must_be_number) in expected {
        let fault = prompts.iter().find_map(|prompt| {
            let id = &prompt.id;
            match prompt.expect.get(name) {
                None => Some(format!(
                    "prompt `{id}` of `{set}` has no expected value `{name}`"
                )),
                Some(value) if value.trim().is_empty() => Some(format!(
                    "prompt `{id}` of `{set}` has an empty expected value `{name}`"
                )),
                Some(value) if must_be_number && parse_number(value).is_none() => Some(format!(
                    "prompt `{id}` of `{set}` expects `{name}` to be {}, which is no number",
                    quote(value)
                )),
                Some(_) => None,
            }
        });
        if let Some(message) = fault {
            let help = format!("give every prompt of `{set}` an `expect` with `{name}`");
            context.reject(path, message, help);
        }
    }
}
