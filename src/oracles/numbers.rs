//! `number`: a number in the text against the prompt's expected value.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::LazyLock;

use regex::Regex;

use super::judge::Judgement;
use crate::spec::oracle::WhichNumber;

/// A number: digits with commas between thousands, a decimal point, an exponent, a sign (also the typographic minus).
static NUMBER: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"[-+−]?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+\b|[0-9]+)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+\b)?|\.[0-9]+)")
        .expect("a constant pattern (held by a test)")
});

/// An expected number.
#[derive(Debug)]
pub struct NumberJudge {
    pub expect: String,
    pub which: WhichNumber,
    pub tolerance: f64,
}

impl NumberJudge {
    pub fn judge(&self, text: &str, expect: &BTreeMap<String, String>) -> Judgement {
        let Some(wanted) = expect
            .get(&self.expect)
            .and_then(|value| parse_number(value))
        else {
            return Judgement::no(format!("the prompt expects no number `{}`", self.expect));
        };
        let equals = |&(_, number): &(Range<usize>, f64)| (number - wanted).abs() <= self.tolerance;
        let mut numbers = numbers(text);
        let (which, found) = match self.which {
            WhichNumber::First => ("first", numbers.next()),
            WhichNumber::Last => ("last", numbers.last()),
            WhichNumber::Any => match numbers.find(equals) {
                Some(found) => ("a", Some(found)),
                None => return Judgement::no(format!("no number is {wanted}")),
            },
        };
        let Some((span, number)) = found else {
            return Judgement::no("no number in the text".into());
        };
        if equals(&(span.clone(), number)) {
            let article = if which == "a" { "" } else { "the " };
            Judgement::yes(format!("{article}{which} number is {number}"), Some(span))
        } else {
            Judgement::no(format!("the {which} number is {number}, not {wanted}"))
        }
    }
}

/// A text that is one number and nothing else, white space around it aside.
pub fn parse_number(text: &str) -> Option<f64> {
    let text = text.trim();
    let found = NUMBER.find(text).filter(|found| found.as_str() == text)?;
    value(found.as_str())
}

/// The numbers of a text in order. Digits that hang on a Latin letter (`R2`) are no number, and a minus behind a letter, a digit or
/// a bracket (`5-3`) is no sign.
fn numbers(text: &str) -> impl Iterator<Item = (Range<usize>, f64)> {
    NUMBER.find_iter(text).filter_map(|found| {
        let before = text[..found.start()].chars().next_back();
        let hangs = before.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        let unsigned = found.as_str().trim_start_matches(['-', '+', '−']);
        let has_sign = unsigned.len() < found.len();
        let is_operator = hangs || before.is_some_and(|c| matches!(c, ')' | ']'));
        match (has_sign, hangs) {
            (true, _) if is_operator => {
                Some((found.end() - unsigned.len()..found.end(), value(unsigned)?))
            }
            (false, true) => None,
            _ => Some((found.range(), value(found.as_str())?)),
        }
    })
}

/// The value of digits as [`NUMBER`] finds them; `None` when it is not finite.
fn value(digits: &str) -> Option<f64> {
    let plain = digits.replace(',', "").replace('−', "-");
    plain.parse().ok().filter(|number: &f64| number.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<f64> {
        numbers(text).map(|(_, number)| number).collect()
    }

    #[test]
    fn numbers_are_found_as_a_reader_finds_them() {
        for (text, expected) in [
            ("It is 12.", vec![12.0]),
            ("-3.5 and +2", vec![-3.5, 2.0]),
            ("−7", vec![-7.0]),
            ("5-3 = 2", vec![5.0, 3.0, 2.0]),
            ("(4)-1", vec![4.0, 1.0]),
            ("1,000 or 12,345.5", vec![1000.0, 12345.5]),
            ("1,2 and 3,4567", vec![1.0, 2.0, 3.0, 4567.0]),
            ("R2D2 has x_1", vec![]),
            ("答案是5", vec![5.0]),
            ("1e3, 2E-2", vec![1000.0, 0.02]),
            ("=.5", vec![0.5]),
            ("1e999", vec![]),
            ("none", vec![]),
        ] {
            assert_eq!(values(text), expected, "{text}");
        }
    }

    #[test]
    fn which_number_and_how_near() {
        use WhichNumber::{Any, First, Last};
        for (which, tolerance, text, expected) in [
            (First, 0.0, "12, not 13", true),
            (Last, 0.0, "12, not 13", false),
            (Last, 0.0, "13? No: 12.0", true),
            (Any, 0.0, "11 12 13", true),
            (Any, 0.0, "11 13", false),
            (Last, 0.5, "12.5", true),
            (Last, 0.4, "12.5", false),
            (Last, 0.0, "no idea", false),
        ] {
            let judge = NumberJudge {
                expect: "answer".into(),
                which,
                tolerance,
            };
            let expect = BTreeMap::from([("answer".into(), "12".into())]);
            assert_eq!(judge.judge(text, &expect).holds, expected, "{text}");
            assert!(!judge.judge(text, &BTreeMap::new()).holds);
        }
    }

    #[test]
    fn the_deciding_number_is_the_span() {
        let judge = NumberJudge {
            expect: "answer".into(),
            which: WhichNumber::Any,
            tolerance: 0.0,
        };
        let expect = BTreeMap::from([("answer".into(), "3".into())]);
        let judgement = judge.judge("5-3", &expect);
        assert_eq!(
            (judgement.span, judgement.rule.as_str()),
            (Some(2..3), "a number is 3")
        );
    }

    #[test]
    fn only_a_number_parses() {
        assert_eq!(parse_number(" 1,000 "), Some(1000.0));
        for text in ["", "abc", "1 2", "12x", "1,00"] {
            assert_eq!(parse_number(text), None, "{text}");
        }
    }
}
