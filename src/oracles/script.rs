//! `unicode_script`: the share of a text's letters that belongs to a script.

use std::ops::Range;

use unicode_script::{Script, UnicodeScript};

use super::judge::Judgement;

/// A script and the least share of it.
#[derive(Debug)]
pub struct ScriptJudge {
    pub script: Script,
    pub at_least: f64,
}

/// The script of a letter that is counted. What several scripts have in common tells none of them.
fn counted(character: char) -> Option<Script> {
    let script = character.is_alphabetic().then(|| character.script())?;
    let shared = [Script::Common, Script::Inherited, Script::Unknown];
    (!shared.contains(&script)).then_some(script)
}

/// Whether any letter of a script is counted.
pub fn has_letters(script: Script) -> bool {
    (char::MIN..=char::MAX).any(|c| counted(c) == Some(script))
}

impl ScriptJudge {
    pub fn judge(&self, text: &str) -> Judgement {
        let (mut letters, mut inside) = (0_usize, 0_usize);
        // From the first counted letter to the last.
        let mut span: Option<Range<usize>> = None;
        for (at, letter) in text.char_indices() {
            let Some(script) = counted(letter) else {
                continue;
            };
            letters += 1;
            span = Some(span.map_or(at, |s| s.start)..at + letter.len_utf8());
            inside += usize::from(script == self.script);
        }
        let rule = format!(
            "{inside} of {letters} letters are {}",
            self.script.full_name()
        );
        if letters > 0 && inside as f64 / letters as f64 >= self.at_least {
            Judgement::yes(rule, span)
        } else {
            Judgement::no(rule)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted_and_nothing_else() {
        for (script, at_least, text, expected) in [
            (Script::Cyrillic, 1.0, "Привет, 42!", true),
            (Script::Cyrillic, 0.6, "Привет abc", true),
            (Script::Cyrillic, 0.7, "Привет abc", false),
            (Script::Latin, 1.0, "Größe", true),
            (Script::Han, 1.0, "漢字", true),
            (Script::Han, 0.0, "123", false),
            (Script::Latin, 0.0, "", false),
        ] {
            let judge = ScriptJudge { script, at_least };
            assert_eq!(judge.judge(text).holds, expected, "{script:?} in {text}");
        }
        let judge = ScriptJudge {
            script: Script::Han,
            at_least: 1.0,
        };
        assert_eq!(judge.judge("1 漢字。").span, Some(2..8));
    }

    #[test]
    fn scripts_without_a_letter_of_their_own_are_known() {
        for script in [Script::Common, Script::Inherited, Script::Unknown] {
            assert!(!has_letters(script), "{script:?}");
        }
        for script in [Script::Latin, Script::Han, Script::Adlam] {
            assert!(has_letters(script), "{script:?}");
        }
    }
}
