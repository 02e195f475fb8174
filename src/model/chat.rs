//! Chat templates, rendered as transformers renders them.
//!
//! A template is somebody else's program: it can read the messages and nothing else (no files, no clock), and it is stopped when it
//! runs too long. transformers' environment is followed: trimmed blocks, loop controls, Python's string methods, `raise_exception`,
//! `tojson` without HTML escapes, `{% generation %}` blocks, the special tokens by name. One difference is deliberate:
//! `strftime_now` does not tell the time, as a prompt that changes from day to day could not be reproduced. Its clock stands at
//! [`FIXED_DATE`], the date that Llama 3's own templates write when they have no clock.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Enumerator, Kwargs, Object, Value, ValueKind};
use minijinja::{
    AutoEscape, Environment, Error, ErrorKind, Output, State, context, escape_formatter,
};
use minijinja_contrib::pycompat::unknown_method_callback;
use regex::Regex;
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

use super::ModelError;
use crate::spec::prompts::ChatMessage;

/// What `strftime_now` takes for now (Friday, at midnight).
pub const FIXED_DATE: &str = "26 Jul 2024";

/// Instructions after which a template is stopped; real ones take some hundreds per message.
const FUEL: u64 = 10_000_000;
const NAME: &str = "chat_template";

/// A compiled chat template.
#[derive(Debug)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    specials: BTreeMap<String, String>,
}

impl ChatTemplate {
    /// Compiles a template. `specials` are the special tokens by their names in `tokenizer_config.json`, such as `bos_token`.
    pub fn compile(source: &str, specials: BTreeMap<String, String>) -> Result<Self, String> {
        let mut environment = Environment::new();
        environment.set_syntax(trimmed_blocks());
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_formatter(format_like_python);
        environment.set_unknown_method_callback(python_method);
        environment.set_fuel(Some(FUEL));
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_at_fixed_date);
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, without_generation_tags(source))
            .map_err(|e| format!("the chat template cannot be compiled: {e}"))?;
        Ok(Self {
            environment,
            specials,
        })
    }

    /// Renders messages, followed by the opening of the assistant's answer.
    pub fn render(&self, messages: &[ChatMessage]) -> Result<String, String> {
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
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(context))
            .map_err(|e| format!("the chat template refuses these messages: {e}"))
    }
}

/// The template of a model folder, if it has one: `chat_template.jinja`, else `chat_template` of `tokenizer_config.json`, which is a
/// string or a list of named templates of which `default` is taken.
pub fn find_template(
    folder: &Path,
    tokenizer_config: &serde_json::Value,
) -> Result<Option<String>, ModelError> {
    let file = folder.join("chat_template.jinja");
    if file.is_file() {
        let text = std::fs::read_to_string(&file)
            .map_err(|e| ModelError::from((file.as_path(), format!("cannot be read: {e}"))))?;
        return Ok(Some(text));
    }
    let written = &tokenizer_config["chat_template"];
    let named = written.as_array().and_then(|templates| {
        let default = templates.iter().find(|t| t["name"] == "default")?;
        default["template"].as_str()
    });
    Ok(written.as_str().or(named).map(str::to_owned))
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

/// Python's methods of strings, lists and dictionaries.
fn python_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    match (method, value.as_str(), args) {
        ("title", Some(text), []) => Ok(Value::from(title(text))),
        _ => unknown_method_callback(state, value, method, args),
    }
}

/// Python's `str.title`: a letter is a capital unless it follows a letter, so that `it's` becomes `It'S`.
fn title(text: &str) -> String {
    let mut within_word = false;
    text.chars()
        .map(|letter| {
            let cased = match within_word {
                true => letter.to_lowercase().to_string(),
                false => letter.to_uppercase().to_string(),
            };
            within_word = letter.is_alphabetic();
            cased
        })
        .collect()
}

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(refusal(message))
}

fn refusal(problem: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidOperation, problem.into())
}

/// `json.dumps(value, ensure_ascii=False, indent=…)`: unlike minijinja's own filter, nothing is escaped for HTML.
fn to_json(value: &Value, indent: Option<usize>, options: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => options.get("indent")?,
    };
    if options.get::<Option<bool>>("ensure_ascii")? == Some(true) {
        return Err(refusal("tojson: `ensure_ascii=true` is not supported"));
    }
    options.assert_all_used()?;
    let mut text = Vec::new();
    let written = match indent {
        Some(indent) => {
            let indent = " ".repeat(indent.min(16));
            let pretty = PrettyFormatter::with_indent(indent.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut text, pretty))
        }
        None => value.serialize(&mut Serializer::with_formatter(&mut text, Spaced)),
    };
    written.map_err(|e| refusal(e.to_string()))?;
    Ok(Value::from(String::from_utf8_lossy(&text).into_owned()))
}

/// `", "` and `": "`, as Python's `json.dumps` separates.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        to.write_all(if first { b"" } else { b", " })
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(b": ")
    }
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
        // `%-d` is a day without a leading zero.
        let directive = match rest.next() {
            Some('-') => rest.next(),
            other => other,
        };
        text.push_str(match directive {
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
            Some('Z') => "UTC",
            Some('z') => "+0000",
            Some('%') => "%",
            other => {
                let directive = other.map(String::from).unwrap_or_default();
                return Err(refusal(format!(
                    "strftime_now: `%{directive}` is not supported"
                )));
            }
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
