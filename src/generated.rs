//! Files of this repository that are made by the program, and checked in: JSON schemas, and reference pages. A test fails where one is stale.

use std::io;
use std::path::{Path, PathBuf};

use schemars::generate::SchemaSettings;
use schemars::transform::{Transform, transform_subschemas};
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use crate::events::Event;
use crate::record::diff::Difference;
use crate::record::export;
use crate::report;
use crate::spec::{reference, schema as spec};

/// A generated file.
#[derive(Clone, Copy)]
pub struct Generated {
    /// How `reachspec schema` calls it.
    pub name: &'static str,
    /// Its file name.
    pub file: &'static str,
    /// What it describes, in a line.
    pub about: &'static str,
    /// Makes its text.
    pub text: fn() -> String,
}

/// Every JSON schema, in `schemas/`.
pub const SCHEMAS: &[Generated] = &[
    Generated {
        name: "study",
        file: spec::FILE_NAME,
        about: "study specs",
        text: spec::study_text,
    },
    Generated {
        name: "report-view",
        file: "report-view.schema.json",
        about: "what the templates of a report see",
        text: || pretty(&of_output::<report::Page<'_>>()),
    },
    Generated {
        name: "export",
        file: export::schema::FILE_NAME,
        about: "rows that `export --format jsonl` writes, with a definition per table",
        text: export::schema::text,
    },
    Generated {
        name: "events",
        file: "events.schema.json",
        about: "lines of the event stream of `run --events jsonl`",
        text: || pretty(&spec::generated::<Event>()),
    },
    Generated {
        name: "diff",
        file: "diff.schema.json",
        about: "what `diff --json` prints",
        text: || pretty(&of_output::<Difference>()),
    },
];

/// The reference pages, in `docs/`.
pub const PAGES: &[Generated] = &[
    Generated {
        name: "spec-reference",
        file: reference::FILE_NAME,
        about: "every key of a spec",
        text: reference::text,
    },
    Generated {
        name: "export",
        file: export::page::FILE_NAME,
        about: "the columns of exported tables",
        text: export::page::text,
    },
];

/// The schema of something that we write: every field is there, and no other.
pub fn of_output<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .for_serialize()
        .with_transform(Closed)
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// JSON as our files hold it.
pub fn pretty(value: &Value) -> String {
    let text = serde_json::to_string_pretty(value);
    text.unwrap_or_default() + "\n"
}

/// Writes files into a folder, and returns their paths.
///
/// # Errors
/// The path that cannot be written, with the reason.
pub fn write(files: &[Generated], folder: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let write = |file: &Generated| {
        let path = folder.join(file.file);
        match std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, (file.text)())) {
            Ok(()) => Ok(path),
            Err(error) => Err((path, error)),
        }
    };
    files.iter().map(write).collect()
}

/// Objects hold their fields and nothing else.
#[derive(Clone)]
struct Closed;

impl Transform for Closed {
    fn transform(&mut self, schema: &mut Schema) {
        if schema.get("properties").is_some() && schema.get("additionalProperties").is_none() {
            schema.insert("additionalProperties".into(), json!(false));
        }
        transform_subschemas(self, schema);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_checked_in_is_fresh() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        for (folder, files) in [("schemas", SCHEMAS), ("docs", PAGES)] {
            for file in files {
                let path = root.join(folder).join(file.file);
                let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
                assert!(
                    checked_in == (file.text)(),
                    "{folder}/{} is stale: run `cargo run -- schema --write schemas --docs docs`",
                    file.file
                );
            }
        }
    }

    #[test]
    fn every_checked_in_schema_is_made_by_the_program() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let mut found: Vec<_> = std::fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let mut listed: Vec<_> = SCHEMAS.iter().map(|schema| schema.file).collect();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }

    #[test]
    fn every_field_of_what_we_write_has_a_description() {
        fn walk(schema: &Value, path: &str) {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                // The name of a variant, which is described as a whole.
                let variant = schema.get("description").is_some() && properties.len() == 1;
                let tag = |inner: &Value| inner.get("const").is_some() || variant;
                for (key, inner) in properties.iter().filter(|(_, inner)| !tag(inner)) {
                    let said = inner["description"].as_str().unwrap_or_default();
                    assert!(said.len() > 3, "{path}/{key} has no description");
                }
            }
            match schema {
                Value::Object(object) => {
                    (object.iter()).for_each(|(key, inner)| walk(inner, &format!("{path}/{key}")));
                }
                Value::Array(items) => items.iter().for_each(|inner| walk(inner, path)),
                _ => {}
            }
        }
        for file in SCHEMAS {
            let schema: Value = serde_json::from_str(&(file.text)()).unwrap();
            assert!(schema["$defs"].as_object().unwrap().len() > 3);
            walk(&schema, file.name);
        }
    }
}
