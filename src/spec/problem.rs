//! What is wrong with a spec: every problem with its place, the offending line and a way out.

use std::fmt;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::path::SpecPath;
use super::source::{Place, Source};
use crate::report::text;

/// Most problems that are rendered in full.
const RENDERED: usize = 50;

/// One thing that is wrong.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The key or item of the spec.
    pub path: SpecPath,
    /// Where it is written.
    pub place: Place,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<Box<str>>,
    /// Other places that have to do with it, each with a few words.
    pub related: Vec<(Place, String)>,
}

impl Problem {
    /// A problem at a place.
    pub fn new(path: SpecPath, place: Place, message: impl Into<String>) -> Self {
        Self {
            path,
            place,
            message: message.into(),
            help: None,
            related: Vec::new(),
        }
    }

    /// With a way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into().into_boxed_str());
        self
    }

    /// With another place.
    pub fn also(mut self, place: Place, words: impl Into<String>) -> Self {
        self.related.push((place, words.into()));
        self
    }

    /// As a warning for a person; `colour` for a terminal.
    pub fn as_warning(&self, colour: bool) -> String {
        self.render(&renderer(colour), Level::WARNING)
    }

    fn render(&self, renderer: &Renderer, level: Level<'static>) -> String {
        let title = level.primary_title(printable(&self.message));
        let mut group = place_in(Group::with_title(title), &self.place, None);
        for (place, words) in &self.related {
            group = place_in(group, place, Some(words));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(printable(help)));
        }
        renderer.render(&[group])
    }
}

/// Why a spec was rejected: every problem that was found, in the order of the text.
#[derive(Clone, Debug)]
pub struct SpecError {
    /// The spec file, as the user named it.
    pub spec: String,
    /// At least one.
    pub problems: Vec<Problem>,
    /// Whether nothing but the model is to blame.
    pub of_model: bool,
}

impl SpecError {
    /// Problems of a spec, put into the order of the text.
    pub fn new(spec: &Arc<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| {
            let place = &problem.place;
            let elsewhere = place.source.name != spec.name;
            let start = place.span.as_ref().map_or(0, |span| span.start);
            (elsewhere, place.source.name.clone(), start)
        });
        Self {
            spec: spec.name.clone(),
            problems,
            of_model: false,
        }
    }

    /// The report for a person; `colour` for a terminal.
    pub fn render(&self, colour: bool) -> String {
        let renderer = renderer(colour);
        let mut report: Vec<String> = (self.problems.iter().take(RENDERED))
            .map(|problem| problem.render(&renderer, Level::ERROR))
            .collect();
        if self.problems.len() > RENDERED {
            report.push(format!("… and {} more", self.problems.len() - RENDERED));
        }
        let summary = match self.problems.len() {
            1 => "1 problem".to_owned(),
            n => format!("{n} problems"),
        };
        report.push(format!("{}: {summary}", printable(&self.spec)));
        report.join("\n\n")
    }
}

fn renderer(colour: bool) -> Renderer {
    match colour {
        true => Renderer::styled(),
        false => Renderer::plain(),
    }
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for SpecError {}

/// Of a longer line only the beginning is shown, in bytes: drawing takes many times its length.
const SHOWN: usize = 10_000;

/// Adds the first line of a place, underlined, to a group; or only the file's name when no line is meant.
fn place_in<'a>(group: Group<'a>, place: &'a Place, words: Option<&'a String>) -> Group<'a> {
    let Some(span) = &place.span else {
        return group.element(Origin::path(printable(&place.source.name)));
    };
    let text = &place.source.text;
    let start = floor_boundary(text, span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |end| end + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |n| start + n);
    let line = text[line_start..line_end].trim_end_matches('\r');
    let from = (start - line_start).min(line.len());
    if from > SHOWN {
        return group.element(Origin::path(printable(&place.source.name)));
    }
    let line = &line[..floor_boundary(line, from + SHOWN)];
    let to = floor_boundary(line, span.end.saturating_sub(line_start)).max(from);
    let annotation = match words {
        None => AnnotationKind::Primary.span(from..to),
        Some(words) => AnnotationKind::Context.span(from..to).label(words),
    };
    group.element(
        Snippet::source(line)
            .path(printable(&place.source.name))
            .line_start(text[..line_start].matches('\n').count() + 1)
            .annotation(annotation),
    )
}

/// The nearest character boundary at or before a byte, inside the text.
fn floor_boundary(text: &str, byte: usize) -> usize {
    let byte = byte.min(text.len());
    (0..=byte)
        .rev()
        .find(|&b| text.is_char_boundary(b))
        .unwrap_or(0)
}

/// A text without characters that could disturb a terminal.
fn printable(text: &str) -> String {
    let shown = |c: char| match c {
        '\n' => ' ',
        c if c.is_control() => '\u{fffd}',
        c if text::is_unseen(c) => '\u{fffd}',
        c => c,
    };
    text.chars().map(shown).collect()
}

/// A value as it is quoted in a message: on one line, cut off when long.
pub fn quote(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        return format!("`{text}`");
    }
    let start: String = text.chars().take(MOST).collect();
    format!("`{start}…`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_shows_its_line_and_the_way_out() {
        let source = Arc::new(Source {
            name: "a.yaml".into(),
            text: "name: x\r\nhorizon: 3\r\n".into(),
        });
        let problem = Problem::new(
            SpecPath::root(),
            Place::span(&source, 9..16),
            "unknown key `horizon`",
        );
        let error = SpecError::new(&source, vec![problem.help("did you mean `horizons`?")]);
        let report = error.to_string();
        for part in [
            "error: unknown key",
            "a.yaml:2:1",
            "2 | horizon: 3",
            "help: did",
        ] {
            assert!(report.contains(part), "{part} is missing in\n{report}");
        }
        assert!(error.render(true).contains("\u{1b}["));
    }

    #[test]
    fn no_span_can_break_the_report() {
        let source = Arc::new(Source {
            name: "a.yaml".into(),
            text: "é\u{7}\u{202e}\n\t\u{0}".into(),
        });
        for start in 0..20 {
            for end in 0..20 {
                let place = Place::span(&source, start..end);
                let error = Problem::new(SpecPath::root(), place, "bad \u{1b}[31m");
                let report = SpecError::new(&source, vec![error]).to_string();
                assert!(
                    !report.contains(['\u{1b}', '\u{202e}', '\u{7}']),
                    "{report:?}"
                );
            }
        }
    }
}
