//! What can go wrong while a report is rendered.

use std::error::Error as _;
use std::path::PathBuf;

/// A report that could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The folder given with `--templates` is none.
    #[error("{}: no such folder; give --templates a folder with files such as report.md.jinja", .0.display())]
    NoTemplates(PathBuf),
    /// A file in the folder given with `--templates` would silently do nothing, or cannot be read.
    #[error("{}: {problem}", file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// Why.
        problem: String,
    },
    /// A template is wrong: syntax, an unknown name, or it ran out of fuel.
    #[error("template {template}, line {line}: {problem}")]
    Template {
        /// Name of the template, relative to the templates folder.
        template: String,
        /// Line, counted from 1.
        line: usize,
        /// What is wrong.
        problem: String,
    },
    /// A template took too long or too much memory, or broke the program.
    #[error("template {template}: {problem}")]
    GivenUp {
        /// Name of the template, relative to the templates folder.
        template: String,
        /// What it did, and what to do.
        problem: String,
    },
}

impl From<minijinja::Error> for ReportError {
    /// Errors of an included template are wrapped once per level: the innermost one knows the place.
    fn from(error: minijinja::Error) -> Self {
        let mut innermost = &error;
        while let Some(inner) = innermost.source().and_then(|e| e.downcast_ref()) {
            innermost = inner;
        }
        let cause = innermost.source().map(|e| format!(" ({e})"));
        Self::Template {
            template: innermost.name().unwrap_or("(unnamed)").to_owned(),
            line: innermost.line().unwrap_or(1),
            problem: match innermost.detail() {
                Some(detail) => format!("{}: {detail}", innermost.kind()),
                None => innermost.kind().to_string(),
            } + &cause.unwrap_or_default(),
        }
    }
}
