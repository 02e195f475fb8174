//! The tree from the parser's events.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::{Entry, Kind, Node, Unbuilt};
use crate::spec::path::SpecPath;
use crate::spec::problem::{Problem, quote};
use crate::spec::source::{Place, Source};

/// Deepest nesting.
const DEPTH: usize = 64;
/// Most values that aliases may add.
const ALIASED_VALUES: usize = 100_000;
/// Most text that aliases may add, in bytes.
const ALIASED_TEXT: usize = 1 << 20;

/// A tree in the making.
pub struct Builder<'a> {
    source: &'a Arc<Source>,
    /// Byte offset of each character; empty when the text is ASCII and both are the same.
    bytes: Vec<usize>,
    open: Vec<Frame>,
    anchors: BTreeMap<usize, Arc<Node>>,
    aliased_values: usize,
    aliased_text: usize,
    root: Option<Arc<Node>>,
    duplicates: Vec<Problem>,
}

/// A list or mapping that has not ended yet.
struct Frame {
    anchor: usize,
    span: Range<usize>,
    content: Content,
}

enum Content {
    List(Vec<Arc<Node>>),
    Map {
        entries: Vec<Entry>,
        seen: BTreeMap<String, Range<usize>>,
        key: Option<(String, Range<usize>)>,
    },
}

impl<'a> Builder<'a> {
    pub fn new(source: &'a Arc<Source>) -> Self {
        let text = &source.text;
        let bytes = if text.is_ascii() {
            Vec::new()
        } else {
            text.char_indices().map(|(byte, _)| byte).collect()
        };
        Self {
            source,
            bytes,
            open: Vec::new(),
            anchors: BTreeMap::new(),
            aliased_values: 0,
            aliased_text: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    pub fn build(mut self) -> Result<Arc<Node>, Unbuilt> {
        let events = Parser::new_from_str(&self.source.text);
        let mut fatal = None;
        for event in events {
            let taken = match event {
                Ok((event, span)) => self.take(event, span),
                Err(error) => Err(self.unreadable(&error)),
            };
            if let Err(problem) = taken {
                fatal = Some(Box::new(problem));
                break;
            }
        }
        let duplicates = self.duplicates;
        match self.root {
            Some(root) if duplicates.is_empty() && fatal.is_none() => Ok(root),
            None if fatal.is_none() => Err(Unbuilt {
                duplicates,
                fatal: Some(Box::new(empty(self.source))),
            }),
            _ => Err(Unbuilt { duplicates, fatal }),
        }
    }

    /// Takes one event; an error ends the reading.
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Problem> {
        let at = self.range(span);
        match event {
            Event::DocumentStart(_) if self.root.is_some() => Err(self
                .problem(at, "a second YAML document starts here")
                .help("one file holds one study: remove the line `---`, or split the file")),
            Event::Scalar(text, style, anchor, _) => {
                let plain = style == ScalarStyle::Plain;
                let text = text.into_owned();
                self.finish(Node::new(at, Kind::Scalar { text, plain }), anchor)
            }
            Event::SequenceStart(anchor, _) => self.enter(anchor, at, Content::List(Vec::new())),
            Event::MappingStart(anchor, _) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    seen: BTreeMap::new(),
                    key: None,
                };
                self.enter(anchor, at, content)
            }
            Event::SequenceEnd | Event::MappingEnd => self.leave(),
            Event::Alias(anchor) => self.alias(anchor, at),
            _ => Ok(()),
        }
    }

    fn enter(
        &mut self,
        anchor: usize,
        span: Range<usize>,
        content: Content,
    ) -> Result<(), Problem> {
        if self.open.len() >= DEPTH {
            return Err(self.too_deep(span));
        }
        self.open.push(Frame {
            anchor,
            span,
            content,
        });
        Ok(())
    }

    fn leave(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.open.pop() else {
            return Ok(());
        };
        let (span, kind) = match frame.content {
            Content::List(items) => (frame.span, Kind::List(items)),
            Content::Map { entries, .. } => {
                let first = entries.first().map(|entry| entry.key_span.clone());
                (first.unwrap_or(frame.span), Kind::Map(merged(entries)))
            }
        };
        self.finish(Node::new(span, kind), frame.anchor)
    }

    fn finish(&mut self, node: Node, anchor: usize) -> Result<(), Problem> {
        let node = Arc::new(node);
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        let at = node.span.clone();
        self.attach(node, at)
    }

