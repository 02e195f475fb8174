//! Oracles: deterministic judges of a rollout's text.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A deterministic judge of a rollout's text. Give exactly one key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("minProperties" = 1, "maxProperties" = 1))]
pub struct OracleSpec {
    /// True when the text contains the given strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contains: Option<StringsSpec>,
    /// True when the text, without leading white space, starts with one of the given strings.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub starts_with: Option<StringsSpec>,
    /// True when the regular expression (Rust `regex` syntax, linear time) matches somewhere in the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regex: Option<String>,
    /// True when a large enough share of the text's words stands in a word list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lexicon: Option<LexiconSpec>,
    /// True when a large enough share of the text's letters belongs to a Unicode script.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unicode_script: Option<ScriptSpec>,
    /// True when a number in the text equals the prompt's expected value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberSpec>,
    /// True when the text equals, or contains, the prompt's expected value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exact: Option<ExactSpec>,
    /// True when every one of these oracles is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub all: Option<Vec<OracleSpec>>,
    /// True when at least one of these oracles is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub any: Option<Vec<OracleSpec>>,
    /// True when this oracle is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not: Option<Box<OracleSpec>>,
}

/// Strings to look for. Give `any` or `all`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StringsSpec {
    /// At least one of these must be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub any: Option<Vec<String>>,
    /// Every one of these must be found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub all: Option<Vec<String>>,
    /// Whether upper and lower case are told apart.
    #[serde(default)]
    pub case_sensitive: bool,
}

/// A share of the text's words that stands in a list. Words are runs of letters, digits, `_` and `'`, in lower case.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LexiconSpec {
    /// The words, written in the spec. Give this or `words_file`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub words: Option<Vec<String>>,
    /// A UTF-8 file with one word per line, relative to the spec file and within its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words_file: Option<String>,
    /// A second list: the share is then taken among the words that stand in either list, so that names and numbers do not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub against: Option<Vec<String>>,
    /// The same as a file with one word per line, relative to the spec file and within its folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub against_file: Option<String>,
    /// The least share that counts, from 0 to 1.
    #[serde(default = "four_fifths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub at_least: f64,
    /// The least number of counted words: below it the oracle is false.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub min_words: usize,
}

/// A share of the text's letters that belongs to a script.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ScriptSpec {
    /// Full name of the Unicode script, such as `Latin`, `Cyrillic`, `Han`.
    pub script: String,
    /// The least share that counts, from 0 to 1; letters common to several scripts are left out.
    #[serde(default = "four_fifths")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub at_least: f64,
}

/// A number in the text that equals the prompt's `expect` value.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberSpec {
    /// Name of the value in the prompt's `expect`.
    pub expect: String,
    /// Which number of the text is compared.
    #[serde(default)]
    pub which: WhichNumber,
    /// Largest absolute difference that still counts as equal.
    #[serde(default)]
    #[schemars(range(min = 0.0))]
    pub tolerance: f64,
}

/// Which number of the text is compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WhichNumber {
    /// The first number.
    First,
    /// The last number.
    #[default]
    Last,
    /// Any number.
    Any,
}

/// The prompt's `expect` value, found in the text word for word.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExactSpec {
    /// Name of the value in the prompt's `expect`.
    pub expect: String,
    /// `whole`: the text is the value; `contained`: the value stands in the text; `prefix`: the text starts with it.
    /// White space is folded before the comparison.
    #[serde(default)]
    pub mode: ExactMode,
}

/// How an expected value is compared with the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExactMode {
    /// The text is the value.
    #[default]
    Whole,
    /// The value stands in the text, bounded by white space, punctuation or the ends.
    Contained,
    /// The text starts with the value.
    Prefix,
}

fn four_fifths() -> f64 {
    0.8
}

fn one() -> usize {
    1
}
