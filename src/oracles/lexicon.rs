//! `lexicon`: the share of a text's words that stands in a list.

use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::Lexicon;
use super::judge::Judgement;

/// A word: letters, digits and `_`, with apostrophes inside it.
static WORD: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"\w+(?:'\w+)*").expect("a constant pattern (held by a test)"));

/// Whether a text is one word, as the words of a rollout are found.
pub fn is_word(text: &str) -> bool {
    WORD.find(text).is_some_and(|word| word.as_str() == text)
}

impl Lexicon {
    /// Judges a text.
    pub(super) fn judge(&self, text: &str) -> Judgement {
        let (mut counted, mut inside) = (0_usize, 0_usize);
        // From the first counted word to the last.
        let mut span: Option<Range<usize>> = None;
        for found in WORD.find_iter(text) {
            let word = found.as_str().to_lowercase();
            let listed = self.words.contains(&word);
            let counts = match &self.against {
                Some(against) => listed || against.contains(&word),
                None => true,
            };
            if counts {
                counted += 1;
                span = Some(span.map_or(found.start(), |s| s.start)..found.end());
            }
            inside += usize::from(listed);
        }
        let share = inside as f64 / counted.max(1) as f64;
        let rule = format!("{inside} of {counted} words in the list");
        if counted >= self.min_words && counted > 0 && share >= self.at_least {
            Judgement::yes(rule, span)
        } else {
            Judgement::no(rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lexicon(
        words: &[&str],
        against: Option<&[&str]>,
        at_least: f64,
        min_words: usize,
    ) -> Lexicon {
        let set = |words: &[&str]| words.iter().map(|word| word.to_string()).collect();
        Lexicon {
            words: set(words),
            against: against.map(set),
            at_least,
            min_words,
        }
    }

    #[test]
    fn shares_are_counted_over_words() {
        let list = lexicon(&["le", "chat", "dort"], None, 0.75, 1);
        for (text, expected) in [
            ("Le chat dort!", true),
            ("le chat dort bien", true),
            ("le chat sleeps well", false),
            ("", false),
            ("…!?", false),
        ] {
            assert_eq!(list.judge(text).holds, expected, "{text}");
        }
        let judgement = list.judge("« le chat dort bien. »");
        assert_eq!(judgement.rule, "3 of 4 words in the list");
        assert_eq!(judgement.span, Some(3..20));
    }

    #[test]
    fn a_second_list_leaves_out_what_stands_in_neither() {
        let list = lexicon(&["le", "chat"], Some(&["the", "cat"]), 1.0, 2);
        for (text, expected) in [
            ("le chat 42 Mirza", true),
            ("le cat", false),
            ("chat 42", false), // only one counted word
        ] {
            assert_eq!(list.judge(text).holds, expected, "{text}");
        }
    }

    #[test]
    fn words_keep_inner_apostrophes_only() {
        for (text, expected) in [
            ("don't", true),
            ("naïve", true),
            ("e\u{301}te", true),
            ("a_1", true),
            ("'quoted'", false),
            ("two words", false),
            ("", false),
        ] {
            assert_eq!(is_word(text), expected, "{text}");
        }
        assert!(lexicon(&["yes"], None, 1.0, 1).judge("'yes'").holds);
    }
}
