//! A YAML text as JSON data, through `serde_yaml`.

use std::sync::Arc;

use serde_json::{Map, Number, Value};
use serde_yaml::Value as Yaml;

use super::path::SpecPath;
use super::problem::{Problem, quote};
use super::source::{Place, Source};
use super::tree::Node;

/// Something that YAML can say and a spec cannot hold.
pub struct Unfit {
    /// Where.
    pub path: SpecPath,
    /// What, and what to do.
    pub message: String,
}

/// Parses a text whose tree was already built, so that nesting and aliases are known to be within their limits.
pub fn parse(source: &Arc<Source>, tree: &Node) -> Result<Value, Vec<Problem>> {
    let yaml: Yaml =
        serde_yaml::from_str(&source.text).map_err(|error| vec![unreadable(source, &error)])?;
    json(&yaml).map_err(|unfit| {
        (unfit.into_iter())
            .map(|unfit| {
                let place = match tree.show(&unfit.path) {
                    Some(span) => Place::span(source, span),
                    None => Place::whole(source),
                };
                Problem::new(unfit.path, place, unfit.message)
            })
            .collect()
    })
}

fn unreadable(source: &Arc<Source>, error: &serde_yaml::Error) -> Problem {
    let raw = error.to_string();
    // `serde_yaml` does not say in which line.
    if raw.contains("control characters")
        && let Some(problem) = control_character(source)
    {
        return problem;
    }
    let start = error.location().map_or(0, |location| location.index());
    let message = match raw {
        // `serde_yaml` names the Rust type that would hold it.
        raw if raw.contains("128") => "this whole number does not fit in 64 bits".into(),
        raw if raw.contains("repetition limit") => {
            "mappings repeat each other too often by `<<` and `*`: write out what is meant".into()
        }
        raw => format!("this is not valid YAML: {raw}"),
    };
    let place = Place::span(source, start..start + 1);
    Problem::new(SpecPath::root(), place, message)
}

/// The first character that may stand nowhere in a YAML text, not even in a comment.
fn control_character(source: &Arc<Source>) -> Option<Problem> {
    let is_printable = |c: char| {
        let always = matches!(c, '\t' | '\n' | '\r' | '\u{85}' | ' '..='~');
        always || (c >= '\u{a0}' && !matches!(c, '\u{fffe}' | '\u{ffff}'))
    };
    let (start, found) = (source.text.char_indices()).find(|(_, c)| !is_printable(*c))?;
    let code = u32::from(found);
    let place = Place::span(source, start..start + found.len_utf8());
    let message = format!("this is not valid YAML: it holds the control character U+{code:04X}");
    let help = format!("remove it, or write it within double quotes as `\\u{code:04x}`");
    Some(Problem::new(SpecPath::root(), place, message).help(help))
}

/// YAML data as JSON data, with merge keys applied.
pub fn json(yaml: &Yaml) -> Result<Value, Vec<Unfit>> {
    let mut unfit = Vec::new();
    let value = convert(yaml, &SpecPath::root(), &mut unfit);
    if unfit.is_empty() {
        Ok(value)
    } else {
        Err(unfit)
    }
}

fn convert(yaml: &Yaml, path: &SpecPath, unfit: &mut Vec<Unfit>) -> Value {
    let mut refuse = |message: String| {
        let path = path.clone();
        unfit.push(Unfit { path, message });
        Value::Null
    };
    match yaml {
        Yaml::Null => Value::Null,
        Yaml::Bool(truth) => Value::Bool(*truth),
        Yaml::String(text) => Value::String(text.clone()),
        Yaml::Number(number) => match number_of(number) {
            Some(number) => Value::Number(number),
            None => refuse(format!("`{path}` is {number}; it must be a finite number")),
        },
        Yaml::Sequence(items) => {
            let convert_item = |(i, item)| convert(item, &path.item(i), unfit);
            Value::Array(items.iter().enumerate().map(convert_item).collect())
        }
        Yaml::Mapping(mapping) => Value::Object(convert_mapping(mapping, path, unfit)),
        Yaml::Tagged(tagged) => refuse(format!(
            "`{path}` has the YAML tag {}; specs use none",
            quote(&tagged.tag.to_string())
        )),
    }
}

fn convert_mapping(
    mapping: &serde_yaml::Mapping,
    path: &SpecPath,
    unfit: &mut Vec<Unfit>,
) -> Map<String, Value> {
    let mut object = Map::new();
    for (key, value) in mapping {
        match key {
            Yaml::String(key) if key == "<<" => {}
            Yaml::String(key) => {
                object.insert(key.clone(), convert(value, &path.key(key), unfit));
            }
            other => unfit.push(key_is_no_text(other, path)),
        }
    }
    match mapping.get("<<") {
        None => {}
        Some(Yaml::Sequence(parts)) => {
            for part in parts {
                merge(part, &mut object, path, unfit);
            }
        }
        Some(part) => merge(part, &mut object, path, unfit),
    }
    object
}

