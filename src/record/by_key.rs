//! Two JSON values compared key by key: lists whose items have names by name, other lists as a whole.

use std::collections::BTreeSet;
use std::fmt;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Map, Value};

use super::canonical;
use crate::report::format::counted;

/// Most characters of a value in a message.
const MOST: usize = 80;

/// Two lists with more characters than this are counted instead of shown.
const MOST_OF_LISTS: usize = 160;

/// A key with another value.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct KeyChange {
    /// Which, such as `neurons.held_out.role`: keys, and names of list items, with dots between them.
    pub key: String,
    /// The first value; null where there is none.
    pub first: Value,
    /// The second value; null where there is none.
    pub second: Value,
    /// The key of the list, where this is one of its named items.
    #[serde(skip)]
    pub item_of: Option<String>,
}

/// Every key with another value, in the order of the keys. `is_whole` names keys whose values are not looked into.
pub fn changes(first: &Value, second: &Value, is_whole: &dyn Fn(&str) -> bool) -> Vec<KeyChange> {
    let mut comparison = Comparison {
        is_whole,
        found: Vec::new(),
    };
    comparison.compare("", None, first, second);
    comparison.found
}

struct Comparison<'a> {
    is_whole: &'a dyn Fn(&str) -> bool,
    found: Vec<KeyChange>,
}

impl Comparison<'_> {
    fn compare(&mut self, key: &str, item_of: Option<&str>, first: &Value, second: &Value) {
        if first == second {
            return;
        }
        match (first, second) {
            _ if (self.is_whole)(key) => self.add(key, item_of, first, second),
            (Value::Object(one), Value::Object(other)) => self.compare_objects(key, one, other),
            (Value::Array(one), Value::Array(other)) => match by_name(one).zip(by_name(other)) {
                Some((one, other)) => self.compare_named(key, &one, &other),
                None => self.add(key, item_of, first, second),
            },
            _ => self.add(key, item_of, first, second),
        }
    }

    fn compare_objects(&mut self, key: &str, one: &Map<String, Value>, other: &Map<String, Value>) {
        let names: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        for name in names {
            let side = |object: &Map<String, Value>| object.get(name).cloned().unwrap_or_default();
            self.compare(&joined(key, name), None, &side(one), &side(other));
        }
    }

    fn compare_named(&mut self, key: &str, one: &[Named<'_>], other: &[Named<'_>]) {
        let before = self.found.len();
        let find = |items: &[Named<'_>], name: &str| {
            let found = items.iter().find(|(other, _)| *other == name);
            found.map_or(Value::Null, |(_, item)| (*item).clone())
        };
        for (name, item) in one {
            self.compare(&joined(key, name), Some(key), item, &find(other, name));
        }
        for (name, item) in other {
            if one.iter().all(|(known, _)| known != name) {
                self.compare(&joined(key, name), Some(key), &Value::Null, item);
            }
        }
        if self.found.len() == before {
            // The same items in another order.
            let names = |items: &[Named<'_>]| items.iter().map(|(name, _)| *name).collect();
            self.add(key, Some(key), &names(one), &names(other));
        }
    }

    fn add(&mut self, key: &str, item_of: Option<&str>, first: &Value, second: &Value) {
        self.found.push(KeyChange {
            key: key.to_owned(),
            first: first.clone(),
            second: second.clone(),
            item_of: item_of.map(str::to_owned),
        });
    }
}

/// An item of a list with its name.
type Named<'a> = (&'a str, &'a Value);

/// The items by their `name`; `None` unless all have one.
fn by_name(items: &[Value]) -> Option<Vec<Named<'_>>> {
    let named = |item| Some((Value::get(item, "name")?.as_str()?, item));
    items.iter().map(named).collect()
}

fn joined(key: &str, name: &str) -> String {
    match key {
        "" => name.to_owned(),
        _ => format!("{key}.{name}"),
    }
}

impl KeyChange {
    /// Both values in words: long ones cut off, long lists counted.
    pub fn worded(&self) -> (String, String) {
        match (&self.first, &self.second) {
            (Value::Array(one), Value::Array(other)) => listed(one, other),
            (first, second) => (shown(first), shown(second)),
        }
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = self.worded();
        write!(f, "{}: {first} → {second}", self.key)
    }
}

fn listed(one: &[Value], other: &[Value]) -> (String, String) {
    let (first, second) = (canonical::json(one), canonical::json(other));
    if first.len() + second.len() <= MOST_OF_LISTS {
        return (first, second);
    }
    let items = |list: &[Value]| list.iter().map(Value::to_string).collect::<BTreeSet<_>>();
    let (first, second) = (items(one), items(other));
    (
        counted(one.len(), "item"),
        format!(
            "{}, {} of the earlier ones gone, {} new",
            counted(other.len(), "item"),
            first.difference(&second).count(),
            second.difference(&first).count()
        ),
    )
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => "absent".to_owned(),
        // What a list or a mapping holds is shown where there are two to compare.
        Value::Array(items) if canonical::json(value).len() > MOST => counted(items.len(), "item"),
        other => canonical::json(other),
    };
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn words(first: &Value, second: &Value) -> Vec<String> {
        let found = changes(first, second, &|key| key == "free");
        found.iter().map(KeyChange::to_string).collect()
    }

    #[test]
    fn each_key_is_named_with_both_values() {
        let first = json!({"a": {"b": 1, "c": null}, "free": {"x": 1}, "list": [1, 2]});
        let second = json!({"a": {"b": 2}, "d": "new", "free": {"x": 2}, "list": [1]});
        assert_eq!(
            words(&first, &second),
            [
                "a.b: 1 → 2",
                "d: absent → \"new\"",
                "free: {\"x\":1} → {\"x\":2}",
                "list: [1,2] → [1]",
            ]
        );
        assert_eq!(words(&first, &first), Vec::<String>::new());
    }

    #[test]
    fn named_items_are_compared_by_name() {
        let group = |name: &str, count: u32| json!({"name": name, "count": count});
        let first = json!({"groups": [group("one.a", 1), group("two", 2), group("gone", 0)]});
        let second = json!({"groups": [group("two", 3), group("one.a", 1), group("new", 4)]});
        let found = changes(&first, &second, &|_| false);
        let keys: Vec<_> = (found.iter())
            .map(|change| (change.key.as_str(), change.item_of.as_deref()))
            .collect();
        assert_eq!(
            keys,
            [
                ("groups.two.count", None),
                ("groups.gone", Some("groups")),
                ("groups.new", Some("groups"))
            ]
        );
        let turned = json!({"groups": [group("two", 2), group("gone", 0), group("one.a", 1)]});
        assert_eq!(
            words(&first, &turned),
            ["groups: [\"one.a\",\"two\",\"gone\"] → [\"two\",\"gone\",\"one.a\"]"]
        );
    }

    #[test]
    fn long_lists_are_counted() {
        let list = |from: u32| json!((from..from + 100).collect::<Vec<_>>());
        assert_eq!(
            words(&json!({"l": list(0)}), &json!({"l": list(30)})),
            ["l: 100 items → 100 items, 30 of the earlier ones gone, 30 new"]
        );
        let (_, long) = changes(&json!({}), &json!({"t": "x".repeat(99)}), &|_| false)[0].worded();
        assert_eq!(long.chars().count(), MOST + 1);
    }
}
