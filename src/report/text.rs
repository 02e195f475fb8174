//! Untrusted text made harmless: prompts, rollouts and names come from models and from strangers' files.
//!
//! HTML and SVG are escaped when they are written; here invisible characters become visible, long texts are clipped, and Markdown is
//! kept from meaning anything.

use std::fmt::Write as _;
use std::path::Path;

/// Longest stretch without a place to break, in characters, that Markdown text keeps.
const LONGEST_WORD: usize = 72;

/// Characters that show nothing, or change how others are shown, made visible: control characters as their pictures (`␀`), bidirectional
/// and other format characters as `⟨U+202E⟩`. Line ends and tabs stay; joiners and emoji selectors stay, because scripts need them.
pub fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\t' => shown.push(c),
            '\0'..='\u{1f}' => shown.push(char::from_u32(0x2400 + c as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => shown.push('␡'),
            _ if is_unseen(c) => {
                let _ = write!(shown, "⟨U+{:04X}⟩", c as u32);
            }
            _ => shown.push(c),
        }
    }
    shown
}

/// Whether a character shows nothing by itself or reorders its neighbours.
pub fn is_unseen(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{9f}'               // C1 controls
        | '\u{ad}' | '\u{61c}' | '\u{180e}'
        | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}'         // separators, embeddings and overrides
        | '\u{2060}'..='\u{206f}'         // invisible operators, isolates
        | '\u{fdd0}'..='\u{fdef}' | '\u{feff}' | '\u{fff0}'..='\u{fffb}' | '\u{fffe}' | '\u{ffff}'
        | '\u{e0000}'..='\u{e0fff}') // tags and supplementary selectors
}

/// At most `limit` characters, and how many were left out.
pub fn clip(text: &str, limit: usize) -> (String, usize) {
    match text.char_indices().nth(limit) {
        None => (text.to_owned(), 0),
        Some((end, _)) => (text[..end].to_owned(), text[end..].chars().count()),
    }
}

/// One line of at most `limit` characters for a label in a figure.
pub fn label(text: &str, limit: usize) -> String {
    let line = one_line(text);
    match clip(&line, limit) {
        (all, 0) => all,
        (start, _) => start + "…",
    }
}

/// Text for XML content and double-quoted attributes.
pub fn xml(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in visible(text).chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text that Markdown shows as it is, anywhere in a paragraph, heading or table cell: no emphasis, HTML, links (bare addresses
/// included), lists, headings or cell ends.
pub fn markdown(text: &str) -> String {
    // White space at the ends separates words of a template; more than one space could start a code block.
    let space = |there: bool| if there { " " } else { "" };
    let (before, after) = (
        text.starts_with(char::is_whitespace),
        text.ends_with(char::is_whitespace),
    );
    format!(
        "{}{}{}",
        space(before),
        escaped(&soften(&one_line(text))),
        space(after)
    )
}

fn escaped(line: &str) -> String {
    let chars: Vec<char> = line.chars().collect();
    let mut escaped = String::with_capacity(line.len());
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|b| chars[b]);
        let after = chars.get(i + 1).copied();
        match c {
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            // A code span keeps hosts from making an address or a mention of it.
            '@' => {
                let (first, last) = (before != Some('@'), after != Some('@'));
                escaped.push_str(match (first, last) {
                    (true, true) => "`@`",
                    (true, false) => "`@",
                    (false, true) => "@`",
                    (false, false) => "@",
                });
            }
            ':' if after == Some('/') => escaped.push_str("&#58;"),
            '.' if is_www(&chars[..i]) => escaped.push_str("&#46;"),
            '_' if is_word(before) && is_word(after) => escaped.push('_'),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '$' => escaped.extend(['\\', c]),
            '#' | '>' | '-' | '+' | '=' if i == 0 => escaped.extend(['\\', c]),
            '.' | ')' if is_list_number(&chars[..i]) && after.is_none_or(|a| a == ' ') => {
                escaped.extend(['\\', c]);
            }
            _ => escaped.push(c),
        }
    }
    escaped
}

/// Text as Markdown code on one line. Inside a table, use [`markdown_table_code`].
pub fn markdown_code(text: &str) -> String {
    let line = soften(&one_line(text));
    if line.is_empty() {
        return "*(empty)*".into();
    }
    let longest = line.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if line.starts_with('`') || line.ends_with('`') {
        " "
    } else {
        ""
    };
    format!("{fence}{pad}{line}{pad}{fence}")
}

/// Text as Markdown code in a table cell, where a pipe would end the cell even inside code.
pub fn markdown_table_code(text: &str) -> String {
    // A backslash right before a pipe is read in two ways by different hosts: keep them apart.
    markdown_code(&text.replace("\\|", "\\ |")).replace('|', "\\|")
}

