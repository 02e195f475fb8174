//! Oracles ready to judge.

use std::collections::BTreeMap;
use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::exact::Exact;
use super::numbers::NumberJudge;
use super::script::ScriptJudge;
use super::strings::StringsJudge;
use super::{Lexicon, Oracle, OracleError, script_named};

/// Largest compiled regular expression, in bytes.
const COMPILED_BYTES: usize = 1 << 20;

/// An oracle that is ready to judge texts.
#[derive(Debug)]
pub struct Judge(Compiled);

#[derive(Debug)]
enum Compiled {
    Strings(StringsJudge),
    Regex(Regex),
    Lexicon(Lexicon),
    Script(ScriptJudge),
    Number(NumberJudge),
    Exact(Exact),
    All(Vec<Judge>),
    Any(Vec<Judge>),
    Not(Box<Judge>),
}

/// What an oracle says of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Whether the oracle is true of the text.
    pub holds: bool,
    /// What decided, in a few words.
    pub rule: String,
    /// The deciding bytes of the text, where there are such: on character boundaries. A false oracle has none.
    pub span: Option<Range<usize>>,
}

impl Judgement {
    pub(super) fn yes(rule: String, span: Option<Range<usize>>) -> Self {
        let holds = true;
        Self { holds, rule, span }
    }

    pub(super) fn no(rule: String) -> Self {
        Self {
            holds: false,
            rule,
            span: None,
        }
    }
}

impl Judge {
    pub(super) fn of(oracle: &Oracle) -> Result<Self, OracleError> {
        let several = |inner: &[Oracle]| inner.iter().map(Judge::of).collect::<Result<Vec<_>, _>>();
        Ok(Self(match oracle {
            Oracle::Contains(strings) => Compiled::Strings(StringsJudge::contains(strings)?),
            Oracle::StartsWith(strings) => Compiled::Strings(StringsJudge::starts_with(strings)?),
            Oracle::Regex(pattern) => Compiled::Regex(user_pattern(pattern)?),
            Oracle::Lexicon(lexicon) => Compiled::Lexicon(lexicon.clone()),
            Oracle::UnicodeScript { script, at_least } => Compiled::Script(ScriptJudge {
                script: script_named(script)?,
                at_least: *at_least,
            }),
            Oracle::Number {
                expect,
                which,
                tolerance,
            } => Compiled::Number(NumberJudge {
                expect: expect.clone(),
                which: *which,
                tolerance: *tolerance,
            }),
            Oracle::Exact { expect, mode } => Compiled::Exact(Exact {
                expect: expect.clone(),
                mode: *mode,
            }),
            Oracle::All(inner) => Compiled::All(several(inner)?),
            Oracle::Any(inner) => Compiled::Any(several(inner)?),
            Oracle::Not(inner) => Compiled::Not(Box::new(Judge::of(inner)?)),
        }))
    }

    /// Judges a text. `expect` holds the prompt's expected values; a value that is not there makes its oracle false.
    pub fn judge(&self, text: &str, expect: &BTreeMap<String, String>) -> Judgement {
        match &self.0 {
            Compiled::Strings(judge) => judge.judge(text),
            Compiled::Regex(pattern) => match pattern.find(text) {
                Some(found) => {
                    let rule = format!("matches /{pattern}/ with {}", quoted(found.as_str()));
                    Judgement::yes(rule, Some(found.range()))
                }
                None => Judgement::no(format!("does not match /{pattern}/")),
            },
            Compiled::Lexicon(lexicon) => lexicon.judge(text),
            Compiled::Script(judge) => judge.judge(text),
            Compiled::Number(judge) => judge.judge(text, expect),
            Compiled::Exact(judge) => judge.judge(text, expect),
            Compiled::All(inner) => all(inner, text, expect),
            Compiled::Any(inner) => any(inner, text, expect),
            Compiled::Not(inner) => {
                let judgement = inner.judge(text, expect);
                Judgement {
                    holds: !judgement.holds,
                    rule: judgement.rule,
                    // What is not in a text has no place in it.
                    span: None,
                }
            }
        }
    }
}

