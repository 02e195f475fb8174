//! `contains` and `starts_with`.

use regex::{Regex, RegexBuilder};

use super::judge::{Judgement, LONGEST_STRINGS, compile_pattern, quoted};
use super::{Need, OracleError, Strings};

/// Largest compiled list of strings, in bytes.
const COMPILED_BYTES: usize = 16 << 20;

/// Strings ready to be looked for.
#[derive(Debug)]
pub struct StringsJudge {
    /// Each of these must be found; the first group of each is the string.
    needed: Vec<Regex>,
    /// What is said of a string that is found: "contains".
    verb: &'static str,
    /// What is said otherwise.
    missing: String,
}

impl StringsJudge {
    pub fn contains(strings: &Strings) -> Result<Self, OracleError> {
        Self::new(strings, "", "contains")
    }

    pub fn starts_with(strings: &Strings) -> Result<Self, OracleError> {
        Self::new(strings, r"\A\s*", "starts with")
    }

    fn new(strings: &Strings, before: &str, verb: &'static str) -> Result<Self, OracleError> {
        // Longest first, so that among strings found at the same place the longest is named.
        let mut literals: Vec<String> = strings.strings.iter().map(|s| regex::escape(s)).collect();
        literals.sort_by_key(|literal| std::cmp::Reverse(literal.len()));
        let alternatives = match strings.need {
            Need::Any => vec![literals.join("|")],
            Need::All => literals,
        };
        let compile = |literal: &String| {
            let pattern = format!("{before}({literal})");
            let mut builder = RegexBuilder::new(&pattern);
            builder.case_insensitive(!strings.case_sensitive);
            compile_pattern(
                builder.size_limit(COMPILED_BYTES),
                &pattern,
                LONGEST_STRINGS,
            )
        };
        let all = match strings.need {
            Need::Any => "none",
            Need::All => "not all",
        };
        Ok(Self {
            needed: alternatives.iter().map(compile).collect::<Result<_, _>>()?,
            verb,
            missing: format!("{verb} {all} of {} strings", strings.strings.len()),
        })
    }

    pub fn judge(&self, text: &str) -> Judgement {
        let mut found = Vec::new();
        for pattern in &self.needed {
            match pattern.captures(text).and_then(|captures| captures.get(1)) {
                Some(string) => found.push(string),
                None => return Judgement::no(self.missing.clone()),
            }
        }
        let words: Vec<String> = found.iter().map(|string| quoted(string.as_str())).collect();
        let rule = format!("{} {}", self.verb, words.join(" and "));
        Judgement::yes(rule, found.first().map(regex::Match::range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(list: &[&str], need: Need, case_sensitive: bool) -> Strings {
        Strings {
            strings: list.iter().map(|s| s.to_string()).collect(),
            need,
            case_sensitive,
        }
    }

    #[test]
    fn contains_any_or_all_with_or_without_case() {
        use Need::{All, Any};
        for (list, need, case, text, expected) in [
            (&["dog", "cat"][..], Any, false, "A CAT.", true),
            (&["dog", "cat"], Any, true, "A CAT.", false),
            (&["dog", "cat"], All, false, "cat and Dog", true),
            (&["dog", "cat"], All, false, "cat", false),
            (&["a.c"], Any, false, "abc", false),
            (&["ÄRGER"], Any, false, "viel ärger", true),
            (&["dog"], Any, false, "", false),
        ] {
            let judge = StringsJudge::contains(&strings(list, need, case)).unwrap();
            assert_eq!(judge.judge(text).holds, expected, "{list:?} in {text}");
        }
    }

    #[test]
    fn starts_with_skips_white_space_only() {
        let judge =
            StringsJudge::starts_with(&strings(&["I can", "No"], Need::Any, false)).unwrap();
        for (text, expected) in [
            ("\n I cannot", true),
            ("no.", true),
            ("Well, no", false),
            ("", false),
        ] {
            assert_eq!(judge.judge(text).holds, expected, "{text}");
        }
        let judgement = judge.judge("  I can’t");
        assert_eq!(judgement.span, Some(2..7));
        assert_eq!(judgement.rule, "starts with “I can”");
    }

    #[test]
    fn the_longest_string_is_named() {
        let judge = StringsJudge::contains(&strings(&["do", "dog"], Need::Any, true)).unwrap();
        assert_eq!(judge.judge("a dog").rule, "contains “dog”");
    }
}
