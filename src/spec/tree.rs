//! A YAML text as a tree in which every key and value knows where it stands.
//!
//! `serde_yaml` parses the values ([`super::value`]); this tree says where they are, and refuses what a spec must not hold before
//! any value is made: several documents, duplicate keys, keys that are no text, deep nesting, alias bombs.

mod builder;

use std::ops::Range;
use std::sync::Arc;

use super::path::{SpecPath, Step};
use super::problem::Problem;
use super::source::Source;

/// A value and where it stands.
#[derive(Debug)]
pub struct Node {
    /// Bytes of the text. For a list or mapping: its first characters.
    pub span: Range<usize>,
    /// What it is.
    pub kind: Kind,
    /// Values in it, itself included, with aliases expanded.
    values: usize,
    /// Bytes of its scalars and keys, with aliases expanded.
    text: usize,
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
        let written = match &kind {
            Kind::Scalar { text, .. } => text.len(),
            Kind::List(_) => 0,
            Kind::Map(entries) => entries.iter().map(|entry| entry.key.len()).sum(),
        };
        let text = (inner.iter()).fold(written, |n: usize, v| n.saturating_add(v.text));
        let depth = 1 + inner.iter().map(|value| value.depth).max().unwrap_or(0);
        Self {
            span,
            kind,
            values,
            text,
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
    builder::Builder::new(source).build()
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
        let (long, often) = ("x".repeat(900), "*a,".repeat(2000));
        let long_value = format!("a: &a {long}\nb: [{often}]\n");
        let long_key = format!("a: &a {{{long}: 1}}\nb: [{often}]\n");
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
            (&long_value, "aliases repeat too much"),
            (&long_key, "aliases repeat too much"),
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
