//! The page that explains every key of a spec, made from the schema.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::Value;

use super::schema;

/// Name of the page's file.
pub const FILE_NAME: &str = "spec-reference.md";

/// The page before its sections.
const HEAD: &str = include_str!("reference/page.md");

/// The keys at the top of a spec, in the order in which one is read.
const ORDER: [&str; 17] = [
    "schema",
    "name",
    "description",
    "seed",
    "model",
    "prompts",
    "behaviors",
    "neurons",
    "doses",
    "rollout",
    "calibration",
    "ceiling",
    "trigger",
    "coherence",
    "thresholds",
    "verdict",
    "report",
];

/// The page, in Markdown.
pub fn text() -> String {
    let schema = schema::study();
    let mut sections = Sections::new(&schema["$defs"]);
    sections.visit("", &schema);
    let mut page = format!("{HEAD}\n## The top of a spec\n");
    for (index, (path, object)) in sections.found.iter().enumerate() {
        if index > 0 {
            let _ = write!(page, "\n## `{path}`\n\n{}\n", prose(object));
        }
        sections.keys(&mut page, object);
        sections.words(&mut page, object);
    }
    page
}

/// The objects of a spec, in the order of their sections.
struct Sections<'a> {
    definitions: &'a Value,
    /// Path and schema of each.
    found: Vec<(String, &'a Value)>,
    /// The path of each named definition that is an object.
    paths: BTreeMap<&'a str, String>,
}

impl<'a> Sections<'a> {
    fn new(definitions: &'a Value) -> Self {
        Self {
            definitions,
            found: Vec::new(),
            paths: BTreeMap::new(),
        }
    }

    /// Finds the sections at and under a path; a definition has one section, where it is met first.
    fn visit(&mut self, path: &str, object: &'a Value) {
        self.found.push((path.to_owned(), object));
        for (key, value) in ordered(object) {
            let (suffix, inner) = unwrapped(value);
            let Some((name, definition)) = self.definition(inner) else {
                continue;
            };
            if definition.get("properties").is_none() || self.paths.contains_key(name) {
                continue;
            }
            let dot = if path.is_empty() { "" } else { "." };
            let path = format!("{path}{dot}{key}{suffix}");
            self.paths.insert(name, path.clone());
            self.visit(&path, definition);
        }
    }

    /// The definition that a schema refers to, with its name.
    fn definition(&self, schema: &'a Value) -> Option<(&'a str, &'a Value)> {
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        Some((name, &self.definitions[name]))
    }

    /// The table of an object's keys.
    fn keys(&self, page: &mut String, object: &'a Value) {
        *page += "\n| key | type | default | meaning | source |\n|---|---|---|---|---|\n";
        for (key, value) in ordered(object) {
            let default = if needed(object, key) {
                "needed".into()
            } else {
                default(value)
            };
            let (kind, meaning, source) = (self.kind(value), prose(value), source(value));
            let _ = writeln!(
                page,
                "| `{key}` | {kind} | {default} | {meaning} | {source} |"
            );
        }
    }

    /// The words that the keys of an object may have, with what they mean.
    fn words(&self, page: &mut String, object: &'a Value) {
        let mut lists: Vec<(&Value, Vec<String>)> = Vec::new();
        for (key, value) in ordered(object) {
            let Some((_, definition)) = self.definition(unwrapped(value).1) else {
                continue;
            };
            let key = format!("`{key}`");
            match lists.iter_mut().find(|(list, _)| *list == definition) {
                Some((_, keys)) => keys.push(key),
                None => lists.push((definition, vec![key])),
            }
        }
        for (list, keys) in lists {
            let Some(words) = list["oneOf"].as_array() else {
                continue;
            };
            let keys = keys.join(", ");
            let _ = write!(page, "\n| {keys} | meaning | source |\n|---|---|---|\n");
            for word in words {
                let (name, meaning) = (words_of(word), prose(word));
                let _ = writeln!(page, "| {name} | {meaning} | {} |", source(word));
            }
        }
    }

    /// What a value is, in words, with a link to its section where it has one.
    fn kind(&self, schema: &'a Value) -> String {
        let kind = match self.definition(schema) {
            Some((name, _)) if self.paths.contains_key(name) => self.link(name),
            Some((_, definition)) if definition.get("oneOf").is_some() => "word".into(),
            Some((_, definition)) => simple(definition),
            None => match unwrapped(schema) {
                ("[]", items) => format!("list: {}", self.kind(items)),
                (".NAME", values) => format!("map: {}", self.kind(values)),
                _ => simple(schema),
            },
        };
        kind + &limits(schema)
    }

    fn link(&self, name: &str) -> String {
        let path = &self.paths[name];
        let anchor: String = path
            .chars()
            .filter(|c| c.is_alphanumeric() || *c == '_')
            .collect();
        format!("[`{path}`](#{})", anchor.to_lowercase())
    }
}

