//! JSON that names no key twice in one mapping: of two values readers take the first or the last, and say nothing.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Refuses JSON that names a key twice in one mapping.
///
/// # Errors
/// The first such key, and where it stands the second time.
pub fn check_keys(json: &[u8]) -> serde_json::Result<()> {
    serde_json::from_slice::<Seen>(json).map(drop)
}

/// A value that was looked through, and not kept.
struct Seen;

impl<'de> Deserialize<'de> for Seen {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Look)
    }
}

struct Look;

impl<'de> Visitor<'de> for Look {
    type Value = Seen;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Seen, E> {
        Ok(Seen)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Seen, E> {
        Ok(Seen)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Seen, E> {
        Ok(Seen)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Seen, E> {
        Ok(Seen)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Seen, E> {
        Ok(Seen)
    }

    fn visit_str<E>(self, _: &str) -> Result<Seen, E> {
        Ok(Seen)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Seen, A::Error> {
        while let Some(Seen) = items.next_element()? {}
        Ok(Seen)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Seen, A::Error> {
        let mut keys = BTreeSet::new();
        while let Some(key) = entries.next_key::<String>()? {
            if let Some(twice) = keys.replace(key) {
                return Err(A::Error::custom(format!("`{twice}` stands there twice")));
            }
            let Seen = entries.next_value()?;
        }
        Ok(Seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_stands_twice_in_one_mapping_is_named() {
        let alike =
            r#"{"a": [1, -1, 0.5, null, true, "a"], "b": {"a": {}}, "c": [{"a": 1}, {"a": 1}]}"#;
        check_keys(alike.as_bytes()).unwrap();
        for json in [
            r#"{"a": 1, "b": 2, "a": 1}"#,
            r#"[{"b": {"a": 1, "\u0061": 2}}]"#,
        ] {
            let error = check_keys(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains("`a` stands there twice"), "{error}");
        }
    }
}
