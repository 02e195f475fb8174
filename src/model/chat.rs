//! Chat templates, rendered as transformers renders them.
//!
//! A template is somebody else's program: it can read the messages and nothing else (no files, no clock), and it is stopped when it
//! runs too long. transformers' environment is followed: trimmed blocks, loop controls, Python's string methods, `raise_exception`,
//! `tojson` without HTML escapes, `{% generation %}` blocks, the special tokens by name. One difference is deliberate:
//! `strftime_now` does not tell the time, as a prompt that changes from day to day could not be reproduced. Its clock stands at
//! [`FIXED_DATE`], the date that Llama 3's own templates write when they have no clock.

mod json;
mod python;

use std::collections::BTreeMap;
use std::error::Error as _;
use std::iter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Object, Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, context, escape_formatter,
};
use regex::Regex;

use super::ModelError;
use crate::files;
use crate::guard::{self, Failure, Limits};
use crate::spec::prompts::ChatMessage;

/// What `strftime_now` takes for now (Friday, at midnight).
pub const FIXED_DATE: &str = "26 Jul 2024";

/// Instructions after which a template is stopped; real ones take some hundreds per message.
const FUEL: u64 = 1_000_000;
/// The longest of published templates are near 20,000 bytes, and a real one takes microseconds.
const LIMITS: Limits = Limits {
    name: "the chat template",
    longest: 64 << 10,
    patience: Duration::from_secs(1),
    growth: 96 << 20,
};
const NAME: &str = "chat_template";

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    specials: BTreeMap<String, String>,
    /// Whether its source names them.
    reads_messages: bool,
    /// Set once it took too long, or too much: other messages are not tried.
    endless: OnceLock<String>,
}

impl ChatTemplate {
    /// Compiles a template. `specials` are the special tokens by their names in `tokenizer_config.json`, such as `bos_token`.
    pub fn compile(source: &str, specials: BTreeMap<String, String>) -> Result<Self, String> {
        let unusable = |problem: String| format!("the chat template cannot be used: {problem}");
        if source.trim().is_empty() {
            return Err(unusable("it is blank".into()));
        }
        guard::check(LIMITS, source).map_err(unusable)?;
        let mut environment = Environment::new();
        environment.set_syntax(trimmed_blocks());
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(format_like_python);
        environment.set_unknown_method_callback(python::call_method);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_at_fixed_date);
        environment.add_filter("tojson", json::to_json);
        environment.add_test("iterable", is_iterable);
        environment.add_test("sequence", is_sequence);
        let reads_messages = source.contains("messages");
        let source = without_generation_tags(source);
        let environment = guard::guarded(LIMITS, move || {
            match environment.add_template_owned(NAME, source) {
                Ok(()) => Ok(environment),
                Err(e) => Err(format!("the chat template cannot be compiled: {e}")),
            }
        })
        .map_err(Failure::into_problem)?;
        Ok(Self {
            environment: Arc::new(environment),
            specials,
            reads_messages,
            endless: OnceLock::new(),
        })
    }

    /// Whether it is a template at all: one that never names `messages` writes the same of every chat.
    pub fn reads_messages(&self) -> bool {
        self.reads_messages
    }

    /// Renders messages, followed by the opening of the assistant's answer.
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String, Unrendered> {
        let messages: Vec<Value> = (messages.iter().cloned().map(Message))
            .map(Value::from_object)
            .collect();
        let context = context! {
            messages,
            add_generation_prompt => true,
            tools => (),
            documents => (),
            ..Value::from_pairs(self.specials.clone())
        };
        if let Some(error) = self.endless.get() {
            return Err(Unrendered::Unusable(error.clone()));
        }
        let environment = self.environment.clone();
        let rendered = guard::guarded(LIMITS, move || {
            environment
                .get_template(NAME)
                .and_then(|template| template.render(context))
        });
        rendered.map_err(|failure| match failure {
            Failure::Refused(error) => Unrendered::from(error),
            Failure::GivenUp(problem) => {
                Unrendered::Unusable(self.endless.get_or_init(|| problem).clone())
            }
        })
    }
}

/// Why messages were not rendered, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unrendered {
    /// The template raised an exception: it is made for other messages.
    #[error("{0}")]
    Refused(String),
    /// The template is broken, or was given up.
    #[error("{0}")]
    Unusable(String),
}