/// An object's keys: those of a whole spec in the order of [`ORDER`]; elsewhere needed ones first.
fn ordered(object: &Value) -> Vec<(&str, &Value)> {
    let keys = object["properties"].as_object().into_iter().flatten();
    let mut keys: Vec<(&str, &Value)> = keys.map(|(key, value)| (key.as_str(), value)).collect();
    if object.get("$defs").is_some() {
        let place = |key: &str| ORDER.iter().position(|name| *name == key);
        keys.sort_by_key(|(key, _)| place(key).unwrap_or(ORDER.len()));
    } else {
        keys.sort_by_key(|(key, _)| !needed(object, key));
    }
    keys
}

fn needed(object: &Value, key: &str) -> bool {
    let required = object["required"].as_array();
    required.is_some_and(|keys| keys.iter().any(|name| name == key))
}

/// What a list or map holds, with what is put behind the path of the key for it.
fn unwrapped(schema: &Value) -> (&'static str, &Value) {
    match (schema.get("items"), schema.get("additionalProperties")) {
        (Some(items), _) => ("[]", items),
        (None, Some(values @ Value::Object(_))) => (".NAME", values),
        _ => ("", schema),
    }
}

/// A value without keys of its own.
fn simple(schema: &Value) -> String {
    let name = |kind: &Value| match kind.as_str() {
        Some("string") => "text".to_owned(),
        Some("boolean") => "true or false".to_owned(),
        Some("array") => "two numbers".to_owned(),
        Some(other) => other.to_owned(),
        None => "value".to_owned(),
    };
    match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(name).collect::<Vec<_>>().join(" or "),
        kind => name(kind),
    }
}

/// The limits of a number, or of the length of a list.
fn limits(schema: &Value) -> String {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let limit = |value: &f64| *value < f64::from(u32::MAX);
    let mut said = String::new();
    for (key, words) in [("exclusiveMinimum", "above"), ("minimum", "at least")] {
        if let Some(value) = number(key).filter(|value| key != "minimum" || *value != 0.0) {
            let _ = write!(said, ", {words} {value}");
        }
    }
    match number("maximum").filter(limit) {
        Some(value) if number("minimum") == Some(0.0) => {
            let _ = write!(said, ", 0 to {value}");
        }
        Some(value) => {
            let _ = write!(said, ", at most {value}");
        }
        None => {}
    }
    said
}

/// The default of a key. That of an object is said key by key, in its section.
fn default(schema: &Value) -> String {
    match schema.get("default") {
        None | Some(Value::Object(_)) => String::new(),
        Some(value) => format!("`{}`", yaml(value)),
    }
}

/// A value as YAML in one line.
fn yaml(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(yaml).collect::<Vec<_>>().join(", ")
        ),
        other => other.to_string(),
    }
}

fn words_of(option: &Value) -> String {
    format!("`{}`", option["const"].as_str().unwrap_or_default())
}

/// A description in one line, as a cell of a table may hold it.
fn prose(schema: &Value) -> String {
    let text = schema["description"].as_str().unwrap_or_default();
    text.replace('\n', " ").replace('|', "\\|")
}

fn source(schema: &Value) -> &str {
    schema["x-source"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_and_word_of_the_schema_has_a_line() {
        let (schema, page) = (schema::study(), text());
        let mut count = 0;
        for object in schema["$defs"]
            .as_object()
            .unwrap()
            .values()
            .chain([&schema])
        {
            let words = object["oneOf"].as_array().into_iter().flatten();
            let keys = object["properties"].as_object().into_iter().flatten();
            let names = words.map(|word| word["const"].as_str().unwrap());
            for name in names.chain(keys.map(|(key, _)| key.as_str())) {
                assert!(page.contains(&format!("| `{name}` |")), "{name}");
                count += 1;
            }
        }
        assert!(count > 150, "only {count} keys and words");
    }

    #[test]
    fn the_top_of_a_spec_is_in_our_order() {
        let schema = schema::study();
        let keys: Vec<&str> = ordered(&schema).iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, ORDER);
    }

    #[test]
    fn every_link_leads_to_a_section() {
        let page = text();
        let slug = |title: &str| -> String {
            let kept = title.to_lowercase();
            kept.chars()
                .filter(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        let titles: Vec<String> = page
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .map(slug)
            .collect();
        let links: Vec<&str> = page
            .split("](#")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
            .collect();
        assert!(links.len() > 20, "{}", links.len());
        for link in links {
            assert!(titles.iter().any(|title| title == link), "{link}");
        }
    }

    #[test]
    fn every_row_has_as_many_cells_as_its_head() {
        let mut cells = 0;
        for line in text().lines().filter(|line| line.starts_with('|')) {
            let here = line.replace("\\|", "").matches('|').count();
            if line.starts_with("|---") {
                assert_eq!(here, cells);
            }
            cells = if line.contains("| meaning |") && line.ends_with("source |") {
                here
            } else {
                cells
            };
            assert_eq!(here, cells, "{line}");
        }
    }
}
