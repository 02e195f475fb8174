//! The part of a text that a report shows: its start, and the stretch that decided its judgement.

use schemars::JsonSchema;
use serde::Serialize;

use crate::oracles::Span;
use crate::report::text::clip;

/// Longest text shown, in characters; the record keeps all of it.
const LONGEST: usize = 700;
/// Longest deciding stretch shown, in characters.
const LONGEST_DECIDING: usize = 300;
/// Characters shown before a deciding stretch that comes late.
const BEFORE: usize = 60;

/// What is shown of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Excerpt {
    /// What is shown, in one piece; `…` stands for what is not.
    pub text: String,
    /// The same in pieces, in order.
    pub parts: Vec<Part>,
    /// The deciding stretch by itself; absent when no stretch of the text decided.
    pub deciding: Option<String>,
    /// Whether the whole text decided.
    pub whole: bool,
    /// How many characters behind the last part are not shown.
    pub left_out: usize,
}

/// A stretch of a text.
#[derive(Clone, Debug, PartialEq, Eq, JsonSchema, Serialize)]
pub struct Part {
    /// As generated.
    pub text: String,
    /// Whether it decided the judgement.
    pub deciding: bool,
    /// How many characters between the part before and this one are not shown.
    pub skipped: usize,
}

impl Excerpt {
    /// The start of a text in which nothing is marked.
    pub fn plain(text: &str) -> Self {
        let mut excerpt = Self::default();
        excerpt.close(text, LONGEST);
        excerpt
    }

    /// The start of a text with the stretch `span` marked, which is shown wherever it lies. A span that is no stretch of this text marks nothing.
    pub fn marked(text: &str, span: Option<Span>) -> Self {
        let parts = span.and_then(|span| {
            let deciding = text.get(span.start..span.end).filter(|s| !s.is_empty())?;
            Some((&text[..span.start], deciding, &text[span.end..]))
        });
        let Some((before, deciding, after)) = parts else {
            return Self::plain(text);
        };
        let (shown, cut) = clip(deciding, LONGEST_DECIDING);
        let mut excerpt = Self {
            deciding: Some(shown.clone()),
            whole: before.is_empty() && after.is_empty(),
            ..Self::default()
        };
        excerpt.open(before);
        excerpt.push(&shown, true, 0);
        if cut > 0 {
            excerpt.left_out = cut + after.chars().count();
        } else {
            excerpt.close(after, LONGEST.saturating_sub(before.chars().count()));
        }
        excerpt
    }

    /// The text before the deciding stretch: all of it, or its start and its end.
    fn open(&mut self, before: &str) {
        let length = before.chars().count();
        if length <= LONGEST {
            return self.push(before, false, 0);
        }
        let (start, rest) = clip(before, LONGEST / 2);
        let end: String = before.chars().skip(length - BEFORE).collect();
        self.push(&start, false, 0);
        self.push(&end, false, rest - BEFORE);
    }

    /// At most `limit` characters of what is left.
    fn close(&mut self, text: &str, limit: usize) {
        let (shown, left_out) = clip(text, limit);
        self.push(&shown, false, 0);
        self.left_out = left_out;
    }

    fn push(&mut self, text: &str, deciding: bool, skipped: usize) {
        if text.is_empty() {
            return;
        }
        if skipped > 0 {
            self.text.push_str(" … ");
        }
        self.text.push_str(text);
        self.parts.push(Part {
            text: text.to_owned(),
            deciding,
            skipped,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(excerpt: &Excerpt) -> String {
        let parts = excerpt.parts.iter().map(|part| {
            let gap = match part.skipped {
                0 => String::new(),
                skipped => format!("…{skipped}…"),
            };
            match part.deciding {
                true => format!("{gap}[{}]", part.text),
                false => format!("{gap}{}", part.text),
            }
        });
        parts.collect()
    }

    #[test]
    fn the_deciding_stretch_is_marked() {
        let excerpt = Excerpt::marked("el niño y la niña", Some(Span { start: 3, end: 8 }));
        assert_eq!(shown(&excerpt), "el [niño] y la niña");
        assert_eq!(excerpt.deciding.as_deref(), Some("niño"));
        assert_eq!(
            shown(&Excerpt::marked("all", Some(Span { start: 0, end: 3 }))),
            "[all]"
        );
    }

    #[test]
    fn a_span_that_is_not_of_this_text_marks_nothing() {
        for (start, end) in [(0, 0), (3, 5), (4, 9), (6, 7), (5, 2)] {
            let excerpt = Excerpt::marked("niño", Some(Span { start, end }));
            assert_eq!(excerpt, Excerpt::plain("niño"), "{start}..{end}");
        }
    }

    #[test]
    fn a_late_stretch_is_shown_with_what_leads_to_it() {
        let text = format!("{}HERE{}", "a".repeat(2000), "b".repeat(500));
        let excerpt = Excerpt::marked(
            &text,
            Some(Span {
                start: 2000,
                end: 2004,
            }),
        );
        let (start, end) = ("a".repeat(350), "a".repeat(60));
        assert_eq!(shown(&excerpt), format!("{start}…1590…{end}[HERE]"));
        assert_eq!(excerpt.left_out, 500);
    }

    #[test]
    fn long_texts_are_cut() {
        let excerpt = Excerpt::plain(&"x".repeat(1000));
        assert_eq!((excerpt.parts[0].text.len(), excerpt.left_out), (700, 300));
        let all = Excerpt::marked(
            &"y".repeat(1000),
            Some(Span {
                start: 0,
                end: 1000,
            }),
        );
        assert_eq!((all.parts[0].text.len(), all.left_out), (300, 700));
    }
}
