//! The run folder.

pub mod canonical;
