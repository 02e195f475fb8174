//! From a path in the spec to the place where it is written.

use std::ops::Range;
use std::sync::Arc;

use super::path::SpecPath;
use super::problem::Problem;
use super::source::{Place, Source};
use super::tree::Node;

/// A YAML document, or one line of a JSON Lines file, with the `--set` arguments that changed it.
#[derive(Debug)]
pub struct Located {
    source: Arc<Source>,
    /// Absent where only the whole is known.
    tree: Option<Arc<Node>>,
    /// The document's bytes in the source.
    bytes: Range<usize>,
    applied: Vec<Applied>,
}

/// A `--set` argument that was applied.
#[derive(Debug)]
pub struct Applied {
    /// What it set.
    pub path: SpecPath,
    /// The argument.
    pub place: Place,
}

impl Located {
    /// A whole file.
    pub fn file(source: Arc<Source>, tree: Arc<Node>) -> Self {
        let bytes = 0..source.text.len();
        Self {
            source,
            tree: Some(tree),
            bytes,
            applied: Vec::new(),
        }
    }

    /// A part of a file, with the tree of that part if it has one.
    pub fn part(source: Arc<Source>, bytes: Range<usize>, tree: Option<Arc<Node>>) -> Self {
        Self {
            source,
            tree,
            bytes,
            applied: Vec::new(),
        }
    }

    /// Notes that an argument set a path; later ones win.
    pub fn apply(&mut self, applied: Applied) {
        self.applied.push(applied);
    }

    /// The file.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The value as it is written, when it is a scalar without quotes in the file itself.
    pub fn plain_text(&self, path: &SpecPath) -> Option<&str> {
        if self.setting(path).is_some() {
            return None;
        }
        match &self.tree.as_ref()?.find(path)?.kind {
            super::tree::Kind::Scalar { text, plain: true } => Some(text),
            _ => None,
        }
    }

    /// Whether the path is written, rather than left to its default.
    pub fn is_written(&self, path: &SpecPath) -> bool {
        let in_file = self
            .tree
            .as_ref()
            .is_some_and(|tree| tree.find(path).is_some());
        in_file || (self.applied.iter()).any(|a| a.path.contains(path) || path.contains(&a.path))
    }

    /// Where a value is written, or else the nearest mapping or list around it.
    pub fn place(&self, path: &SpecPath) -> Place {
        self.locate(path, Node::show)
    }

    /// Where a key is written, or else the nearest mapping or list around it.
    pub fn key_place(&self, path: &SpecPath) -> Place {
        self.locate(path, Node::find_key)
    }

    /// A problem with a value.
    pub fn problem(&self, path: &SpecPath, message: impl Into<String>) -> Problem {
        Problem::new(path.clone(), self.place(path), message)
    }

    fn locate(
        &self,
        path: &SpecPath,
        find: impl Fn(&Node, &SpecPath) -> Option<Range<usize>>,
    ) -> Place {
        if let Some(applied) = self.setting(path) {
            return applied.place.clone();
        }
        let Some(tree) = &self.tree else {
            return Place::span(&self.source, self.bytes.clone());
        };
        if let Some(span) = find(tree, path) {
            return self.shifted(span);
        }
        if let Some(inside) = self.applied.iter().rev().find(|a| path.contains(&a.path)) {
            return inside.place.clone();
        }
        let mut ancestor = path.parent();
        while let Some(path) = ancestor {
            if let Some(span) = tree.show(&path) {
                return self.shifted(span);
            }
            ancestor = path.parent();
        }
        Place::span(&self.source, self.bytes.clone())
    }

    /// The argument that set this path or something around it.
    fn setting(&self, path: &SpecPath) -> Option<&Applied> {
        (self.applied.iter().rev()).find(|applied| applied.path.contains(path))
    }

    fn shifted(&self, span: Range<usize>) -> Place {
        let start = self.bytes.start;
        Place::span(&self.source, span.start + start..span.end + start)
    }
}
