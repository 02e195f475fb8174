//! Violations of the JSON schema, in words for a person.

use jsonschema::ValidationError;
use jsonschema::error::ValidationErrorKind as Kind;
use serde_json::Value;

use super::located::Located;
use super::path::SpecPath;
use super::problem::{Problem, quote};
use super::range::IndexRange;
use super::schema::Checker;
use super::suggest;

/// Most violations, and most unknown keys of a mapping, that are looked at.
const MOST: usize = 200;

/// Everything in which a value violates the schema.
pub fn violations(checker: &Checker, value: &Value, located: &Located) -> Vec<Problem> {
    let errors: Vec<ValidationError> = checker.validator.iter_errors(value).take(MOST).collect();
    let judge = Judge {
        subject: checker.subject,
        schema: &checker.schema,
        located,
    };
    let misspelt: Vec<SpecPath> = errors.iter().flat_map(|e| judge.meant(e)).collect();
    (errors.iter())
        .filter(|error| !is_repeated(error, &errors))
        .flat_map(|error| judge.problems(error, &misspelt))
        .collect()
}

/// A text that has the wrong format has the wrong pattern too; the format says more.
fn is_repeated(error: &ValidationError, errors: &[ValidationError]) -> bool {
    let same_place = |other: &ValidationError| other.instance_path() == error.instance_path();
    matches!(error.kind(), Kind::Pattern { .. })
        && (errors.iter()).any(|e| matches!(e.kind(), Kind::Format { .. }) && same_place(e))
}

struct Judge<'a> {
    /// What the top of the value is called.
    subject: &'static str,
    schema: &'a Value,
    located: &'a Located,
}

