//! Rollouts.

/// A language model with real weights.
pub struct Transformer;
