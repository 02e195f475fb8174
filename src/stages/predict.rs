//! Predict and seal: the collapse ceiling and the open/closed forecast of every held-out neuron, before it is steered.

use serde::{Deserialize, Serialize};

use super::calibrate::Calibration;
use super::screen::Screening;
use crate::spec::ceiling::Predictor;
use crate::units::{NeuronId, Sign};

/// Everything that is sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Predictions {
    /// Hash of the study.
    pub study: String,
    /// The neurons and what chose them.
    pub screening: Screening,
    /// Budgets, alignments, spectra and the calibration neurons' collapse.
    pub calibration: Calibration,
    /// The fitted predictors, in the order of the study.
    pub predictors: Vec<FittedPredictor>,
    /// One entry per held-out or control neuron and branch, sorted.
    pub ceilings: Vec<PredictedCeiling>,
    /// One entry per held-out neuron and behaviour, sorted.
    pub forecasts: Vec<Forecast>,
}

/// A predictor with what was fitted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FittedPredictor {
    /// Which predictor.
    pub predictor: Predictor,
    /// The fitted number: `m*` for `constant` and `calibrated`, `κ` for `participation_ratio`.
    /// Absent when nothing could be fitted (no calibration neuron collapsed within the grid).
    pub parameter: Option<f64>,
    /// Where the number comes from, in words.
    pub source: String,
}

/// The predicted ceiling of one neuron on one branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PredictedCeiling {
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// One entry per fitted predictor, in their order; absent where the predictor could not be fitted.
    pub by: Vec<Option<CeilingEstimate>>,
}

/// A ceiling in both units.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct CeilingEstimate {
    /// `m*`, in budgets, above 0.
    pub multiple: f64,
    /// The coordinate along the branch (its own sign counted as positive), with the neuron's `c0`.
    pub coordinate: f64,
}

/// Will the window be open? One entry per held-out neuron and behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// The neuron.
    pub neuron: NeuronId,
    /// Name of the behaviour.
    pub behavior: String,
    /// Whether the expected trigger lies below the headline predictor's ceiling on either branch; absent without a prediction.
    pub open: Option<bool>,
}

/// Predictions behind a seal. Constructed only by sealing, or by a load that checks the hash: the sweep takes one as proof that
/// the predictions were fixed before the first held-out rollout.
#[derive(Clone, Debug)]
pub struct SealedPredictions {
    pub(crate) predictions: Predictions,
    pub(crate) seal: Seal,
}

impl SealedPredictions {
    /// What was sealed.
    pub fn predictions(&self) -> &Predictions {
        &self.predictions
    }

    /// The seal.
    pub fn seal(&self) -> &Seal {
        &self.seal
    }
}

/// The seal of a set of predictions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seal {
    /// SHA-256 of the canonical JSON of [`Predictions`], lower-case hex.
    pub sha256: String,
    /// When it was sealed, RFC 3339 in UTC.
    pub sealed_at: String,
    /// How many steered trials of held-out or control neurons were in the store at that time. Above 0 only when a run was
    /// extended: the report then says so.
    pub trials_before: usize,
}