/// Adds the keys of a merged mapping that are not there yet.
fn merge(part: &Yaml, object: &mut Map<String, Value>, path: &SpecPath, unfit: &mut Vec<Unfit>) {
    match part {
        Yaml::Mapping(mapping) => {
            for (key, value) in convert_mapping(mapping, path, unfit) {
                object.entry(key).or_insert(value);
            }
        }
        _ => unfit.push(Unfit {
            path: path.clone(),
            message: "the merge key `<<` takes a mapping, or a list of mappings".into(),
        }),
    }
}

fn key_is_no_text(key: &Yaml, path: &SpecPath) -> Unfit {
    let written = match key {
        Yaml::Bool(truth) => truth.to_string(),
        Yaml::Number(number) => number.to_string(),
        Yaml::Null => "null".into(),
        _ => "a list or mapping".into(),
    };
    Unfit {
        path: path.key(&written),
        message: format!("the key {} is no text: put it in quotes", quote(&written)),
    }
}

/// A finite number; whole numbers written as `4.0` or `1e3` become integers. `None` for NaN and infinity.
fn number_of(number: &serde_yaml::Number) -> Option<Number> {
    if let Some(whole) = number.as_u64() {
        return Some(whole.into());
    }
    if let Some(whole) = number.as_i64() {
        return Some(whole.into());
    }
    let real = number.as_f64()?;
    whole(real).or_else(|| Number::from_f64(real))
}

/// A whole number as an integer, where 64 bits hold it.
fn whole(real: f64) -> Option<Number> {
    if real.fract() != 0.0 {
        return None;
    }
    if (0.0..18_446_744_073_709_551_616.0).contains(&real) {
        return Some((real as u64).into());
    }
    if (-9_223_372_036_854_775_808.0..0.0).contains(&real) {
        return Some((real as i64).into());
    }
    None
}

/// Whole numbers written as `4.0` become integers, everywhere in JSON data.
pub fn normalise(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            if let Some(whole) = number.as_f64().and_then(whole) {
                *number = whole;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(normalise),
        Value::Object(object) => object.values_mut().for_each(normalise),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(text: &str) -> Result<Value, Vec<String>> {
        super::json(&serde_yaml::from_str(text).unwrap())
            .map_err(|unfit| unfit.into_iter().map(|u| u.message).collect())
    }

    #[test]
    fn values_keep_their_meaning() {
        let text = "{a: 4.0, b: 0..64, c: '3', d: 1.5, e: -2, f: 1e3, g: yes, h: true, i: 18446744073709551615}";
        assert_eq!(
            of(text),
            Ok(
                json!({"a": 4, "b": "0..64", "c": "3", "d": 1.5, "e": -2, "f": 1000, "g": "yes", "h": true, "i": u64::MAX})
            )
        );
    }

    #[test]
    fn control_characters_are_placed() {
        for (text, place) in [
            ("a: 1\nb: é\u{7}\n", Some((2, 5))),
            ("# \u{7f}\n", Some((1, 3))),
            ("a: \u{81}", Some((1, 4))),
            ("a: 1\n\n\u{ffff}", Some((3, 1))),
            ("a:\t\u{85}é\u{feff}\u{1f600}~\r\n", None),
        ] {
            let source = Arc::new(Source {
                name: "a.yaml".into(),
                text: text.into(),
            });
            let found = control_character(&source).and_then(|p| p.place.line_column());
            assert_eq!(found, place, "{text:?}");
            let error = serde_yaml::from_str::<Yaml>(text).err();
            let refused = error.is_some_and(|e| e.to_string().contains("control characters"));
            assert_eq!(refused, place.is_some(), "{text:?}");
        }
    }

    #[test]
    fn merge_keys_are_applied_however_deep() {
        let text = "a: &a {p: 1, q: 1}\nb: &b {<<: *a, q: 2}\nc: {<<: [*b, {r: 3, p: 9}], s: 4}\n";
        assert_eq!(
            of(text).unwrap()["c"],
            json!({"p": 1, "q": 2, "r": 3, "s": 4})
        );
        assert!(of("a: {<<: 3}").is_err());
    }

    #[test]
    fn what_json_cannot_hold_is_refused_all_at_once() {
        let messages = of("{a: .nan, b: [.inf], 3: x, true: y, c: !t z}").unwrap_err();
        assert_eq!(messages.len(), 5, "{messages:?}");
        assert!(messages[0].contains("`a` is .nan"), "{messages:?}");
    }
}
