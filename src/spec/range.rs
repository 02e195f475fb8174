//! `0..64`: a half-open range of indices, or a single one.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A single index, or a half-open range written `0..64`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRange(pub Range<usize>);

impl FromStr for IndexRange {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |part: &str| part.trim().parse::<usize>().ok();
        let range = match text.split_once("..") {
            Some((from, to)) => number(from).zip(number(to)).map(|(a, b)| a..b),
            None => number(text).and_then(|a| Some(a..a.checked_add(1)?)),
        };
        match range {
            Some(range) if range.start < range.end => Ok(Self(range)),
            Some(_) => Err(format!(
                "the range `{text}` is empty: its end is not included"
            )),
            None => Err(format!(
                "`{text}` is neither an index such as `3` nor a range such as `0..64`"
            )),
        }
    }
}

impl fmt::Display for IndexRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.len() == 1 {
            write!(f, "{}", self.0.start)
        } else {
            write!(f, "{}..{}", self.0.start, self.0.end)
        }
    }
}

impl Serialize for IndexRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for IndexRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct RangeVisitor;
        impl Visitor<'_> for RangeVisitor {
            type Value = IndexRange;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an index such as 3 or a range such as 0..64")
            }

            fn visit_u64<E: de::Error>(self, index: u64) -> Result<IndexRange, E> {
                index.to_string().parse().map_err(E::custom)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IndexRange, E> {
                text.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_any(RangeVisitor)
    }
}

impl JsonSchema for IndexRange {
    fn schema_name() -> Cow<'static, str> {
        "IndexRange".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "An index counted from 0, or a range such as `0..64` (without its end).",
            "type": ["integer", "string"],
            "format": "index-range",
            "minimum": 0,
            "maximum": u64::MAX,
            "pattern": r"^\s*[0-9]+\s*(\.\.\s*[0-9]+\s*)?$",
        })
    }
}
