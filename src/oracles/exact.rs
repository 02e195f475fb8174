//! `exact`: the prompt's expected value, word for word.

use std::collections::BTreeMap;
use std::ops::Range;

use super::judge::{Judgement, quoted};
use crate::spec::oracle::ExactMode;

/// An expected text.
#[derive(Debug)]
pub struct Exact {
    pub expect: String,
    pub mode: ExactMode,
}

impl Exact {
    pub fn judge(&self, text: &str, expect: &BTreeMap<String, String>) -> Judgement {
        let Some(wanted) = expect.get(&self.expect) else {
            return Judgement::no(format!("the prompt expects no `{}`", self.expect));
        };
        let (wanted, folded) = (Folded::new(wanted).text, Folded::new(text));
        let (verb, found) = match self.mode {
            ExactMode::Whole => ("is", (folded.text == wanted).then_some(0)),
            ExactMode::Prefix => ("starts with", folded.text.starts_with(&wanted).then_some(0)),
            ExactMode::Contained => ("contains", find_bounded(&folded.text, &wanted)),
        };
        match found {
            Some(start) => {
                let span = folded.original(start..start + wanted.len());
                Judgement::yes(format!("the text {verb} {}", quoted(&wanted)), Some(span))
            }
            None => Judgement::no(format!("not so: the text {verb} {}", quoted(&wanted))),
        }
    }
}

/// A text with every run of white space made one space, and none at its ends.
struct Folded {
    text: String,
    /// For each byte of `text`, where its character starts in the original.
    origins: Vec<usize>,
    end: usize,
}

impl Folded {
    fn new(original: &str) -> Self {
        let mut folded = Self {
            text: String::new(),
            origins: Vec::new(),
            end: 0,
        };
        let mut gap = None;
        for (at, c) in original.char_indices() {
            if c.is_whitespace() {
                gap = gap.or(Some(at));
                continue;
            }
            if let (Some(gap), false) = (gap, folded.text.is_empty()) {
                folded.push(' ', gap);
            }
            gap = None;
            folded.push(c, at);
            folded.end = at + c.len_utf8();
        }
        folded
    }

    fn push(&mut self, c: char, origin: usize) {
        self.text.push(c);
        self.origins.resize(self.text.len(), origin);
    }

    /// The bytes of the original that these bytes of the folded text come from.
    fn original(&self, range: Range<usize>) -> Range<usize> {
        let place = |byte: usize| self.origins.get(byte).copied().unwrap_or(self.end);
        place(range.start)..place(range.end)
    }
}

/// Where a value stands in a text without a letter or digit on either side that would make it part of a longer word.
fn find_bounded(text: &str, value: &str) -> Option<usize> {
    let joins = |a: Option<char>, b: Option<char>| {
        a.is_some_and(char::is_alphanumeric) && b.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(value)
        .map(|(start, _)| start)
        .find(|&start| {
            let (before, after) = (&text[..start], &text[start + value.len()..]);
            !joins(before.chars().next_back(), value.chars().next())
                && !joins(value.chars().next_back(), after.chars().next())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(mode: ExactMode, wanted: &str, text: &str) -> Judgement {
        let expect = BTreeMap::from([("answer".to_owned(), wanted.to_owned())]);
        let expect_name = "answer".to_owned();
        Exact {
            expect: expect_name,
            mode,
        }
        .judge(text, &expect)
    }

    #[test]
    fn modes_compare_as_they_say() {
        use ExactMode::{Contained, Prefix, Whole};
        for (mode, wanted, text, expected) in [
            (Whole, "Paris", " Paris\n", true),
            (Whole, "New  York", "New\tYork", true),
            (Whole, "Paris", "Paris.", false),
            (Whole, "Paris", "paris", false),
            (Prefix, "Paris", "  Paris, France", true),
            (Prefix, "Paris", "In Paris", false),
            (Contained, "Paris", "It is Paris.", true),
            (Contained, "Paris", "The Parisian", false),
            (Contained, "12", "112 and 12", true),
            (Contained, "12", "112", false),
            (Contained, "a b", "x (a\n b)", true),
            (Contained, "(a)", "x(a)y", true),
        ] {
            assert_eq!(
                judge(mode, wanted, text).holds,
                expected,
                "{wanted} in {text}"
            );
        }
    }

    #[test]
    fn the_span_is_of_the_original_text() {
        let text = "é  New \n York!";
        let span = judge(ExactMode::Contained, "New York", text).span.unwrap();
        assert_eq!(&text[span], "New \n York");
    }

    #[test]
    fn a_value_that_is_not_expected_is_never_found() {
        let exact = Exact {
            expect: "other".into(),
            mode: ExactMode::Contained,
        };
        assert!(!exact.judge("x", &BTreeMap::new()).holds);
    }
}