impl Judge<'_> {
    /// The problems that one error of the validator stands for. `misspelt` holds the keys that unknown keys seem to mean: it would
    /// not help to say that they are missing.
    fn problems(&self, error: &ValidationError, misspelt: &[SpecPath]) -> Vec<Problem> {
        let path = SpecPath::from(error.instance_path());
        match error.kind() {
            Kind::AdditionalProperties { unexpected } => (unexpected.iter().take(MOST))
                .map(|key| self.unknown_key(&path, key, error))
                .collect(),
            Kind::Required { property } => {
                let key = property.as_str().unwrap_or_default();
                if misspelt.contains(&path.key(key)) {
                    return Vec::new();
                }
                vec![self.missing_key(&path, key, error)]
            }
            _ => {
                let (message, help) = self.describe(&path, error);
                let mut problem = self.located.problem(&path, message);
                problem.help = help.map(String::into_boxed_str);
                vec![problem]
            }
        }
    }

    /// The known keys that unknown keys seem to mean.
    fn meant(&self, error: &ValidationError) -> Vec<SpecPath> {
        let Kind::AdditionalProperties { unexpected } = error.kind() else {
            return Vec::new();
        };
        let path = SpecPath::from(error.instance_path());
        let known = self.known_keys(error);
        (unexpected.iter().take(MOST))
            .filter_map(|key| suggest::nearest(key, known.iter().copied()))
            .map(|key| path.key(key))
            .collect()
    }

    fn unknown_key(&self, path: &SpecPath, key: &str, error: &ValidationError) -> Problem {
        let known = self.known_keys(error);
        let place = self.located.key_place(&path.key(key));
        let message = match path.steps() {
            [] => format!("unknown key {}", quote(key)),
            _ => format!("unknown key {} in `{path}`", quote(key)),
        };
        let help = match (
            suggest::nearest(key, known.iter().copied()),
            self.home_of(key),
        ) {
            (Some(meant), _) => format!("did you mean `{meant}`?"),
            (None, Some(home)) => format!("`{key}` is a key of `{home}`"),
            (None, None) => format!("known here: {}", suggest::list(known)),
        };
        Problem::new(path.key(key), place, message).help(help)
    }

    fn missing_key(&self, path: &SpecPath, key: &str, error: &ValidationError) -> Problem {
        let message = format!("{} lacks the key `{key}`", self.named(path));
        let problem = self.located.problem(path, message);
        let properties = self.sibling(error, "properties");
        match properties.and_then(|p| p[key]["description"].as_str()) {
            Some(description) => problem.help(format!("`{key}`: {description}")),
            None => problem,
        }
    }

    /// A path as the subject of a sentence.
    fn named(&self, path: &SpecPath) -> String {
        match path.steps() {
            [] => self.subject.into(),
            _ => format!("`{path}`"),
        }
    }

    /// What is wrong with one value, and what to do.
    fn describe(&self, path: &SpecPath, error: &ValidationError) -> (String, Option<String>) {
        let (name, value) = (self.named(path), error.instance().as_ref());
        let is = format!("{name} is {}", shown(value));
        let alone = |message: String| (message, None);
        match error.kind() {
            Kind::Type { .. } => self.wrong_type(&name, value, error),
            Kind::OneOfNotValid { .. } | Kind::Enum { .. } | Kind::Constant { .. } => {
                self.wrong_word(&name, value, error)
            }
            Kind::Minimum { limit } => alone(format!("{is}; it must be at least {limit}")),
            Kind::Maximum { limit } => alone(format!("{is}; it must be at most {limit}")),
            Kind::ExclusiveMinimum { limit } => alone(format!("{is}; it must be above {limit}")),
            Kind::ExclusiveMaximum { limit } => alone(format!("{is}; it must be below {limit}")),
            Kind::MinItems { limit } => alone(format!(
                "{name} has {}; it needs at least {limit}",
                count_items(value)
            )),
            Kind::MaxItems { limit } => alone(format!(
                "{name} has {}; it takes at most {limit}",
                count_items(value)
            )),
            Kind::MinLength { .. } => alone(format!("{name} is too short")),
            Kind::MaxLength { limit } => alone(format!("{name} is longer than {limit} characters")),
            Kind::MinProperties { .. } => (format!("{name} has no keys"), self.choice(error)),
            Kind::MaxProperties { .. } => (
                format!("{name} has {}; it takes exactly one key", keys_of(value)),
                self.choice(error),
            ),
            Kind::Format { .. } => (bad_range(&name, value), self.description(error)),
            Kind::Pattern { .. } => (
                format!("{is}, which is not of the form that it needs"),
                self.description(error),
            ),
            _ => (
                format!("{name} is not valid: {error}"),
                self.description(error),
            ),
        }
    }

    fn wrong_type(
        &self,
        name: &str,
        value: &Value,
        error: &ValidationError,
    ) -> (String, Option<String>) {
        let wanted = self.at(error).map(type_names).unwrap_or_default();
        let words: Vec<&str> = wanted.iter().map(|kind| type_in_words(kind)).collect();
        let message = if value.is_null() {
            format!("{name} is empty; it must be {}", words.join(" or "))
        } else {
            format!(
                "{name} is {}; it must be {}",
                shown(value),
                words.join(" or ")
            )
        };
        let wants = |kind: &str| wanted.iter().any(|w| w == kind);
        let help = match value {
            Value::Null => Some("write a value, or leave the key out".to_owned()),
            Value::Number(_) | Value::Bool(_) if wants("string") => {
                Some(format!("put it in quotes: `\"{value}\"`"))
            }
            Value::String(text) if wants("number") || wants("integer") => (text.parse::<f64>())
                .is_ok()
                .then(|| "leave out the quotes".to_owned()),
            Value::Object(_) => self.description(error),
            _ if wants("array") => Some(format!("write a list: `[{}]`", plain(value))),
            _ => self.description(error),
        };
        (message, help)
    }

    fn wrong_word(
        &self,
        name: &str,
        value: &Value,
        error: &ValidationError,
    ) -> (String, Option<String>) {
        let allowed = self.at(error).map(allowed_words).unwrap_or_default();
        let words = || allowed.iter().map(String::as_str);
        let message = format!(
            "{name} is {}; it must be {}",
            if value.is_null() {
                "empty".into()
            } else {
                shown(value)
            },
            if allowed.len() == 1 {
                suggest::list(words())
            } else {
                format!("one of {}", suggest::list(words()))
            },
        );
        let nearest = value
            .as_str()
            .and_then(|word| suggest::nearest(word, words()));
        (
            message,
            nearest.map(|word| format!("did you mean `{word}`?")),
        )
    }

    /// The keys of which exactly one is to be given.
    fn choice(&self, error: &ValidationError) -> Option<String> {
        let properties = self.sibling(error, "properties")?.as_object()?;
        let keys = suggest::list(properties.keys().map(String::as_str));
        Some(format!("give exactly one of {keys}"))
    }

    /// What the schema says about the violated place.
    fn description(&self, error: &ValidationError) -> Option<String> {
        let description = self.sibling(error, "description")?.as_str()?;
        Some(description.to_owned())
    }

    /// The violated keyword's value.
    fn at(&self, error: &ValidationError) -> Option<&Value> {
        self.schema.pointer(error.schema_path().as_str())
    }

    /// The value of another keyword of the violated schema.
    fn sibling(&self, error: &ValidationError, keyword: &str) -> Option<&Value> {
        let (parent, _) = error.schema_path().as_str().rsplit_once('/')?;
        self.schema.pointer(parent)?.get(keyword)
    }

    fn known_keys(&self, error: &ValidationError) -> Vec<&str> {
        let properties = self.sibling(error, "properties");
        let keys = properties.and_then(Value::as_object).map(|p| p.keys());
        keys.into_iter().flatten().map(String::as_str).collect()
    }

    /// The section of the spec that has this key.
    fn home_of(&self, key: &str) -> Option<&str> {
        let sections = self.schema.get("properties")?.as_object()?;
        let has_key = |section: &Value| {
            let reference = section.get("$ref")?.as_str()?;
            let definition = self.schema.pointer(reference.strip_prefix('#')?)?;
            definition.get("properties")?.get(key)
        };
        (sections.iter())
            .find(|(_, section)| has_key(section).is_some())
            .map(|(name, _)| name.as_str())
    }
}

