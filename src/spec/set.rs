//! `--set key.path=value`: changes to a spec from the command line.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::located::Applied;
use super::path::{SpecPath, Step};
use super::problem::{Problem, quote};
use super::source::{Place, Source};
use super::{tree, value};

/// What the source of a setting is called.
pub const SETTING: &str = "--set";

/// One change.
#[derive(Debug)]
pub struct Setting {
    source: Arc<Source>,
    keys: Vec<String>,
    /// Bytes of the argument before the value.
    value_start: usize,
    value: Value,
}

impl Setting {
    /// Reads `key.path=value`. The value is YAML; `null` removes the key.
    pub fn parse(argument: &str) -> Result<Self, Problem> {
        let source = Arc::new(Source {
            name: SETTING.into(),
            text: argument.to_owned(),
        });
        let all = || Place::span(&source, 0..argument.len());
        let refuse = |message: String| {
            Problem::new(SpecPath::root(), all(), message)
                .help("write `--set key.path=value`, such as `--set rollout.horizons=[8,16]` or `--set neurons.0.random.count=4`")
        };
        let Some((path, written)) = argument.split_once('=') else {
            return Err(refuse("this `--set` has no `=`".into()));
        };
        let keys: Vec<String> = path.split('.').map(|key| key.trim().to_owned()).collect();
        if keys.iter().any(String::is_empty) {
            return Err(refuse(format!("the path {} has an empty key", quote(path))));
        }
        // The unset variable of a script would take the key away, and nobody would see it.
        if written.trim().is_empty() {
            let message = format!("{} is given no value", quote(path.trim()));
            return Err(Problem::new(SpecPath::root(), all(), message)
                .help("give it one; `--set key.path=null` removes a key, and `--set \"key.path=''\"` makes it an empty text"));
        }
        let value_start = path.len() + 1;
        let value = parse_value(written).map_err(|reason| {
            refuse(format!(
                "the value of {}: {}",
                quote(path.trim()),
                reason.message
            ))
        })?;
        Ok(Self {
            source,
            keys,
            value_start,
            value,
        })
    }

    /// Changes a spec, and says what was changed.
    pub fn apply(&self, spec: &mut Value) -> Result<Applied, Problem> {
        let (last, leading) = self
            .keys
            .split_last()
            .ok_or_else(|| self.bad(0, "is empty"))?;
        let mut path = SpecPath::root();
        let mut target = spec;
        for (position, key) in leading.iter().enumerate() {
            let (step, inner) = self.enter(target, key, position)?;
            path = path.then(step);
            target = inner;
        }
        if self.value.is_null() && target.is_object() {
            if let Some(object) = target.as_object_mut() {
                object.remove(last);
            }
            path = path.key(last);
        } else {
            let (step, inner) = self.enter(target, last, leading.len())?;
            path = path.then(step);
            *inner = self.value.clone();
        }
        let place = Place::span(&self.source, self.value_start..self.source.text.len());
        Ok(Applied { path, place })
    }

    /// The value under a key, which is made when a mapping lacks it.
    fn enter<'v>(
        &self,
        target: &'v mut Value,
        key: &str,
        position: usize,
    ) -> Result<(Step, &'v mut Value), Problem> {
        if target.is_null() {
            *target = Value::Object(Map::new());
        }
        match target {
            Value::Object(object) => {
                let inner = object.entry(key).or_insert(Value::Null);
                Ok((Step::Key(key.to_owned()), inner))
            }
            Value::Array(items) => {
                let count = items.len();
                let index: usize = (key.parse())
                    .map_err(|_| self.bad(position, "is a list: its items go by number, from 0"))?;
                match items.get_mut(index) {
                    Some(item) => Ok((Step::Item(index), item)),
                    None => Err(self.bad(position, &format!("has only {count} items"))),
                }
            }
            _ => Err(self.bad(position, "is a single value: nothing can be set inside it")),
        }
    }

    /// What is wrong with the path at the key in this position: the place before it cannot be entered.
    fn bad(&self, position: usize, reason: &str) -> Problem {
        let leading = self.keys[..position].join(".");
        let key = self.keys.get(position).map_or("", String::as_str);
        let place = Place::span(&self.source, 0..self.value_start.saturating_sub(1));
        Problem::new(
            SpecPath::root(),
            place,
            format!("cannot set {}: {} {reason}", quote(key), quote(&leading)),
        )
    }
}

fn parse_value(written: &str) -> Result<Value, Problem> {
    let source = Arc::new(Source {
        name: "the value".into(),
        text: written.to_owned(),
    });
    let first = |mut problems: Vec<Problem>| problems.swap_remove(0);
    let tree = tree::build(&source).map_err(|unbuilt| first(unbuilt.into()))?;
    value::parse(&source, &tree).map_err(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(spec: &Value, argument: &str) -> Result<(Value, String), String> {
        let mut spec = spec.clone();
        let setting = Setting::parse(argument).map_err(|p| p.message)?;
        let applied = setting.apply(&mut spec).map_err(|p| p.message)?;
        Ok((spec, applied.path.to_string()))
    }

    #[test]
    fn changes_what_the_path_names() {
        let spec = json!({"a": {"b": 1}, "list": [{"n": 1}, 2]});
        for (argument, expected, path) in [
            (
                "a.b=2",
                json!({"a": {"b": 2}, "list": [{"n": 1}, 2]}),
                "a.b",
            ),
            (
                "list.0.n=[1, 2]",
                json!({"a": {"b": 1}, "list": [{"n": [1, 2]}, 2]}),
                "list[0].n",
            ),
            (
                "x.y.z=text",
                json!({"a": {"b": 1}, "list": [{"n": 1}, 2], "x": {"y": {"z": "text"}}}),
                "x.y.z",
            ),
            ("a.b=null", json!({"a": {}, "list": [{"n": 1}, 2]}), "a.b"),
            ("a=null", json!({"list": [{"n": 1}, 2]}), "a"),
            ("a=''", json!({"a": "", "list": [{"n": 1}, 2]}), "a"),
            (
                "a.b='=1.0'",
                json!({"a": {"b": "=1.0"}, "list": [{"n": 1}, 2]}),
                "a.b",
            ),
        ] {
            assert_eq!(
                set(&spec, argument),
                Ok((expected, path.into())),
                "{argument}"
            );
        }
    }

    #[test]
    fn a_bad_path_is_named() {
        let spec = json!({"a": {"b": 1}, "list": [1]});
        for (argument, expected) in [
            ("a.b", "has no `=`"),
            ("a..b=1", "has an empty key"),
            ("=1", "has an empty key"),
            ("a.b=", "`a.b` is given no value"),
            ("a= ", "`a` is given no value"),
            ("a.b.c=1", "`a.b` is a single value"),
            ("list.x=1", "`list` is a list"),
            ("list.1=1", "`list` has only 1 items"),
            ("a=[1", "not valid YAML"),
            ("a=.nan", "must be a finite number"),
            ("a=--- 1\n--- 2", "second YAML document"),
        ] {
            let message = set(&spec, argument).unwrap_err();
            assert!(message.contains(expected), "{argument}: {message}");
        }
    }
}
