//! Deterministic judges of text.

use serde::{Deserialize, Serialize};

/// A resolved oracle.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Oracle {
    /// To be replaced by the oracle module's owner.
    Never,
}