/// A word of a command line that a person pastes, quoted where a shell would not take it as it is.
pub fn shell_word(word: &str) -> String {
    // A line end would leave the command, and the comment or code block that shows it.
    let word = visible(word).replace(['\n', '\t'], "␤");
    // Only a word with a NUL cannot be quoted, and none is left.
    shlex::try_quote(&word).map_or_else(|_| word.clone(), Into::into)
}

/// The same for a path: with `-` before it, it would be taken for a flag.
pub fn shell_path(path: &Path) -> String {
    let path = path.display().to_string();
    match path.starts_with('-') {
        true => shell_word(&format!("./{path}")),
        false => shell_word(&path),
    }
}

/// Visible, on one line, without white space at the ends; line ends are shown as `↵`.
fn one_line(text: &str) -> String {
    let shown = visible(text.trim());
    let mut line = String::with_capacity(shown.len());
    for (i, part) in shown.split('\n').enumerate() {
        if i > 0 {
            line.push_str(if line.ends_with(' ') { "↵ " } else { " ↵ " });
        }
        line.push_str(&part.replace('\t', " "));
    }
    line.trim().to_owned()
}

/// Words too long for a line are broken with `⤶ `.
fn soften(line: &str) -> String {
    let mut softened = String::with_capacity(line.len());
    let mut run = 0;
    for c in line.chars() {
        // East Asian scripts break anywhere.
        run = if c.is_whitespace() || c >= '\u{2e80}' {
            0
        } else {
            run + 1
        };
        if run > LONGEST_WORD {
            softened.push_str("⤶ ");
            run = 1;
        }
        softened.push(c);
    }
    softened
}

fn is_word(c: Option<char>) -> bool {
    c.is_some_and(char::is_alphanumeric)
}

fn is_www(before: &[char]) -> bool {
    before.len() >= 3
        && before[before.len() - 3..]
            .iter()
            .all(|c| matches!(c, 'w' | 'W'))
}

fn is_list_number(before: &[char]) -> bool {
    !before.is_empty() && before.iter().all(char::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unseen_characters_are_seen() {
        assert_eq!(
            visible("a\0b\u{1b}[31m\u{202e}c\u{200b}"),
            "a␀b␛[31m⟨U+202E⟩c⟨U+200B⟩"
        );
        assert_eq!(visible("👩\u{200d}🚀 ok\n"), "👩\u{200d}🚀 ok\n");
    }

    #[test]
    fn markdown_means_nothing() {
        assert_eq!(markdown("# a"), "\\# a");
        assert_eq!(markdown(", "), ", ");
        assert_eq!(markdown("1. a 2. b"), "1\\. a 2. b");
        assert_eq!(
            markdown("[x](javascript:alert(1))"),
            "\\[x\\](javascript:alert(1))"
        );
        assert_eq!(markdown("<b>|`*"), "&lt;b>\\|\\`\\*");
        assert_eq!(
            markdown("participation_ratio _x_"),
            "participation_ratio \\_x\\_"
        );
        assert_eq!(
            markdown("https://a.b www.a.b x@@y.z"),
            "https&#58;//a.b www&#46;a.b x`@@`y.z"
        );
        assert_eq!(markdown("a\n\n| b"), "a ↵ ↵ \\| b");
    }

    #[test]
    fn code_is_fenced_by_more_than_it_holds() {
        assert_eq!(markdown_code("a ``b` c"), "```a ``b` c```");
        assert_eq!(markdown_code("`"), "`` ` ``");
        assert_eq!(markdown_code(" "), "*(empty)*");
        assert_eq!(markdown_table_code("a|b\\|c"), "`a\\|b\\ \\|c`");
    }

    #[test]
    fn commands_can_be_pasted() {
        for (path, shown) in [
            ("runs/quickstart-2.yaml", "runs/quickstart-2.yaml"),
            ("sp ace/o u t", "'sp ace/o u t'"),
            ("a b'; rm -rf ~", r#""a b'; rm -rf ~""#),
            ("a\n```\n# b", "'a␤```␤# b'"),
            ("-d", "./-d"),
            ("--", "./--"),
            ("", "''"),
        ] {
            assert_eq!(shell_path(Path::new(path)), shown);
        }
        assert_eq!(shell_word("a\0\u{202e}b"), "'a␀⟨U+202E⟩b'");
    }

    #[test]
    fn long_words_break() {
        let broken = markdown(&"x".repeat(500));
        assert!(
            broken
                .split(' ')
                .all(|word| word.chars().count() <= LONGEST_WORD + 1)
        );
        assert_eq!(clip("äöü", 2), ("äö".to_owned(), 1));
        assert_eq!(label(&"y".repeat(50), 5), "yyyyy…");
    }
}
