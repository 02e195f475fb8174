//! Deterministic judges of text.
//!
//! An [`Oracle`] is a decided rule, part of the study and of its hash. [`Oracle::compile`] makes a [`Judge`] of it, which is what
//! judges rollouts.

mod exact;
mod judge;
mod lexicon;
mod numbers;
mod script;
mod strings;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use unicode_script::Script;

use crate::spec::oracle::{ExactMode, WhichNumber};

pub use judge::{Judge, Judgement};
pub use lexicon::is_word;
pub use numbers::parse_number;
pub use script::has_letters;

/// The bytes of a text that decided its judgement: from `start` to before `end`, on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Offset of the first byte.
    pub start: usize,
    /// Offset behind the last byte.
    pub end: usize,
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self {
            start: range.start,
            end: range.end,
        }
    }
}

/// A resolved oracle.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oracle {
    /// The text contains strings.
    Contains(Strings),
    /// The text, without leading white space, starts with strings.
    StartsWith(Strings),
    /// The pattern matches somewhere.
    Regex(String),
    /// A share of the words stands in a list.
    Lexicon(Lexicon),
    /// A share of the letters belongs to a script.
    UnicodeScript {
        /// Full name of the Unicode script.
        script: String,
        /// Least share.
        at_least: f64,
    },
    /// A number in the text equals the prompt's expected value.
    Number {
        /// Name of the expected value.
        expect: String,
        /// Which number.
        which: WhichNumber,
        /// Largest absolute difference.
        tolerance: f64,
    },
    /// The prompt's expected value, word for word.
    Exact {
        /// Name of the expected value.
        expect: String,
        /// How it is compared.
        mode: ExactMode,
    },
    /// Every one of these is true.
    All(Vec<Oracle>),
    /// At least one of these is true.
    Any(Vec<Oracle>),
    /// This is not true.
    Not(Box<Oracle>),
}

/// Strings to look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Strings {
    /// The strings, none empty.
    pub strings: BTreeSet<String>,
    /// Whether one is enough, or all are needed.
    pub need: Need,
    /// Whether upper and lower case are told apart.
    pub case_sensitive: bool,
}

/// How many of several strings are needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// One.
    Any,
    /// All.
    All,
}

/// A share of words in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lexicon {
    /// The words, lower case.
    pub words: BTreeSet<String>,
    /// A second list, lower case: only words that stand in either list count.
    pub against: Option<BTreeSet<String>>,
    /// Least share of the counted words.
    pub at_least: f64,
    /// Least number of counted words.
    pub min_words: usize,
}

/// Why an oracle cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OracleError {
    /// A regular expression that is wrong, or too large when compiled.
    #[error("the regular expression `{pattern}` cannot be used: {reason}")]
    Pattern {
        /// The expression.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A script that Unicode does not know.
    #[error("Unicode knows no script named `{0}`")]
    Script(String),
}

impl Oracle {
    /// Prepares the oracle for judging.
    ///
    /// # Errors
    /// If a regular expression is wrong or too large, or a script is unknown. A resolved study holds no such oracle.
    pub fn compile(&self) -> Result<Judge, OracleError> {
        Judge::of(self)
    }

    /// Names of the expected values that the oracle compares with, each with whether it must be a number.
    pub fn expected(&self) -> Vec<(&str, bool)> {
        match self {
            Oracle::Number { expect, .. } => vec![(expect, true)],
            Oracle::Exact { expect, .. } => vec![(expect, false)],
            Oracle::All(inner) | Oracle::Any(inner) => {
                inner.iter().flat_map(Oracle::expected).collect()
            }
            Oracle::Not(inner) => inner.expected(),
            _ => Vec::new(),
        }
    }
}

/// The Unicode script of that name.
pub fn script_named(name: &str) -> Result<Script, OracleError> {
    Script::from_full_name(name).ok_or_else(|| OracleError::Script(name.to_owned()))
}