    fn alias(&mut self, anchor: usize, at: Range<usize>) -> Result<(), Problem> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return Err(self.problem(at, "this alias stands inside the value that it repeats"));
        };
        self.aliased_values = self.aliased_values.saturating_add(node.values);
        self.aliased_text = self.aliased_text.saturating_add(node.text);
        if self.aliased_values > ALIASED_VALUES || self.aliased_text > ALIASED_TEXT {
            return Err(self.problem(at, "aliases repeat too much").help(format!(
                "they may add at most {ALIASED_VALUES} values and {ALIASED_TEXT} bytes in all"
            )));
        }
        if self.open.len() + node.depth > DEPTH {
            return Err(self.too_deep(at));
        }
        self.attach(node, at)
    }

    /// Puts a finished value where it belongs. `at` is where it is used, which for an alias is not where it stands.
    fn attach(&mut self, node: Arc<Node>, at: Range<usize>) -> Result<(), Problem> {
        let Some(frame) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        match &mut frame.content {
            Content::List(items) => items.push(node),
            Content::Map { entries, seen, key } => match key.take() {
                Some((key, key_span)) => entries.push(Entry {
                    key,
                    key_span,
                    value: node,
                }),
                None => {
                    let Kind::Scalar { text, .. } = &node.kind else {
                        return Err(self
                            .problem(at, "a list or mapping cannot be a key")
                            .help("text with `{`, `}`, `[` or `]` needs quotes"));
                    };
                    let text = text.clone();
                    let first = seen.insert(text.clone(), at.clone());
                    *key = Some((text.clone(), at.clone()));
                    if let Some(first) = first {
                        let twice = self
                            .problem(at, format!("the key {} stands here twice", quote(&text)))
                            .also(Place::span(self.source, first), "first here")
                            .help("keep one of the two");
                        self.duplicates.push(twice);
                    }
                }
            },
        }
        Ok(())
    }

    fn unreadable(&self, error: &ScanError) -> Problem {
        let start = self.byte(error.marker());
        let end =
            (self.source.text[start..].chars().next()).map_or(start, |c| start + c.len_utf8());
        if error.info().contains("unknown anchor") {
            return self
                .problem(start..end, "this alias repeats nothing")
                .help("its anchor, `&name`, must stand before it; text with `*` needs quotes");
        }
        if let Some(tab) = self.tab_before(start) {
            return self
                .problem(tab..tab + 1, "a tab is used for indentation")
                .help("YAML allows only spaces there");
        }
        let message = format!("this is not valid YAML: {}", error.info());
        self.problem(start..end, message).help(
            "look for a missing `:`, quote or bracket, or for uneven indentation, here or on the line before",
        )
    }

    /// A tab that indents the line of a byte, or the line before.
    fn tab_before(&self, byte: usize) -> Option<usize> {
        let text = &self.source.text;
        let end = text[byte..].find('\n').map_or(text.len(), |n| byte + n);
        let mut line_end = end;
        for _ in 0..2 {
            let line_start = text[..line_end].rfind('\n').map_or(0, |n| n + 1);
            let line = &text[line_start..line_end];
            let indent = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
            if let Some(tab) = indent.find('\t') {
                return Some(line_start + tab);
            }
            line_end = line_start.checked_sub(1)?;
        }
        None
    }

    fn too_deep(&self, at: Range<usize>) -> Problem {
        self.problem(at, format!("this is nested more than {DEPTH} levels deep"))
    }

    fn problem(&self, at: Range<usize>, message: impl Into<String>) -> Problem {
        Problem::new(SpecPath::root(), Place::span(self.source, at), message)
    }

    fn range(&self, span: Span) -> Range<usize> {
        let start = self.byte(&span.start);
        start..self.byte(&span.end).max(start)
    }

    fn byte(&self, marker: &Marker) -> usize {
        let end = self.source.text.len();
        if self.bytes.is_empty() {
            marker.index().min(end)
        } else {
            self.bytes.get(marker.index()).copied().unwrap_or(end)
        }
    }
}

fn empty(source: &Arc<Source>) -> Problem {
    let message = format!("{} is empty", source.name);
    Problem::new(SpecPath::root(), Place::whole(source), message)
        .help("write a spec to start from with `reachspec init`")
}

/// Entries with the merge key `<<` replaced by what it merges: keys that are written win, then earlier merged mappings.
fn merged(mut entries: Vec<Entry>) -> Vec<Entry> {
    let Some(position) = entries.iter().position(|entry| entry.key == "<<") else {
        return entries;
    };
    let merge = entries.remove(position);
    let mappings: Vec<&Arc<Node>> = match &merge.value.kind {
        Kind::List(items) => items.iter().collect(),
        _ => vec![&merge.value],
    };
    for mapping in mappings {
        if let Kind::Map(inherited) = &mapping.kind {
            for entry in inherited {
                if !entries.iter().any(|known| known.key == entry.key) {
                    entries.push(entry.clone());
                }
            }
        }
    }
    entries
}
