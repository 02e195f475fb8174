//! Predict and seal: collapse ceiling, trigger and open/closed forecast of every held-out neuron, before it is steered.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calibrate::{Calibration, NeuronCalibration};
use super::ceiling;
use super::push::Push;
use super::screen::Screening;
use super::trigger;
use crate::spec::ceiling::{Predictor, TriggerPredictor};
use crate::spec::neurons::Role;
use crate::stats::{Interval, Ridge};
use crate::study::Study;
use crate::units::{Horizon, NeuronId, Sign};

/// Predicts every ceiling and trigger, and forecasts every held-out window. Sees no rollout of a held-out neuron.
pub fn predict(study: &Study, screening: Screening, calibration: Calibration) -> Predictions {
    let predictors: Vec<FittedPredictor> = (study.ceiling.predictors.iter())
        .map(|&predictor| ceiling::fit(study, predictor, &calibration))
        .collect();
    let predicted = neurons_of(&screening, &[Role::HeldOut, Role::Control]);
    let mut ceilings = Vec::new();
    for neuron in predicted {
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
    let mut predictions = Predictions {
        study: study.question_hash(),
        trigger_predictors: trigger::fit(study, &predictors),
        ratios: trigger::ratios(study, &calibration),
        screening,
        calibration,
        predictors,
        ceilings,
        triggers: Vec::new(),
        forecasts: Vec::new(),
    };
    predictions.triggers = trigger::triggers(study, &predictions);
    predictions.forecasts = forecasts(study, &predictions);
    predictions
}

/// The neurons in these roles, sorted, without repeats.
pub fn neurons_of(screening: &Screening, roles: &[Role]) -> Vec<NeuronId> {
    let mut neurons: Vec<NeuronId> = (screening.groups.iter())
        .filter(|group| roles.contains(&group.role))
        .flat_map(|group| group.neurons.iter().copied())
        .collect();
    neurons.sort();
    neurons.dedup();
    neurons
}

/// A window is forecast to be open when on either branch the headline trigger lies below the ceiling by the fitted margin. The ceiling
/// is that of flipped text, where the trigger's predictor reads it, else the headline predictor's.
fn forecasts(study: &Study, predictions: &Predictions) -> Vec<Forecast> {
    let headline = (study.trigger.predictors.iter())
        .position(|predictor| *predictor == study.trigger.headline)
        .expect("the headline is one of the predictors");
    let mut open: BTreeMap<(&str, NeuronId), Option<bool>> = BTreeMap::new();
    for trigger in &predictions.triggers {
        let held_out = predictions.screening.groups.iter().any(|group| {
            group.role == Role::HeldOut
                && group.behaviors.contains(&trigger.behavior)
                && group.neurons.binary_search(&trigger.neuron).is_ok()
        });
        if !held_out {
            continue;
        }
        let forecast = open.entry((&trigger.behavior, trigger.neuron)).or_default();
        let fitted = (predictions.trigger_predictors.iter()).find(|fitted| {
            fitted.predictor == study.trigger.headline && fitted.behavior == trigger.behavior
        });
        let (neuron, sign) = (trigger.neuron, trigger.sign);
        let ceiling = predictions.headline_ceiling(study, neuron, sign);
        let distance = match study.trigger.headline {
            TriggerPredictor::Expected => {
                let Some(ceiling) = ceiling else { continue };
                trigger.by[headline].map(|at| ceiling - at)
            }
            TriggerPredictor::Push => trigger::distance(
                study,
                &trigger.behavior,
                neuron,
                sign,
                &predictions.calibration,
                &predictions.predictors,
            ),
        };
        let margin = fitted.map_or(0.0, |fitted| fitted.margin);
        let open = distance.is_some_and(|distance| distance > margin);
        *forecast = Some(forecast.unwrap_or(false) || open);
    }
    (open.into_iter())
        .map(|((behavior, neuron), open)| Forecast {
            neuron,
            behavior: behavior.to_owned(),
            open,
        })
        .collect()
}

/// Everything that is sealed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Predictions {
    /// [`Study::question_hash`] of the study.
    pub study: String,
    /// The neurons and what chose them.
    pub screening: Screening,
    /// Budgets, alignments, spectra, single steps, and the calibration neurons' thresholds.
    pub calibration: Calibration,
    /// The fitted ceiling predictors, in the order of the study.
    pub predictors: Vec<FittedPredictor>,
    /// One entry per held-out or control neuron and branch, sorted.
    pub ceilings: Vec<PredictedCeiling>,
    /// The fitted trigger predictors: one entry per behaviour and predictor.
    pub trigger_predictors: Vec<FittedTrigger>,
    /// One entry per behaviour, held-out or control neuron and branch, sorted.
    pub triggers: Vec<PredictedTrigger>,
    /// What triggers at shorter horizons are multiplied by to give that of the verdict horizon: one entry per behaviour and horizon.
    pub ratios: Vec<HorizonRatio>,
    /// One entry per held-out neuron and behaviour, sorted.
    pub forecasts: Vec<Forecast>,
}

