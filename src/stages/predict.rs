//! Predict and seal: the collapse ceiling and the open/closed forecast of every held-out neuron, before it is steered.

use serde::{Deserialize, Serialize};

use super::calibrate::{Calibration, CollapseMultiple, NeuronCalibration};
use super::screen::Screening;
use crate::law;
use crate::spec::ceiling::Predictor;
use crate::spec::neurons::Role;
use crate::stats;
use crate::study::Study;
use crate::units::{NeuronId, Sign};

/// Predicts every ceiling, and forecasts every held-out window. Sees no rollout of a held-out neuron.
pub fn predict(study: &Study, screening: Screening, calibration: Calibration) -> Predictions {
    let predictors: Vec<FittedPredictor> = (study.ceiling.predictors.iter())
        .map(|&predictor| fit(study, predictor, &calibration))
        .collect();
    let predicted = |roles: &[Role]| {
        let mut neurons: Vec<NeuronId> = (screening.groups.iter())
            .filter(|group| roles.contains(&group.role))
            .flat_map(|group| group.neurons.iter().copied())
            .collect();
        neurons.sort();
        neurons.dedup();
        neurons
    };
    let mut ceilings = Vec::new();
    for neuron in predicted(&[Role::HeldOut, Role::Control]) {
        let of_neuron = calibration.of(neuron);
        for &sign in &study.doses.signs {
            ceilings.push(PredictedCeiling {
                neuron,
                sign,
                by: (predictors.iter())
                    .map(|predictor| predictor.ceiling(of_neuron, sign, &calibration))
                    .collect(),
            });
        }
    }
    let forecasts = forecasts(study, &screening, &predictors, &ceilings);
    Predictions {
        study: study.hash(),
        screening,
        calibration,
        predictors,
        ceilings,
        forecasts,
    }
}

fn forecasts(
    study: &Study,
    screening: &Screening,
    predictors: &[FittedPredictor],
    ceilings: &[PredictedCeiling],
) -> Vec<Forecast> {
    let headline = predictors
        .iter()
        .position(|p| p.predictor == study.ceiling.headline);
    let mut forecasts = Vec::new();
    for behavior in &study.behaviors {
        for group in screening
            .groups
            .iter()
            .filter(|group| group.role == Role::HeldOut)
        {
            if !group.behaviors.contains(&behavior.name) {
                continue;
            }
            for &neuron in &group.neurons {
                let predicted: Vec<f64> =
                    (ceilings.iter().filter(|ceiling| ceiling.neuron == neuron))
                        .filter_map(|ceiling| Some(ceiling.by[headline?]?.coordinate))
                        .collect();
                let open = predicted
                    .iter()
                    .any(|&ceiling| behavior.expected_trigger < ceiling);
                forecasts.push(Forecast {
                    neuron,
                    behavior: behavior.name.clone(),
                    open: (!predicted.is_empty()).then_some(open),
                });
            }
        }
    }
    forecasts.sort_by(|a, b| (&a.behavior, a.neuron).cmp(&(&b.behavior, b.neuron)));
    forecasts
}

fn fit(study: &Study, predictor: Predictor, calibration: &Calibration) -> FittedPredictor {
    let ceiling = &study.ceiling;
    let branches = calibration.multiples.len();
    let (parameter, source) = match predictor {
        Predictor::Constant => (Some(ceiling.constant), "m* given in the spec".to_owned()),
        Predictor::Calibrated => (
            median_multiple(&calibration.multiples, |m| m),
            format!("median m* of {branches} calibration branches"),
        ),
        Predictor::ParticipationRatio => match ceiling.kappa {
            Some(kappa) => (Some(kappa), "κ given in the spec".to_owned()),
            None => (
                fit_kappa(calibration),
                format!("median κ of {branches} calibration branches"),
            ),
        },
    };
    FittedPredictor {
        predictor,
        parameter,
        source,
    }
}

/// `κ = m* / √(1 − λ₁/Σλ)`, the median over calibration branches.
fn fit_kappa(calibration: &Calibration) -> Option<f64> {
    let kappas: Vec<CollapseMultiple> = (calibration.multiples.iter())
        .map(|branch| CollapseMultiple {
            multiple: branch.multiple.map(|multiple| {
                let share = calibration.layers[branch.neuron.layer].leading_share;
                multiple / law::spectral_multiple(1.0, share)
            }),
            ..branch.clone()
        })
        .collect();
    median_multiple(&kappas, |kappa| kappa).filter(|kappa| kappa.is_finite())
}

/// Median over branches, with those that never collapsed above every number; `None` when the median lies among them.
fn median_multiple(branches: &[CollapseMultiple], of: impl Fn(f64) -> f64) -> Option<f64> {
    let values: Vec<f64> = (branches.iter())
        .map(|branch| branch.multiple.map_or(f64::INFINITY, &of))
        .collect();
    stats::median(&values).filter(|median| median.is_finite())
}

impl FittedPredictor {
    /// The ceiling of a neuron on a branch; absent when the predictor could not be fitted.
    fn ceiling(
        &self,
        neuron: &NeuronCalibration,
        sign: Sign,
        calibration: &Calibration,
    ) -> Option<CeilingEstimate> {
        let parameter = self.parameter?;
        let multiple = match self.predictor {
            Predictor::Constant | Predictor::Calibrated => parameter,
            Predictor::ParticipationRatio => {
                let layer = &calibration.layers[neuron.neuron.layer];
                law::spectral_multiple(parameter, layer.leading_share)
            }
        };
        let signed = sign.factor() * multiple;
        Some(CeilingEstimate {
            multiple,
            coordinate: sign.factor() * law::control_coordinate(signed, neuron.c0),
        })
    }
}

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
