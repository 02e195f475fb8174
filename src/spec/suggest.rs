//! "Did you mean …?"

/// The candidate most like `word`, if one is like it at all; the first among equals.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const LEAST_SIMILARITY: f64 = 0.6;
    if word.is_empty() || word.len() > 200 {
        return None;
    }
    let folded = fold(word);
    let mut best: Option<(&str, f64)> = None;
    for candidate in candidates {
        let similarity = strsim::normalized_damerau_levenshtein(&folded, &fold(candidate));
        if similarity >= LEAST_SIMILARITY && best.is_none_or(|(_, most)| similarity > most) {
            best = Some((candidate, similarity));
        }
    }
    best.map(|(candidate, _)| candidate)
}

/// "did you mean `x`?", or a list of what is allowed.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    match nearest(word, candidates.clone()) {
        Some(candidate) => format!("did you mean `{candidate}`?"),
        None => {
            let known = list(candidates);
            if known.is_empty() {
                "there is none to choose from".into()
            } else {
                format!("known here: {known}")
            }
        }
    }
}

/// `a`, `b`, `c`; cut off after a dozen.
pub fn list<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 12;
    let words: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match words.len() {
        0..=MOST => words.join(", "),
        n => format!("{} and {} more", words[..MOST].join(", "), n - MOST),
    }
}

/// Spelling differences that do not count: case, `-` for `_`, British `ou`.
fn fold(word: &str) -> String {
    word.to_lowercase()
        .replace(['-', ' '], "_")
        .replace("our", "or")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_slip_of_the_finger_and_nothing_else() {
        let keys = ["horizons", "sample", "stop_at_end", "behaviors"];
        for (word, expected) in [
            ("horizon", Some("horizons")),
            ("horizosn", Some("horizons")),
            ("stop-at-end", Some("stop_at_end")),
            ("behaviours", Some("behaviors")),
            ("temperature", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
        assert_eq!(did_you_mean("zzz", ["a", "b"]), "known here: `a`, `b`");
    }
}
