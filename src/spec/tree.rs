//! A YAML text as a tree in which every key and value knows where it stands.
//!
//! `serde_yaml` parses the values ([`super::value`]); this tree says where they are, and refuses what a spec must not hold before
//! any value is made: several documents, duplicate keys, keys that are no text, deep nesting, alias bombs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

use super::path::{SpecPath, Step};
use super::problem::{Problem, quote};
use super::source::{Place, Source};

/// Deepest nesting.
const DEPTH: usize = 64;
/// Most values that aliases may add.
const ALIASED_VALUES: usize = 100_000;

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    /// Bytes of the text. For a list or mapping: its first characters.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// Values in it, itself included, with aliases expanded.
    values: usize,
    /// Levels in it, itself included, with aliases expanded.
    depth: usize,
}

/// The kinds of value.
#[derive(Debug)]
pub enum Kind {
    /// A scalar as it is written, without quotes.
    Scalar {
        /// The text.
        text: String,
        /// Whether it was written without quotes.
        plain: bool,
    },
    /// A list.
    List(Vec<Arc<Node>>),
    /// A mapping, in the order of the text, with merge keys applied.
    Map(Vec<Entry>),
}

/// A key and its value.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub key_span: Range<usize>,
    /// The value.
    pub value: Arc<Node>,
}

impl Node {
    fn new(span: Range<usize>, kind: Kind) -> Self {
        let inner: Vec<&Arc<Node>> = match &kind {
            Kind::Scalar { .. } => Vec::new(),
            Kind::List(items) => items.iter().collect(),
            Kind::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
        };
        let values = inner
            .iter()
            .fold(1, |n: usize, v| n.saturating_add(v.values));
        let depth = 1 + inner.iter().map(|value| value.depth).max().unwrap_or(0);
        Self {
            span,
            kind,
            values,
            depth,
        }
    }

    fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    fn child(&self, step: &Step) -> Option<&Node> {
        match (step, &self.kind) {
            (Step::Key(key), _) => self.entry(key).map(|entry| &*entry.value),
            (Step::Item(index), Kind::List(items)) => items.get(*index).map(|item| &**item),
            _ => None,
        }
    }

    /// The value at a path.
    pub fn find(&self, path: &SpecPath) -> Option<&Node> {
        (path.steps().iter()).try_fold(self, |node, step| node.child(step))
    }

    /// The key that leads to a path.
    pub fn find_key(&self, path: &SpecPath) -> Option<Range<usize>> {
        let Some((Step::Key(key), _)) = path.steps().split_last() else {
            return None;
        };
        let entry = self.find(&path.parent()?)?.entry(key)?;
        Some(entry.key_span.clone())
    }

    /// Where a value is best shown: a scalar itself, a list or mapping by the key that leads to it.
    pub fn show(&self, path: &SpecPath) -> Option<Range<usize>> {
        let node = self.find(path)?;
        let is_scalar = matches!(node.kind, Kind::Scalar { .. }) && !node.span.is_empty();
        if is_scalar {
            return Some(node.span.clone());
        }
        self.find_key(path).or_else(|| Some(node.span.clone()))
    }
}

/// Why a text has no tree.
#[derive(Debug)]
pub struct Unbuilt {
    /// Keys that stand twice in one mapping.
    pub duplicates: Vec<Problem>,
    /// What ended the reading.
    pub fatal: Option<Box<Problem>>,
}

impl From<Unbuilt> for Vec<Problem> {
    fn from(unbuilt: Unbuilt) -> Self {
        let mut problems = unbuilt.duplicates;
        problems.extend(unbuilt.fatal.map(|problem| *problem));
        problems
    }
}

/// Builds the tree of a text that holds one YAML document.
pub fn build(source: &Arc<Source>) -> Result<Arc<Node>, Unbuilt> {
    Builder::new(source).build()
}

