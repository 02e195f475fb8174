//! The JSON schema of exported rows, made from the declared columns.

use clap::ValueEnum;
use serde_json::{Map, Value, json};

use super::Table;
use super::column::{About, Kind};

/// Name of the schema's file.
pub const FILE_NAME: &str = "export.schema.json";

/// The schema of a row of any table, with a definition per table.
pub fn rows() -> Value {
    let tables = Table::value_variants();
    let names = tables.iter().map(|table| table.name());
    let definitions: Map<String, Value> =
        names.clone().zip(tables.iter().map(|t| row(*t))).collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A row that `reachspec export --format jsonl` writes",
        "description": "There is a definition per table: check the rows of one against `#/$defs/trials` and the like.",
        "anyOf": names.map(|name| json!({"$ref": format!("#/$defs/{name}")})).collect::<Vec<_>>(),
        "$defs": definitions,
    })
}

/// The schema of the rows of one table.
pub fn of(table: Table) -> Value {
    let mut schema = rows();
    let keys = schema.as_object_mut().expect("it was made above");
    keys.remove("anyOf");
    keys.insert("$ref".into(), json!(format!("#/$defs/{}", table.name())));
    schema
}

/// The schema as the text of its file.
pub fn text() -> String {
    let pretty = serde_json::to_string_pretty(&rows()).unwrap_or_default();
    pretty + "\n"
}

fn row(table: Table) -> Value {
    let about = table.about();
    let mut properties = properties(&about.columns);
    if !about.at_horizon.is_empty() {
        let mut at = self::properties(&about.at_horizon);
        let horizon =
            json!({"type": "integer", "minimum": 1, "description": "The horizon. Unit: tokens."});
        at.insert("horizon".into(), horizon);
        let horizons = json!({
            "type": "array",
            "minItems": 1,
            "items": object("What the row says at one horizon.", at),
            "description": "One entry per horizon of the study, from the shortest to the longest.",
        });
        properties.insert("horizons".into(), horizons);
    }
    object(&table.meaning(), properties)
}

fn properties(columns: &[About]) -> Map<String, Value> {
    (columns.iter())
        .map(|about| (about.name.to_owned(), value(about)))
        .collect()
}

/// An object with these keys, all of them, and no other.
fn object(description: &str, properties: Map<String, Value>) -> Value {
    let required: Vec<&String> = properties.keys().collect();
    json!({
        "type": "object",
        "description": description,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn value(about: &About) -> Value {
    let mut schema = match about.kind {
        Kind::Integer => json!({"type": "integer", "minimum": 0}),
        Kind::Number => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Text => json!({"type": "string"}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::Integers => json!({"type": "array", "items": {"type": "integer", "minimum": 0}}),
    };
    if about.nullable() {
        schema["type"] = json!([schema["type"], "null"]);
        if let Some(Value::Array(words)) = schema.get_mut("enum") {
            words.push(Value::Null);
        }
    }
    schema["description"] = json!(description(about));
    schema
}

fn description(about: &About) -> String {
    let mut text = about.meaning.to_owned();
    if let Some(unit) = about.unit {
        text += &format!(" Unit: {unit}.");
    }
    if let Some(when) = null_when(about) {
        text += &format!(" Null when {when}.");
    }
    text
}

/// When a column has no value, in words.
pub(super) fn null_when(about: &About) -> Option<String> {
    let redacted = about
        .redacted
        .then_some("the spec says `report: {redact: true}`");
    let reasons: Vec<&str> = about.null_when.into_iter().chain(redacted).collect();
    (!reasons.is_empty()).then(|| reasons.join(", or "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_declared_once_with_a_meaning() {
        for &table in Table::value_variants() {
            assert!(table.meaning().starts_with("One row per"), "{table:?}");
            let about = table.about();
            assert_eq!(about.columns[0].name, "study");
            for columns in [&about.columns, &about.at_horizon] {
                for (i, about) in columns.iter().enumerate() {
                    let name = about.name;
                    assert!(
                        columns[..i].iter().all(|other| other.name != name),
                        "{name}"
                    );
                    assert!(
                        about.meaning.len() > 10 && about.meaning.ends_with('.'),
                        "{name}"
                    );
                    assert!(!name.contains("_at_") && name != "horizons", "{name}");
                    let texts = [about.unit, about.null_when];
                    assert!(
                        texts.iter().flatten().all(|text| !text.ends_with('.')),
                        "{name}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_table_has_its_own_validator() {
        let row = json!({"study": "x"});
        for &table in Table::value_variants() {
            let validator = jsonschema::validator_for(&of(table)).unwrap();
            let missing = table.about().columns[1].name;
            let error = validator.validate(&row).unwrap_err().to_string();
            assert!(
                error.contains("is a required property"),
                "{missing}: {error}"
            );
        }
    }
}
