//! Canonical JSON: one byte string for one meaning.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Canonical JSON: keys sorted, no white space, numbers as `serde_json` prints them (shortest form that reads back equal).
///
/// # Panics
/// If the value cannot be JSON (a map with keys that are no strings): a programming error.
pub fn json<T: Serialize + ?Sized>(value: &T) -> String {
    // `serde_json::Value` keeps objects in a sorted map, so that the order of fields does not matter.
    let value = serde_json::to_value(value).expect("records are plain data");
    value.to_string()
}

/// SHA-256 of the canonical JSON, in lower-case hex.
pub fn hash<T: Serialize + ?Sized>(value: &T) -> String {
    hex(&Sha256::digest(json(value)))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_of_keys_does_not_matter() {
        let one: serde_json::Value = serde_json::from_str(r#"{"b": 1, "a": [0.1, null]}"#).unwrap();
        assert_eq!(json(&one), r#"{"a":[0.1,null],"b":1}"#);
        assert_eq!(hash("x").len(), 64);
    }
}
