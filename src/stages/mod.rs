//! The stages of a study, each a function from the results of the earlier ones.
//!
//! ```text
//! screen → calibrate → predict, seal → sweep → judge → verdict
//! ```

pub mod calibrate;
pub mod cells;
pub mod judge;
pub mod plan;
pub mod predict;
pub mod residual_stream;
pub mod screen;
pub mod sweep;
pub mod verdict;