struct Builder<'a> {
    source: &'a Arc<Source>,
    /// Byte offset of each character; empty when the text is ASCII and both are the same.
    bytes: Vec<usize>,
    open: Vec<Frame>,
    anchors: BTreeMap<usize, Arc<Node>>,
    aliased: usize,
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
    fn new(source: &'a Arc<Source>) -> Self {
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
            aliased: 0,
            root: None,
            duplicates: Vec::new(),
        }
    }

    fn build(mut self) -> Result<Arc<Node>, Unbuilt> {
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
        self.aliased = self.aliased.saturating_add(node.values);
        if self.aliased > ALIASED_VALUES {
            return Err(self.problem(at, "aliases repeat too much").help(format!(
                "they may add at most {ALIASED_VALUES} values in all"
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
        match self.tab_before(start) {
            Some(tab) => self
                .problem(tab..tab + 1, "a tab is used for indentation")
                .help("YAML allows only spaces there"),
            None => self
                .problem(start..end, format!("this is not valid YAML: {}", error.info()))
                .help("look for a missing `:`, quote or bracket, or for uneven indentation, here or on the line before"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Arc<Source> {
        Arc::new(Source {
            name: "a.yaml".into(),
            text: text.into(),
        })
    }

    fn shown(text: &str, path: &SpecPath) -> String {
        let tree = build(&source(text)).unwrap();
        text[tree.show(path).unwrap()].to_owned()
    }

    fn messages(text: &str) -> Vec<String> {
        let problems: Vec<Problem> = build(&source(text)).unwrap_err().into();
        problems.into_iter().map(|p| p.message).collect()
    }

    #[test]
    fn keys_and_values_are_found() {
        let text = "α: é\nneurons:\n  - role: held_out\n    at: [{layer: 7}]\nempty:\n";
        let neurons = SpecPath::root().key("neurons");
        assert_eq!(shown(text, &SpecPath::root().key("α")), "é");
        assert_eq!(shown(text, &neurons), "neurons");
        assert_eq!(shown(text, &neurons.item(0)), "role");
        assert_eq!(
            shown(text, &neurons.item(0).key("at").item(0).key("layer")),
            "7"
        );
        assert_eq!(shown(text, &SpecPath::root().key("empty")), "empty");
    }

    #[test]
    fn aliases_and_merge_keys_lead_to_what_they_repeat() {
        let text = "a: &x {p: 1, q: 2}\nb:\n  <<: *x\n  q: 3\nc: *x\n";
        let key = |first: &str, second: &str| SpecPath::root().key(first).key(second);
        assert_eq!(shown(text, &key("b", "p")), "1");
        assert_eq!(shown(text, &key("b", "q")), "3");
        assert_eq!(shown(text, &key("c", "q")), "2");
    }

    #[test]
    fn what_a_spec_must_not_hold_is_refused() {
        let deep = "[".repeat(65);
        let bomb: String = (1..12)
            .map(|n| {
                format!(
                    "a{n}: &a{n} [{}]\n",
                    vec![format!("*a{}", n - 1); 10].join(",")
                )
            })
            .collect();
        for (text, expected) in [
            ("", "a.yaml is empty"),
            ("# only a comment\n", "a.yaml is empty"),
            ("a: 1\n---\nb: 2\n", "a second YAML document starts here"),
            ("a: 1\na: 2\n", "the key `a` stands here twice"),
            ("? [a]\n: 1\n", "a list or mapping cannot be a key"),
            ("a:\n\tb: 1\n", "a tab is used for indentation"),
            (
                "a: &x [*x]\n",
                "this alias stands inside the value that it repeats",
            ),
            (&deep, "this is nested more than 64 levels deep"),
            (&format!("a0: &a0 [1]\n{bomb}"), "aliases repeat too much"),
        ] {
            assert_eq!(
                messages(text).last().map(String::as_str),
                Some(expected),
                "{text}"
            );
        }
        assert!(messages("a: [1, 2\nb: 3\n")[0].starts_with("this is not valid YAML"));
    }

    #[test]
    fn every_duplicate_is_listed() {
        assert_eq!(messages("a: 1\nb: {c: 1, c: 2}\na: 2\n").len(), 2);
    }
}
