//! The templates: built in, each replaceable by a file of the same name in the user's folder.

use std::borrow::Cow;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::prelude::{BASE64_STANDARD, Engine as _};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error, ErrorKind, Output, State, UndefinedBehavior};
use sha2::{Digest, Sha256};

use super::error::ReportError;
use super::format::thousands;
use super::text;
use crate::caught::caught;
use crate::files;
use crate::guard::{self, Failure, Limits};
use crate::spec::suggest;

macro_rules! built_in {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_str!(concat!("../../reports/templates/", $name)))),*]
    };
}

/// Name and text of every built-in template.
pub const BUILT_IN: &[(&str, &str)] = built_in![
    "report.md.jinja",
    "macros.md.jinja",
    "report.html.jinja",
    "macros.html.jinja",
    "style.css",
    "tables.js",
    "html/answer.html.jinja",
    "html/study.html.jinja",
    "html/windows.html.jinja",
    "html/closed.html.jinja",
    "html/controls.html.jinja",
    "html/attribution.html.jinja",
    "html/scoreboard.html.jinja",
    "html/plots.html.jinja",
    "html/behaviour.html.jinja",
    "html/samples.html.jinja",
    "html/methods.html.jinja",
];

/// Instructions, and units of 64 bytes, that one report may cost; a user's templates have [`LIMITS`] beside.
const FUEL: u64 = 50_000_000;
/// What a user's template may take beside its fuel, with those that it includes: far more than a report needs.
const LIMITS: Limits = Limits {
    name: "it, or a template that it includes,",
    longest: 1 << 20,
    patience: Duration::from_secs(30),
    growth: 256 << 20,
};
/// What is said of a template of ours that makes the template engine panic.
const BROKEN: &str = "it breaks the program that renders it";
/// Longest text put into a report, in characters: names, descriptions and evidence are short unless something is wrong.
const LONGEST: usize = 2000;
/// Name of the escaping of Markdown templates.
const MARKDOWN: &str = "markdown";

/// The environment in which reports are rendered. Templates in `folder` replace built-in ones of the same name.
pub fn environment(folder: Option<&Path>) -> Result<Arc<Environment<'static>>, ReportError> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_syntax(syntax());
    environment.set_fuel(Some(FUEL));
    environment.set_auto_escape_callback(escaping);
    environment.set_formatter(write_escaped);
    environment.add_filter("code", |s: &str| {
        Value::from_safe_string(text::markdown_code(&shortened(s)))
    });
    environment.add_filter("table_code", |s: &str| {
        Value::from_safe_string(text::markdown_table_code(&shortened(s)))
    });
    environment.add_filter("thousands", thousands);
    environment.add_filter("csp_hash", csp_hash);
    if let Some(folder) = folder {
        if !folder.is_dir() {
            return Err(ReportError::NoTemplates(folder.into()));
        }
        check_files(folder)?;
    }
    let replaced = folder.map(Path::to_path_buf);
    environment.set_loader(move |name| load(replaced.as_deref(), name));
    let environment = Arc::new(environment);
    // Syntax now, rather than when the study has run.
    for (name, _) in BUILT_IN {
        let environment = environment.clone();
        let compile = move || Ok(environment.get_template(name).map(drop)?);
        within_limits(folder, name, compile)?;
    }
    Ok(environment)
}

/// Does the work of a template. With those of a `folder` it is somebody else's program, which is given up when it takes too much; ours end,
/// however long the report.
pub fn within_limits<T: Send + 'static>(
    folder: Option<&Path>,
    template: &str,
    work: impl FnOnce() -> Result<T, ReportError> + Send + 'static,
) -> Result<T, ReportError> {
    let given_up = |problem| ReportError::GivenUp {
        template: template.to_owned(),
        problem,
    };
    match folder {
        None => caught(work).unwrap_or_else(|| Err(given_up(BROKEN.to_owned()))),
        Some(_) => guard::guarded(LIMITS, work).map_err(|failure| match failure {
            Failure::Refused(error) => error,
            Failure::GivenUp(problem) => given_up(problem),
        }),
    }
}

/// Templates have to be readable; and a file that replaces none, and that none of the folder's includes, is a slip of the pen. Only the places
/// are looked at in which built-in templates lie.
fn check_files(folder: &Path) -> Result<(), ReportError> {
    let names = [list(folder, ""), list(folder, "html/")].concat();
    let is_file = |name: &str| folder.join(name).is_file();
    let texts = texts(folder, &names)?;
    for name in &names {
        let built_in = || BUILT_IN.iter().map(|(name, _)| *name);
        let problem = if built_in().any(|known| known == name) {
            (!is_file(name)).then(|| "is no file".to_owned())
        } else {
            let used =
                !name.ends_with(".jinja") || texts.iter().any(|text| text.contains(name.as_str()));
            let nearest = suggest::nearest(name, built_in());
            let meant = nearest.map_or(String::new(), |meant| format!("; did you mean {meant}?"));
            (!used).then(|| {
                format!("replaces no template, and no template in the folder includes it{meant}")
            })
        };
        if let Some(problem) = problem {
            let file = folder.join(name);
            return Err(ReportError::Unusable { file, problem });
        }
    }
    Ok(())
}

