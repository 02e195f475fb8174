//! Spans of every oracle, on texts made of pieces that oracles look for, between pieces that are hard to cut.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use proptest::prelude::*;

use super::*;

const PIECES: [&str; 20] = [
    "le", "chat", "Dog", "dog's", "ÄRGER", "ärger", "12", "-3.5", "1,000", "−7", "Paris", "New",
    "York", " ", "  ", "\n", "漢字", "e\u{301}", "…", "🙂",
];

fn texts() -> impl Strategy<Value = String> {
    proptest::collection::vec(0..PIECES.len(), 0..12)
        .prop_map(|pieces| pieces.into_iter().map(|i| PIECES[i]).collect())
}

fn strings(list: &[&str], need: Need) -> Strings {
    Strings {
        strings: list.iter().map(|s| (*s).to_owned()).collect(),
        need,
        case_sensitive: false,
    }
}

/// One of every kind, with its name.
fn oracles() -> Vec<(&'static str, Oracle)> {
    let words = |list: &[&str]| {
        list.iter()
            .map(|s| (*s).to_owned())
            .collect::<BTreeSet<_>>()
    };
    let contains = Oracle::Contains(strings(&["dog", "ärger", "字"], Need::Any));
    let number = Oracle::Number {
        expect: "number".into(),
        which: WhichNumber::Any,
        tolerance: 0.0,
    };
    let exact = |mode| Oracle::Exact {
        expect: "city".into(),
        mode,
    };
    vec![
        ("contains", contains.clone()),
        (
            "both",
            Oracle::Contains(strings(&["le", "chat"], Need::All)),
        ),
        (
            "starts_with",
            Oracle::StartsWith(strings(&["le", "漢"], Need::Any)),
        ),
        ("regex", Oracle::Regex("[0-9]+|\\p{Han}+".into())),
        (
            "lexicon",
            Oracle::Lexicon(Lexicon {
                words: words(&["le", "chat", "dog's"]),
                against: Some(words(&["paris"])),
                at_least: 0.5,
                min_words: 1,
            }),
        ),
        (
            "script",
            Oracle::UnicodeScript {
                script: "Latin".into(),
                at_least: 0.5,
            },
        ),
        ("number", number.clone()),
        ("exact", exact(ExactMode::Contained)),
        ("exact", exact(ExactMode::Prefix)),
        ("exact", exact(ExactMode::Whole)),
        ("all", Oracle::All(vec![contains.clone(), number.clone()])),
        ("any", Oracle::Any(vec![number, contains.clone()])),
        ("not", Oracle::Not(Box::new(contains))),
    ]
}

static JUDGES: LazyLock<Vec<(&str, Judge)>> = LazyLock::new(|| {
    let oracles = oracles().into_iter();
    oracles
        .map(|(name, oracle)| (name, oracle.compile().unwrap()))
        .collect()
});

fn expected() -> BTreeMap<String, String> {
    let pairs = [("number", "1000"), ("city", "New  York")];
    pairs
        .map(|(name, value)| (name.into(), value.into()))
        .into()
}

/// A piece that decided, read as its oracle reads it.
fn decides(name: &str, piece: &str) -> bool {
    let folded = piece.to_lowercase();
    match name {
        "contains" => ["dog", "ärger", "字"].contains(&&*folded),
        "both" => folded == "le" || folded == "chat",
        "starts_with" => folded == "le" || folded == "漢",
        "regex" => {
            !piece.is_empty()
                && piece
                    .chars()
                    .all(|c| c.is_ascii_digit() || "漢字".contains(c))
        }
        "number" => parse_number(piece) == Some(1000.0),
        "exact" => piece.split_whitespace().eq(["New", "York"]),
        _ => !piece.is_empty(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn every_span_is_what_decided(text in texts()) {
        let expect = expected();
        for (name, judge) in JUDGES.iter() {
            let judgement = judge.judge(&text, &expect);
            let decided = judgement.holds && *name != "not";
            prop_assert_eq!(judgement.span.is_some(), decided, "{} in {:?}", name, &text);
            if let Some(span) = judgement.span {
                // `get` is none unless both ends lie on character boundaries inside the text.
                let piece = text.get(span.clone());
                prop_assert!(piece.is_some_and(|p| decides(name, p)), "{} in {:?}: {:?}", name, &text, piece);
            }
        }
    }
}
