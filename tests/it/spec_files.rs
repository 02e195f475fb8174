//! Spec files that cannot be committed.

#![cfg(target_os = "linux")]

use crate::bad_inputs::Visit;

pub fn visit(_: Visit<'_>) {}