/// The texts of a folder's templates.
fn texts(folder: &Path, names: &[String]) -> Result<Vec<String>, ReportError> {
    let is_built_in = |name: &str| BUILT_IN.iter().any(|(known, _)| *known == name);
    let is_template = |name: &&String| name.ends_with(".jinja") || is_built_in(name);
    let files = names
        .iter()
        .filter(is_template)
        .map(|name| folder.join(name));
    (files.filter(|file| file.is_file()))
        .map(|file| read(folder, &file).map_err(|problem| ReportError::Unusable { file, problem }))
        .collect()
}

/// What lies in a folder under a prefix, as templates are named, sorted.
fn list(folder: &Path, prefix: &str) -> Vec<String> {
    let entries = std::fs::read_dir(folder.join(prefix))
        .into_iter()
        .flatten()
        .flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.map(|name| format!("{prefix}{name}")).collect();
    names.sort();
    names
}

/// The hash by which a page's Content-Security-Policy lets one inline script run.
fn csp_hash(script: &str) -> Value {
    let hash = BASE64_STANDARD.encode(Sha256::digest(script));
    Value::from_safe_string(format!("sha256-{hash}"))
}

/// Lines that hold only a block tag leave nothing behind.
fn syntax() -> SyntaxConfig {
    let mut syntax = SyntaxConfig::builder();
    syntax
        .trim_blocks(true)
        .lstrip_blocks(true)
        .keep_trailing_newline(true);
    syntax.build().expect("the default delimiters are valid")
}

/// By the ending of the template's name: Markdown and HTML escape what is put into them, other templates do not.
fn escaping(name: &str) -> AutoEscape {
    let name = name.strip_suffix(".jinja").unwrap_or(name);
    match name.rsplit('.').next() {
        Some("html") => AutoEscape::Html,
        Some("md") => AutoEscape::Custom(MARKDOWN.into()),
        _ => AutoEscape::None,
    }
}

/// Writes a value so that untrusted text stays text.
fn write_escaped(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let untrusted = value.as_str().filter(|_| !value.is_safe());
    let markdown = matches!(state.auto_escape(), AutoEscape::Custom(name) if name == MARKDOWN);
    let untrusted = untrusted.map(shortened);
    let untrusted = untrusted.as_deref();
    let html = matches!(state.auto_escape(), AutoEscape::Html);
    match untrusted {
        _ if (markdown || html) && value.is_none() => Ok(()),
        Some(text) if markdown => out.write_str(&text::markdown(text)).map_err(write_failed),
        None if markdown && is_plain(value) => write!(out, "{value}").map_err(write_failed),
        // Lists and maps are no text: shown as data, they must not mean anything either.
        None if markdown => out
            .write_str(&text::markdown(&value.to_string()))
            .map_err(write_failed),
        Some(text) if html => {
            minijinja::escape_formatter(out, state, &Value::from(text::visible(text)))
        }
        _ => minijinja::escape_formatter(out, state, value),
    }
}

/// At most [`LONGEST`] characters, and a note of what is missing.
fn shortened(text: &str) -> Cow<'_, str> {
    match text::clip(text, LONGEST) {
        (_, 0) => text.into(),
        (start, left_out) => format!("{start} … ({left_out} more characters)").into(),
    }
}

/// Whether a value is a number or a Boolean, or was escaped already.
fn is_plain(value: &Value) -> bool {
    value.is_safe() || value.is_number() || matches!(value.kind(), ValueKind::Bool)
}

fn write_failed(error: std::fmt::Error) -> Error {
    Error::new(ErrorKind::WriteFailure, "the report could not be written").with_source(error)
}

/// The user's template where there is one, else the built-in one.
fn load(folder: Option<&Path>, name: &str) -> Result<Option<String>, Error> {
    let own = folder.and_then(|folder| Some((folder, inside(folder, name)?)));
    if let Some((folder, path)) = own.filter(|(_, path)| path.is_file()) {
        return read(folder, &path).map(Some).map_err(|problem| {
            let detail = format!("{}: {problem}", path.display());
            Error::new(ErrorKind::InvalidOperation, detail)
        });
    }
    let found = BUILT_IN.iter().find(|(built_in, _)| *built_in == name);
    Ok(found.map(|(_, text)| (*text).to_owned()))
}

/// The text of a template, or why it cannot be rendered within the limits, or read at all.
fn read(folder: &Path, template: &Path) -> Result<String, String> {
    if leads_out(folder, template) {
        return Err(
            "this is a link out of the folder of templates; put the file itself there".into(),
        );
    }
    let text = files::read_text(template, LIMITS.longest as u64)
        .map_err(|error| format!("the template cannot be read: {error}"))?;
    guard::check(LIMITS, &text)
        .map_err(|problem| format!("the template cannot be used: {problem}"))?;
    Ok(text)
}

/// Whether a template is a link to elsewhere: whoever made the folder shall not have other files put into the report.
fn leads_out(folder: &Path, template: &Path) -> bool {
    match (folder.canonicalize(), template.canonicalize()) {
        (Ok(folder), Ok(template)) => !template.starts_with(folder),
        _ => true,
    }
}

/// The path of a template, unless its name leads out of the folder.
fn inside(folder: &Path, name: &str) -> Option<PathBuf> {
    let relative = Path::new(name);
    let plain = relative
        .components()
        .all(|c| matches!(c, Component::Normal(_)));
    plain.then(|| folder.join(relative))
}
