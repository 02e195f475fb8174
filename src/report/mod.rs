//! Reports: a pure view of a run's record, rendered through templates.
//!
//! ```text
//! Input ── view::build ──→ ReportView + Figures ── templates ──→ report.md, report.html, figures/*.svg
//! ```
//!
//! The same input gives the same bytes: no times, hosts or folders, and fixed number formats. Text that comes from models, prompts
//! or specs is untrusted: it is escaped where it is written, whatever a template does.

pub mod error;
pub mod figures;
pub mod files;
pub mod finding;
pub mod format;
pub mod from_record;
pub mod index;
pub mod input;
pub mod interest;
pub mod samples;
pub mod summary;
pub mod templates;
pub mod text;
pub mod view;
pub mod wording;

#[cfg(test)]
mod fixture;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;

use minijinja::value::{Serde, Value};
use schemars::JsonSchema;
use serde::Serialize;

pub use error::ReportError;
pub use index::Index;
use view::{FigureView, Figures, ReportView};

pub use input::{Input, Sample, SampleKind, SampleRollout, SampleSource};
pub use summary::Summary;

/// A rendered report.
#[derive(Clone, Debug)]
pub struct Rendered {
    /// `report.md`; its figures are linked as `figures/NAME.svg`.
    pub markdown: String,
    /// `report.html`: one file that needs no other.
    pub html: String,
    /// Text of the figures by file name, such as `saturation.svg`.
    pub figures: BTreeMap<String, String>,
}

/// What templates see: the fields of a [`ReportView`] by name, and what is needed to draw its figures.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct Page<'a> {
    /// The report itself.
    #[serde(flatten)]
    view: &'a ReportView,
    /// Figures by the names that the report mentions.
    figures: BTreeMap<&'a str, FigureView>,
    /// CSS rules of the figures inside an HTML page.
    figure_rules: String,
    /// CSS variables with the figures' colours on a light page.
    light: String,
    /// The same on a dark page.
    dark: String,
}

impl<'a> Page<'a> {
    fn new(view: &'a ReportView, figures: &'a Figures) -> Self {
        Self {
            view,
            figures: figures.views(),
            figure_rules: figures::style::page_rules(),
            light: figures::style::page_variables(false),
            dark: figures::style::page_variables(true),
        }
    }
}

/// Renders a report. Templates in the folder `templates` replace built-in ones of the same name.
///
/// # Errors
/// When a template is wrong (its name and line are told) or the folder is missing; never because of what stands in the record.
pub fn render(input: &Input, templates: Option<&Path>) -> Result<Rendered, ReportError> {
    let (view, figures) = view::build(input);
    let environment = templates::environment(templates)?;
    let context = Value::from(Serde(Page::new(&view, &figures)));
    let page = |name: &'static str| {
        let (environment, context) = (environment.clone(), context.clone());
        let work = move || Ok(environment.get_template(name)?.render(&context)?);
        templates::within_limits(templates, name, work)
    };
    Ok(Rendered {
        markdown: page("report.md.jinja")?,
        html: page("report.html.jinja")?,
        figures: (figures.0.values())
            .map(|figure| (format!("{}.svg", figure.name), figure.standalone()))
            .collect(),
    })
}