/// True when all are, with the first span that there is; the first that is false decides.
fn all(judges: &[Judge], text: &str, expect: &BTreeMap<String, String>) -> Judgement {
    let mut rules = Vec::new();
    let mut span = None;
    for judge in judges {
        let judgement = judge.judge(text, expect);
        if !judgement.holds {
            return judgement;
        }
        rules.push(judgement.rule);
        span = span.or(judgement.span);
    }
    Judgement::yes(rules.join(" and "), span)
}

/// True when one is; the first that is true decides.
fn any(judges: &[Judge], text: &str, expect: &BTreeMap<String, String>) -> Judgement {
    let mut rules = Vec::new();
    for judge in judges {
        let judgement = judge.judge(text, expect);
        if judgement.holds {
            return judgement;
        }
        rules.push(judgement.rule);
    }
    Judgement::no(rules.join(" and "))
}

/// Longest pattern that a user may write, in bytes: parsed, it takes some two hundred times its length.
const LONGEST: usize = 128 << 10;
/// Longest pattern made of plain strings, in bytes.
pub(super) const LONGEST_STRINGS: usize = 512 << 10;

/// Compiles a pattern that a user wrote. Matching takes linear time; the compiled size is limited.
fn user_pattern(pattern: &str) -> Result<Regex, OracleError> {
    compile_pattern(
        RegexBuilder::new(pattern).size_limit(COMPILED_BYTES),
        pattern,
        LONGEST,
    )
}

pub(super) fn compile_pattern(
    builder: &RegexBuilder,
    pattern: &str,
    longest: usize,
) -> Result<Regex, OracleError> {
    if pattern.len() > longest {
        return Err(OracleError::Pattern {
            pattern: shortened(pattern),
            reason: format!(
                "it has {} bytes, and {longest} are supported",
                pattern.len()
            ),
        });
    }
    builder.build().map_err(|error| OracleError::Pattern {
        pattern: shortened(pattern),
        reason: match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("it needs more than the limit of {limit} bytes when compiled")
            }
            // The library's message draws the pattern over several lines; its last line says what is wrong.
            other => {
                let text = other.to_string();
                let last = text.lines().last().unwrap_or_default();
                last.trim_start_matches("error: ").to_owned()
            }
        },
    })
}

/// A piece of text in quotes, cut off when long.
pub(super) fn quoted(text: &str) -> String {
    format!("“{}”", shortened(text))
}

fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return text.to_owned();
    }
    text.chars().take(MOST).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Oracle {
        Oracle::Regex(text.into())
    }

    fn holds(oracle: &Oracle, text: &str) -> bool {
        oracle
            .compile()
            .unwrap()
            .judge(text, &BTreeMap::new())
            .holds
    }

    #[test]
    fn a_match_is_the_deciding_span() {
        let judge = pattern("d[oi]g").compile().unwrap();
        let judgement = judge.judge("a dig", &BTreeMap::new());
        assert_eq!(judgement.span, Some(2..5));
        assert_eq!(judgement.rule, "matches /d[oi]g/ with “dig”");
    }

    #[test]
    fn combinations_follow_logic() {
        let (a, b) = (pattern("a"), pattern("b"));
        let both = Oracle::All(vec![a.clone(), b.clone()]);
        let either = Oracle::Any(vec![a.clone(), b.clone()]);
        let neither = Oracle::Not(Box::new(either.clone()));
        for (text, in_both, in_either) in [
            ("ab", true, true),
            ("a", false, true),
            ("b", false, true),
            ("", false, false),
        ] {
            assert_eq!(holds(&both, text), in_both, "{text}");
            assert_eq!(holds(&either, text), in_either, "{text}");
            assert_eq!(holds(&neither, text), !in_either, "{text}");
        }
    }

    #[test]
    fn bad_and_huge_patterns_are_refused() {
        for (text, expected) in [("(", "unclosed group"), (r"\w{1000}{1000}", "limit")] {
            let message = pattern(text).compile().unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
