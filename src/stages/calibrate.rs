//! Calibrate: budgets, alignments and spectra from unsteered passes; collapse multiples of the calibration neurons from rollouts.

use serde::{Deserialize, Serialize};

use crate::units::{NeuronId, Sign};

/// What the generic prompts say about the model, and about each neuron of the study.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Calibration {
    /// Number of positions at which the residual stream was read.
    pub positions: usize,
    /// One entry per layer, in order.
    pub layers: Vec<LayerCalibration>,
    /// One entry per neuron of the study, sorted.
    pub neurons: Vec<NeuronCalibration>,
    /// Collapse of the calibration neurons, sorted by neuron, then branch.
    pub multiples: Vec<CollapseMultiple>,
}

/// The residual stream at the output of one block.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerCalibration {
    /// The layer.
    pub layer: usize,
    /// `‖r_L‖` over positions (mean or median, as the study says).
    pub residual_norm: f64,
    /// `λ₁/Σλ` of the uncentred second moment: the share of the largest direction.
    pub leading_share: f64,
    /// `(Σλ)²/Σλ²`.
    pub participation_ratio: f64,
}

/// One neuron's coherence budget.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NeuronCalibration {
    /// The neuron.
    pub neuron: NeuronId,
    /// `‖v‖`.
    pub write_norm: f64,
    /// `B = ‖r_L‖ / ‖v‖`, in activation units.
    pub budget: f64,
    /// `c0`: mean `cos(r_L, v)` over positions, before any dose.
    pub c0: f64,
}

/// Where one calibration neuron collapsed on one branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CollapseMultiple {
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// `m* = t*/B`, the smallest dose in budgets at which enough rollouts collapsed; absent when the grid ended before.
    pub multiple: Option<f64>,
}
