//! Where two values, or two texts, first differ.

use serde::Serialize;
use serde_json::Value;

/// Most characters of a value in a message.
const MOST: usize = 60;

/// The first place at which a recorded value differs from the one derived again, with both; `None` when they are the same.
///
/// # Panics
/// If one cannot be JSON: a programming error.
pub fn of_values<T: Serialize + ?Sized, U: Serialize + ?Sized>(
    recorded: &T,
    derived: &U,
) -> Option<String> {
    first(&mut String::new(), &written(recorded), &written(derived))
}

/// A value as it reads when it was written: numbers of single precision in their own short form.
fn written<T: Serialize + ?Sized>(value: &T) -> Value {
    let text = serde_json::to_string(value).expect("records are plain data");
    serde_json::from_str(&text).expect("it was just written")
}

fn first(path: &mut String, recorded: &Value, derived: &Value) -> Option<String> {
    if recorded == derived {
        return None;
    }
    let mut inner = |step: String, recorded: &Value, derived: &Value| {
        let length = path.len();
        path.push_str(&step);
        let found = first(path, recorded, derived);
        path.truncate(length);
        found
    };
    match (recorded, derived) {
        (Value::Object(one), Value::Object(other)) => {
            let keys = one.keys().chain(other.keys());
            let side = |object: &serde_json::Map<String, Value>, key| {
                object.get(key).cloned().unwrap_or(Value::Null)
            };
            keys.into_iter()
                .find_map(|key| inner(format!(".{key}"), &side(one, key), &side(other, key)))
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let mut pairs = one.iter().zip(other).enumerate();
            pairs.find_map(|(i, (one, other))| inner(format!("[{i}]"), one, other))
        }
        (Value::Array(one), Value::Array(other)) => Some(message(
            path,
            &format!("{} items", one.len()),
            &format!("{} items", other.len()),
        )),
        _ => Some(message(
            path,
            &shown(&recorded.to_string()),
            &shown(&derived.to_string()),
        )),
    }
}

/// The first line in which a recorded text differs from the one derived again, with both; `None` when they are the same.
pub fn of_texts(recorded: &str, derived: &str) -> Option<String> {
    if recorded == derived {
        return None;
    }
    let (mut one, mut other) = (recorded.split('\n'), derived.split('\n'));
    for number in 1.. {
        match (one.next(), other.next()) {
            (None, None) => break,
            (one, other) if one == other => {}
            (one, other) => {
                let line = |line: Option<&str>| line.map_or("no such line".into(), shown_line);
                return Some(message(
                    &format!(" line {number}"),
                    &line(one),
                    &line(other),
                ));
            }
        }
    }
    None
}

fn message(path: &str, recorded: &str, derived: &str) -> String {
    let place = path.trim_start_matches('.').trim_start();
    let place = if place.is_empty() { "the value" } else { place };
    format!("{place} is {recorded}, derived again {derived}")
}

fn shown_line(line: &str) -> String {
    format!("“{}”", shown(line))
}

fn shown(text: &str) -> String {
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let recorded = json!({"a": [{"b": 1.5}, null], "c": [1]});
        for (derived, expected) in [
            (recorded.clone(), None),
            (
                json!({"a": [{"b": 1.25}, null], "c": [1]}),
                Some("a[0].b is 1.5, derived again 1.25"),
            ),
            (
                json!({"a": [{"b": 1.5}, null], "c": [1, 2]}),
                Some("c is 1 items, derived again 2 items"),
            ),
            (
                json!({"a": [{"b": 1.5}, null], "c": [1], "d": true}),
                Some("d is null, derived again true"),
            ),
            (
                json!(7),
                Some("the value is {\"a\":[{\"b\":1.5},null],\"c\":[1]}, derived again 7"),
            ),
        ] {
            assert_eq!(of_values(&recorded, &derived).as_deref(), expected);
        }
    }

    #[test]
    fn the_first_differing_line_is_named() {
        assert_eq!(of_texts("a\nb\n", "a\nb\n"), None);
        assert_eq!(
            of_texts("a\nb\n", "a\nc\n").unwrap(),
            "line 2 is “b”, derived again “c”"
        );
        assert_eq!(
            of_texts("a", "a\nb").unwrap(),
            "line 2 is no such line, derived again “b”"
        );
    }
}