/// A value in words.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "empty".into(),
        Value::String(text) => format!("the text {}", quote(text)),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A scalar as it could be written.
fn plain(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

fn count_items(value: &Value) -> String {
    match value.as_array().map_or(0, Vec::len) {
        0 => "no items".into(),
        1 => "1 item".into(),
        n => format!("{n} items"),
    }
}

fn keys_of(value: &Value) -> String {
    let keys = value
        .as_object()
        .map(|object| object.keys().map(String::as_str));
    format!("the keys {}", suggest::list(keys.into_iter().flatten()))
}

fn bad_range(name: &str, value: &Value) -> String {
    match plain(value).parse::<IndexRange>() {
        Err(reason) => format!("{name}: {reason}"),
        Ok(_) => format!("{name} is {}", shown(value)),
    }
}

fn type_names(keyword: &Value) -> Vec<String> {
    let names = keyword
        .as_array()
        .map_or(std::slice::from_ref(keyword), Vec::as_slice);
    names
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

fn type_in_words(name: &str) -> &str {
    match name {
        "object" => "a mapping",
        "array" => "a list",
        "string" => "text",
        "integer" => "a whole number",
        "number" => "a number",
        "boolean" => "`true` or `false`",
        other => other,
    }
}

/// The words that an enumeration allows: `oneOf` with constants, `enum`, or a constant.
fn allowed_words(keyword: &Value) -> Vec<String> {
    match keyword {
        Value::String(word) => vec![word.clone()],
        Value::Array(options) => (options.iter())
            .filter_map(|option| option.get("const").unwrap_or(option).as_str())
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}