impl From<Error> for Unrendered {
    fn from(error: Error) -> Self {
        let problem = format!("the chat template refuses these messages: {error}");
        let mut causes = iter::successors(error.source(), |&cause| cause.source());
        match causes.any(|cause| cause.is::<Raised>()) {
            true => Self::Refused(problem),
            false => Self::Unusable(problem),
        }
    }
}

/// Marks an error that the template raised itself.
#[derive(Debug, thiserror::Error)]
#[error("raised by the template")]
struct Raised;

/// The text of a template, or what is wrong with where it should be.
pub type Source = Result<String, String>;

/// The template of a model folder, or what is wrong with it, with the file that it stands in, if it has one: `chat_template.jinja`, else
/// `chat_template` of `tokenizer_config.json`.
pub fn find_template(
    folder: &Path,
    tokenizer_config: &serde_json::Value,
) -> Result<Option<(PathBuf, Source)>, ModelError> {
    let file = folder.join("chat_template.jinja");
    match files::read_text(&file, LIMITS.longest as u64) {
        Ok(text) => return Ok(Some((file, Ok(text)))),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => {
            let problem = format!("cannot be read: {e}; {}", files::remedy(&e));
            return Err((file.as_path(), problem).into());
        }
    }
    let written = default_template(&tokenizer_config["chat_template"]);
    Ok(written.map(|text| (folder.join("tokenizer_config.json"), text)))
}

/// `chat_template` is a string, or a list of named templates of which `default` is taken.
fn default_template(written: &serde_json::Value) -> Option<Source> {
    use serde_json::Value::{Array, Null, String};
    let problem = match written {
        Null => return None,
        String(text) => return Some(Ok(text.clone())),
        Array(templates) => match templates.iter().find(|t| t["name"] == "default") {
            Some(default) => match &default["template"] {
                String(text) => return Some(Ok(text.clone())),
                _ => "the template `default` of `chat_template` is no text",
            },
            None => "`chat_template` is a list without a template named `default`",
        },
        _ => "`chat_template` is neither a text nor a list of named templates",
    };
    Some(Err(problem.to_owned()))
}

/// A message, whose keys keep their order when a template walks over them.
#[derive(Debug)]
struct Message(ChatMessage);

impl Object for Message {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        match key.as_str()? {
            "role" => Some(Value::from(self.0.role.as_str())),
            "content" => Some(Value::from(self.0.content.as_str())),
            _ => None,
        }
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["role", "content"])
    }
}

fn trimmed_blocks() -> SyntaxConfig {
    SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
        .expect("standard delimiters")
}

/// transformers marks the assistant's part with `{% generation %}`; it renders as its content.
fn without_generation_tags(source: &str) -> String {
    let replace = |text: &str, tag: &str, by: &str| {
        Regex::new(&format!(r"\{{%([-+]?)\s*{tag}\s*([-+]?)%\}}"))
            .expect("a constant pattern")
            .replace_all(text, format!("{{%${{1}} {by} ${{2}}%}}"))
            .into_owned()
    };
    let opened = replace(source, "generation", "if true");
    replace(&opened, "endgeneration", "endif")
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(refusal(message).with_source(Raised))
}

fn refusal(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.into())
}

/// Python cannot walk over `None`; minijinja can, and finds nothing.
fn is_iterable(value: &Value) -> bool {
    !value.is_none() && value.try_iter().is_ok()
}

/// To Jinja, a sequence is what has a length and items; a string has them, and a mapping too.
fn is_sequence(value: &Value) -> bool {
    use ValueKind::{Map, Seq, String, Undefined};
    matches!(value.kind(), Seq | String | Map | Undefined)
}

/// Prints `True`, `False` and `None` as Python does.
fn format_like_python(out: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    let word = match value.kind() {
        ValueKind::None => "None",
        ValueKind::Bool if value.is_true() => "True",
        ValueKind::Bool => "False",
        _ => return escape_formatter(out, state, value),
    };
    Ok(out.write_str(word)?)
}

