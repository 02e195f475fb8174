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

use minijinja::context;
use minijinja::value::{Serde, Value};

pub use error::ReportError;
pub use index::Index;
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

/// Renders a report. Templates in the folder `templates` replace built-in ones of the same name.
///
/// # Errors
/// When a template is wrong (its name and line are told) or the folder is missing; never because of what stands in the record.
pub fn render(input: &Input, templates: Option<&Path>) -> Result<Rendered, ReportError> {
    let (view, figures) = view::build(input);
    let environment = templates::environment(templates)?;
    let context = context! {
        figures => Value::from(Serde(figures.views())),
        figure_rules => Value::from_safe_string(figures::style::page_rules()),
        light => Value::from_safe_string(figures::style::page_variables(false)),
        dark => Value::from_safe_string(figures::style::page_variables(true)),
        ..Value::from(Serde(&view))
    };
    Ok(Rendered {
        markdown: environment
            .get_template("report.md.jinja")?
            .render(&context)?,
        html: environment
            .get_template("report.html.jinja")?
            .render(&context)?,
        figures: (figures.0.values())
            .map(|figure| (format!("{}.svg", figure.name), figure.standalone()))
            .collect(),
    })
}