impl Predictions {
    /// The ceiling of a branch by the study's headline predictor, as a coordinate.
    pub fn headline_ceiling(&self, study: &Study, neuron: NeuronId, sign: Sign) -> Option<f64> {
        let place = (self.predictors.iter())
            .position(|fitted| fitted.predictor == study.ceiling.headline)?;
        let found = (self.ceilings).binary_search_by_key(&(neuron, sign), |c| (c.neuron, c.sign));
        Some(self.ceilings[found.ok()?].by[place]?.coordinate)
    }

    /// The predicted triggers of a branch.
    pub fn trigger(
        &self,
        behavior: &str,
        neuron: NeuronId,
        sign: Sign,
    ) -> Option<&PredictedTrigger> {
        let key = (behavior, neuron, sign);
        let found =
            (self.triggers).binary_search_by(|t| (t.behavior.as_str(), t.neuron, t.sign).cmp(&key));
        Some(&self.triggers[found.ok()?])
    }

    /// The single steps of a branch on the calibration prompts, as they are decided for a behaviour.
    pub fn push(&self, behavior: &str, neuron: NeuronId, sign: Sign) -> Option<&Push> {
        self.calibration.push(behavior, neuron, sign)
    }
}

/// A ceiling predictor with what was fitted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FittedPredictor {
    /// Which predictor.
    pub predictor: Predictor,
    /// The fitted number: `m*` for `constant` and `calibrated`, `κ` for `participation_ratio`. Absent for `regression`, and when
    /// nothing could be fitted (no calibration neuron collapsed within the doses).
    pub parameter: Option<f64>,
    /// The fit of `regression`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub regression: Option<Ridge>,
    /// Half the width of its prediction interval in cosθ: the quantile of the errors on calibration branches, each made without the
    /// branch's own neuron (jackknife conformal; Barber et al. 2021). Absent with too few calibration branches for the level.
    pub half_width: Option<f64>,
    /// Where the fit comes from, in words.
    pub source: String,
}

impl FittedPredictor {
    /// Whether it can predict.
    pub fn is_fitted(&self) -> bool {
        let needs_no_fit = self.predictor == Predictor::OneStep;
        needs_no_fit || self.parameter.is_some() || self.regression.is_some()
    }

    /// The ceiling of a neuron on a branch; absent when the predictor could not be fitted.
    fn ceiling(
        &self,
        neuron: &NeuronCalibration,
        sign: Sign,
        calibration: &Calibration,
    ) -> Option<CeilingEstimate> {
        let (multiple, coordinate) = ceiling::estimate(self, neuron, sign, calibration)?;
        Some(CeilingEstimate {
            multiple,
            coordinate,
            interval: self.half_width.map(|half| Interval {
                low: (coordinate - half).max(-1.0),
                high: (coordinate + half).min(1.0),
            }),
        })
    }
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
    /// `m*`, in budgets, above 0; absent where a norm keeps every dose below the coordinate.
    pub multiple: Option<f64>,
    /// The coordinate along the branch (its own sign counted as positive), with the neuron's `c0`.
    pub coordinate: f64,
    /// Prediction interval of the coordinate, at the study's level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Interval>,
}

/// A trigger predictor with what was fitted for one behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FittedTrigger {
    /// Which predictor.
    pub predictor: TriggerPredictor,
    /// Name of the behaviour.
    pub behavior: String,
    /// How far, in cosθ, the trigger must lie below the ceiling for an open forecast.
    pub margin: f64,
    /// Where trigger and margin come from, in words.
    pub source: String,
}

/// The predicted triggers of one neuron on one branch.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PredictedTrigger {
    /// Name of the behaviour.
    pub behavior: String,
    /// The neuron.
    pub neuron: NeuronId,
    /// The branch.
    pub sign: Sign,
    /// The coordinate by each predictor of the study, in their order; absent where it predicts that the behaviour does not flip.
    pub by: Vec<Option<f64>>,
}

/// The trigger at the verdict horizon over that at a shorter one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HorizonRatio {
    /// Name of the behaviour.
    pub behavior: String,
    /// The shorter horizon.
    pub horizon: Horizon,
    /// Median ratio, in budgets, over calibration branches with both; 1 without any.
    pub ratio: f64,
    /// How many branches.
    pub branches: usize,
}

/// Will the window be open? One entry per held-out neuron and behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forecast {
    /// The neuron.
    pub neuron: NeuronId,
    /// Name of the behaviour.
    pub behavior: String,
    /// Whether the headline trigger lies below the ceiling by the margin on either branch; absent when that cannot be said.
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