/// `strftime` of [`FIXED_DATE`].
fn strftime_at_fixed_date(format: String) -> Result<String, Error> {
    let mut text = String::new();
    let mut rest = format.chars();
    while let Some(character) = rest.next() {
        if character != '%' {
            text.push(character);
            continue;
        }
        // `%-m` is a month without a leading zero.
        let (bare, directive) = match rest.next() {
            Some('-') => (true, rest.next()),
            other => (false, other),
        };
        let written = match directive {
            Some('d' | 'e') => "26",
            Some('b' | 'h') => "Jul",
            Some('B') => "July",
            Some('m') => "07",
            Some('Y') => "2024",
            Some('y') => "24",
            Some('a') => "Fri",
            Some('A') => "Friday",
            Some('j') => "208",
            Some('H' | 'M' | 'S') => "00",
            Some('I') => "12",
            Some('p') => "AM",
            Some('F') => "2024-07-26",
            Some('T') => "00:00:00",
            // Python's `datetime.now()` is in no time zone.
            Some('Z' | 'z') => "",
            Some('%') => "%",
            other => {
                let directive = other.map(String::from).unwrap_or_default();
                return Err(refusal(format!(
                    "strftime_now: `%{directive}` is not supported"
                )));
            }
        };
        text.push_str(match bare {
            true => written.strip_prefix('0').unwrap_or(written),
            false => written,
        });
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn render(template: &str) -> String {
        let specials = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
        let message = ChatMessage {
            role: "user".into(),
            content: r"\u003c <é> ' &".into(),
        };
        let template = ChatTemplate::compile(template, specials).unwrap();
        template.render(&[message]).unwrap()
    }

    #[test]
    fn json_is_not_escaped_for_html() {
        // The content holds a backslash of its own, which must survive.
        assert_eq!(
            render("{{ messages | tojson }}"),
            r#"[{"role": "user", "content": "\\u003c <é> ' &"}]"#
        );
        assert_eq!(
            render("{{ {'a': [1, 2.5, none]} | tojson(indent=1) }}"),
            "{\n \"a\": [\n  1,\n  2.5,\n  null\n ]\n}"
        );
    }

    #[test]
    fn greedy_templates_are_refused() {
        let nested = "{% set ns = namespace(l=[]) %}{% for i in range(9000) %}{% set ns.l = [ns.l] %}{% endfor %}";
        for (source, reason) in [
            ("{{ [1] | tojson(indent=99) }}", "`indent` is above 64"),
            (
                "{{ [1] | tojson(indent='x' * 99) }}",
                "`indent` is above 64",
            ),
            ("{{ [1] | tojson(separators=',') }}", "two strings"),
            ("{{ [1] | tojson(1, 2, 3, 4, 5) }}", "too many arguments"),
            (
                &format!("{nested}{{{{ ns.l | tojson }}}}"),
                "within each other",
            ),
            (
                &format!("{nested}{{{{ ns.l | tojson(sort_keys=true) }}}}"),
                "within each other",
            ),
            ("{{ 'a'.ljust(1000000000) }}", "above 100000"),
        ] {
            let template = ChatTemplate::compile(source, BTreeMap::new()).unwrap();
            let refused = template.render(&[]).unwrap_err().to_string();
            assert!(refused.contains(reason), "{refused}");
        }
    }

    #[test]
    fn only_what_a_template_raises_is_the_fault_of_the_messages() {
        for (source, raised) in [
            ("{{ raise_exception('no') }}", true),
            (
                "{% macro m() %}{{ raise_exception('no') }}{% endmacro %}{{ m() }}",
                true,
            ),
            ("{{ unknown() }}", false),
            (
                "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
                false,
            ),
            ("{{ [1] | tojson(indent=99) }}", false),
        ] {
            let template = ChatTemplate::compile(source, BTreeMap::new()).unwrap();
            let refused = matches!(template.render(&[]), Err(Unrendered::Refused(_)));
            assert_eq!(refused, raised, "{source}");
        }
    }

    #[test]
    fn blocks_take_their_lines_with_them() {
        assert_eq!(render("a\n  {% if true %}\nb\n  {% endif %}\nc"), "a\nb\nc");
    }

    #[test]
    fn special_tokens_are_variables_and_absent_ones_are_empty() {
        assert_eq!(render("[{{ eos_token }}{{ bos_token }}]"), "[</s>]");
    }

    #[test]
    fn the_fixed_date_is_the_documented_one() {
        assert_eq!(render("{{ strftime_now('%d %b %Y') }}"), FIXED_DATE);
    }

    #[test]
    fn a_long_chat_has_fuel_enough() {
        let messages = vec![
            ChatMessage {
                role: "user".into(),
                content: "x".repeat(1000)
            };
            1000
        ];
        let source =
            "{% for m in messages %}{{ m.role | upper }}: {{ m.content | trim }}\n{% endfor %}";
        let template = ChatTemplate::compile(source, BTreeMap::new()).unwrap();
        assert!(template.render(&messages).unwrap().len() > 1_000_000);
    }
}
