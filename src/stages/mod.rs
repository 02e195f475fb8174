//! The stages of a study, each a function from the results of the earlier ones.
//!
//! ```text
//! screen → calibrate → predict, seal → sweep → judge → verdict
//! ```
//!
//! | stage | with the help of |
//! |---|---|
//! | [`screen`] | [`scores`]: contrasts, gradients, pushes; [`residual_stream`]: budgets |
//! | [`calibrate`] | [`push`] and [`step_ceiling`] on single [`step`]s; [`features`]; rollouts of the calibration neurons |
//! | [`predict`] | [`ceiling`], [`trigger`] |
//! | [`sweep`] | [`trial_plan`]: which rollouts; [`search`]: doses that depend on what was found; [`cells`], [`plan`] |
//! | [`judge`] | [`prompt_set`]: which prompts flipped |
//! | [`verdict`] | [`threshold`] and [`window`], [`scoreboard`], [`attribution`] |

pub mod attribution;
pub mod calibrate;
pub mod ceiling;
pub mod cells;
pub mod dose_range;
pub mod features;
pub mod judge;
pub mod plan;
pub mod predict;
pub mod prompt_set;
pub mod push;
pub mod residual_stream;
pub mod scoreboard;
pub mod scores;
pub mod screen;
pub mod search;
pub mod step;
pub mod step_ceiling;
pub mod sweep;
pub mod threshold;
pub mod trial_plan;
pub mod trigger;
pub mod verdict;
pub mod window;

#[cfg(test)]
mod tests;
