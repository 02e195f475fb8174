//! Units live in types: a dose is not a budget, and a layer index is not a neuron index.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A vocabulary index of the model under study.
pub type TokenId = u32;

/// A place where a dose enters: one feed-forward neuron, i.e. one channel of the input of a layer's down projection, or a random
/// direction in that projection's output, which is the control for "any push of this size does it".
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct NeuronId {
    /// Transformer block, counted from 0.
    pub layer: usize,
    /// Channel of the down projection's input, counted from 0; from [`NeuronId::FIRST_DIRECTION`] on, a random direction.
    pub index: usize,
}

impl NeuronId {
    /// Indices from here on are no neurons but seeded random unit directions; no model is so wide.
    pub const FIRST_DIRECTION: usize = 1 << 24;

    /// A random direction of a layer, counted from 0.
    pub fn random_direction(layer: usize, number: usize) -> Self {
        Self {
            layer,
            index: Self::FIRST_DIRECTION + number,
        }
    }

    /// The number of a random direction; none for a neuron.
    pub fn direction(self) -> Option<usize> {
        self.index.checked_sub(Self::FIRST_DIRECTION)
    }

    /// Whether a model of so many layers and neurons per layer has it. Random directions are in every layer.
    pub fn is_in(self, layers: usize, d_ff: usize) -> bool {
        self.layer < layers && (self.index < d_ff || self.direction().is_some())
    }
}

impl fmt::Display for NeuronId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.direction() {
            Some(number) => write!(f, "L{}.random{number}", self.layer),
            None => write!(f, "L{}.{}", self.layer, self.index),
        }
    }
}

/// What is added to the neuron's activation at every steered position (activation units, signed); of a random direction, its length in
/// residual units.
///
/// Single precision, because this exact number enters the forward pass.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Dose(pub f32);

/// A dose in coherence budgets, `g = t / B`: signed, dimensionless.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct Budgets(pub f64);

/// The control coordinate `cosθ` between the residual stream and the write direction, in [-1, 1].
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct ControlCoordinate(pub f64);

/// Rollout horizon `τ`: how many generated tokens are judged.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct Horizon(pub usize);

impl fmt::Display for Horizon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The direction in which a neuron is pushed; each sign is a branch of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// Doses above zero.
    Positive,
    /// Doses below zero.
    Negative,
}

impl Sign {
    /// `+1.0` or `-1.0`.
    pub fn factor(self) -> f64 {
        match self {
            Sign::Positive => 1.0,
            Sign::Negative => -1.0,
        }
    }
}

impl fmt::Display for Sign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Sign::Positive => "+",
            Sign::Negative => "−",
        })
    }
}

/// A size in the largest unit that it fills.
pub fn bytes(count: usize) -> String {
    let filled = |(unit, size): &(&str, usize)| {
        (count >= *size).then(|| format!("{:.1} {unit}", count as f64 / *size as f64))
    };
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)]
        .iter()
        .find_map(filled)
        .unwrap_or_else(|| format!("{count} bytes"))
}

/// A time in seconds for people.
pub fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 99.5 => format!("{s:.1} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_directions_are_told_from_neurons() {
        let (neuron, direction) = (
            NeuronId { layer: 3, index: 7 },
            NeuronId::random_direction(3, 7),
        );
        assert_eq!(neuron.to_string(), "L3.7");
        assert_eq!(direction.to_string(), "L3.random7");
        assert_eq!((neuron.direction(), direction.direction()), (None, Some(7)));
        assert!(neuron.is_in(4, 8) && !neuron.is_in(4, 7) && !neuron.is_in(3, 8));
        assert!(direction.is_in(4, 1) && !direction.is_in(3, 8));
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(bytes(512), "512 bytes");
        assert_eq!(bytes(1280), "1.2 KiB");
        assert_eq!(bytes(1_040_128), "1015.8 KiB");
        assert_eq!(bytes(32 << 30), "32.0 GiB");
    }
}
