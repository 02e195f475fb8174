//! The JSON schema of study specs, generated from the types of [`super`], and its validators.

use std::sync::LazyLock;

use jsonschema::Validator;
use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::StudySpec;
use super::range::IndexRange;

/// Name of the schema's file, in `schemas/` and wherever `reachspec schema --write` puts it.
pub const FILE_NAME: &str = "study.schema.json";

/// Name of the JSON schema format of [`IndexRange`].
pub const INDEX_RANGE: &str = "index-range";

/// A schema with its validator.
pub struct Checker {
    /// What it checks, as the subject of a sentence.
    pub subject: &'static str,
    /// The schema.
    pub schema: Value,
    /// The validator made of it.
    pub validator: Validator,
}

/// Whole study specs.
pub static STUDY: LazyLock<Checker> = LazyLock::new(|| Checker::new("the spec", study()));

/// Single prompts, as the lines of a JSON Lines file hold them.
pub static PROMPT: LazyLock<Checker> = LazyLock::new(|| {
    let definitions = study()["$defs"].clone();
    let schema = json!({"$defs": definitions, "$ref": "#/$defs/PromptSpec"});
    Checker::new("this line", schema)
});

/// The schema of study specs.
pub fn study() -> Value {
    generated::<StudySpec>()
}

/// The schema of a type, in which optional keys are left out rather than set to null.
pub fn generated<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with_transform(Strict)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// The schema as the text of its file.
pub fn study_text() -> String {
    crate::generated::pretty(&study())
}

impl Checker {
    fn new(subject: &'static str, schema: Value) -> Self {
        let validator = jsonschema::options()
            .with_format(INDEX_RANGE, is_index_range)
            .should_validate_formats(true)
            .build(&schema)
            .expect("the generated schema is a valid schema (held by a test)");
        Self {
            subject,
            schema,
            validator,
        }
    }
}

fn is_index_range(text: &str) -> bool {
    text.parse::<IndexRange>().is_ok()
}

/// Keys are left out rather than set to null, and whole numbers fit the type that takes them.
#[derive(Clone)]
struct Strict;

impl Transform for Strict {
    fn transform(&mut self, schema: &mut Schema) {
        refuse_null(schema);
        limit_integers(schema);
        transform_subschemas(self, schema);
    }
}

/// An optional key is one that may be left out: `null` is no value.
fn refuse_null(schema: &mut Schema) {
    if schema.get("default") == Some(&Value::Null) {
        schema.remove("default");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            schema.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(options)) = schema.get_mut("anyOf") {
        options.retain(|option| option.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            schema.remove("anyOf");
            for (key, value) in only {
                schema.ensure_object().entry(key).or_insert(value);
            }
        }
    }
}

/// JSON schema knows no limit of an integer type, except as a maximum.
fn limit_integers(schema: &mut Schema) {
    let most: u64 = match schema.get("format").and_then(Value::as_str) {
        Some("uint" | "uint64") => u64::MAX,
        Some("uint32") => u64::from(u32::MAX),
        _ => return,
    };
    schema
        .ensure_object()
        .entry("maximum")
        .or_insert(json!(most));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every schema of a key, with the path to it.
    fn keys(schema: &Value, path: &str, found: &mut Vec<(String, Value)>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    for (key, inner) in properties {
                        found.push((format!("{path}/{key}"), inner.clone()));
                    }
                }
                for (key, inner) in object {
                    keys(inner, &format!("{path}/{key}"), found);
                }
            }
            Value::Array(items) => {
                for item in items {
                    keys(item, path, found);
                }
            }
            _ => {}
        }
    }

    #[test]
    fn every_key_and_type_has_a_description() {
        let schema = study();
        let mut found = Vec::new();
        keys(&schema, "", &mut found);
        assert!(found.len() > 100, "only {} keys were found", found.len());
        for (name, definition) in schema["$defs"].as_object().unwrap() {
            found.push((name.clone(), definition.clone()));
        }
        for (path, inner) in found {
            let description = inner["description"].as_str().unwrap_or_default();
            assert!(description.len() > 5, "{path} has no description");
        }
    }

    #[test]
    fn every_allowed_word_has_a_description() {
        fn walk(schema: &Value) {
            if let Some(options) = schema.get("oneOf").and_then(Value::as_array) {
                for option in options {
                    assert!(option["const"].is_string(), "{option}");
                    assert!(option["description"].is_string(), "{option}");
                }
            }
            match schema {
                Value::Object(object) => object.values().for_each(walk),
                Value::Array(items) => items.iter().for_each(walk),
                _ => {}
            }
        }
        walk(&study());
    }

    #[test]
    fn no_null_and_no_any_of_is_left() {
        let text = study().to_string();
        for word in ["\"null\"", "\"anyOf\"", ":null"] {
            assert!(!text.contains(word), "{word}");
        }
    }
}
