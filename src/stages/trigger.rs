//! Trigger predictors: what each is fitted on, and what it says.

use super::calibrate::{Calibration, CalibrationThresholds, NeuronCalibration};
use super::ceiling;
use super::predict::{
    self, FittedPredictor, FittedTrigger, HorizonRatio, PredictedTrigger, Predictions,
};
use super::step_ceiling::LIMIT;
use crate::spec::ceiling::TriggerPredictor;
use crate::spec::neurons::Role;
use crate::stats;
use crate::study::{Behavior, Study};
use crate::units::{NeuronId, Sign};

/// The margin where the ceilings have no interval.
const MARGIN: f64 = 0.1;

/// Fits every predictor for every behaviour.
pub fn fit(study: &Study, ceilings: &[FittedPredictor]) -> Vec<FittedTrigger> {
    let fit_one = |behavior: &Behavior, predictor: &TriggerPredictor| match predictor {
        TriggerPredictor::Expected => expected(study, behavior),
        TriggerPredictor::Push => push(study, behavior, ceilings),
    };
    (study.behaviors.iter())
        .flat_map(|behavior| {
            let predictors = study.trigger.predictors.iter();
            predictors.map(move |predictor| fit_one(behavior, predictor))
        })
        .collect()
}

fn expected(study: &Study, behavior: &Behavior) -> FittedTrigger {
    FittedTrigger {
        predictor: TriggerPredictor::Expected,
        behavior: behavior.name.clone(),
        margin: study.trigger.margin.unwrap_or(0.0),
        source: format!(
            "expected_trigger {} of the behaviour",
            behavior.expected_trigger
        ),
    }
}

/// The margin is the lower half of the headline ceiling's prediction interval: a window is forecast open where the trigger lies below
/// every ceiling that is likely.
fn push(study: &Study, behavior: &Behavior, ceilings: &[FittedPredictor]) -> FittedTrigger {
    let headline = (ceilings.iter()).find(|c| c.predictor == study.ceiling.headline);
    let (margin, source) = match (study.trigger.margin, headline.and_then(|c| c.half_width)) {
        (Some(margin), _) => (margin, "margin given in the spec".to_owned()),
        (None, Some(half)) => (
            half,
            format!(
                "margin: half the prediction interval of {}",
                study.ceiling.headline.name()
            ),
        ),
        (None, None) => (
            MARGIN,
            "margin without a fit: too few calibration branches for an interval".to_owned(),
        ),
    };
    FittedTrigger {
        predictor: TriggerPredictor::Push,
        behavior: behavior.name.clone(),
        margin,
        source,
    }
}

/// From the predicted trigger up to where the flipped text is predicted to collapse, in cosθ: on flipped text where that was read, else
/// by the headline predictor. Absent without a predicted trigger or ceiling.
pub fn distance(
    study: &Study,
    behavior: &str,
    neuron: NeuronId,
    sign: Sign,
    calibration: &Calibration,
    ceilings: &[FittedPredictor],
) -> Option<f64> {
    let push = calibration.push(behavior, neuron, sign)?;
    let of_neuron = calibration.of(neuron);
    let trigger = of_neuron.coordinate(sign, push.trigger?);
    let ceiling = match push.flipped_ceiling {
        // Text that stays likely at every push has its ceiling beyond all of them.
        Some(crossings) => {
            crossings[LIMIT].map_or(1.0, |budgets| of_neuron.coordinate(sign, budgets))
        }
        None => {
            let headline = (ceilings.iter()).find(|c| c.predictor == study.ceiling.headline)?;
            ceiling::estimate(headline, of_neuron, sign, calibration)?.1
        }
    };
    Some(ceiling - trigger)
}

fn of_behavior<'a>(
    calibration: &'a Calibration,
    behavior: &Behavior,
) -> impl Iterator<Item = &'a CalibrationThresholds> {
    let name = behavior.name.clone();
    (calibration.thresholds.iter()).filter(move |branch| branch.behavior == name)
}

/// What a fitted predictor says of a branch, as a coordinate.
fn estimate(
    study: &Study,
    fitted: &FittedTrigger,
    neuron: &NeuronCalibration,
    sign: Sign,
    calibration: &Calibration,
) -> Option<f64> {
    match fitted.predictor {
        TriggerPredictor::Expected => Some(study.behavior(&fitted.behavior).expected_trigger),
        TriggerPredictor::Push => {
            let push = calibration.push(&fitted.behavior, neuron.neuron, sign)?;
            Some(neuron.coordinate(sign, push.trigger?))
        }
    }
}

/// The predicted triggers of every held-out and control neuron, sorted.
pub fn triggers(study: &Study, predictions: &Predictions) -> Vec<PredictedTrigger> {
    let calibration = &predictions.calibration;
    let neurons = predict::neurons_of(&predictions.screening, &[Role::HeldOut, Role::Control]);
    let mut triggers = Vec::new();
    for behavior in &study.behaviors {
        let fitted: Vec<&FittedTrigger> = (predictions.trigger_predictors.iter())
            .filter(|fitted| fitted.behavior == behavior.name)
            .collect();
        for &neuron in &neurons {
            let of_neuron = calibration.of(neuron);
            triggers.extend(study.doses.signs.iter().map(|&sign| {
                PredictedTrigger {
                    behavior: behavior.name.clone(),
                    neuron,
                    sign,
                    by: (fitted.iter())
                        .map(|fitted| estimate(study, fitted, of_neuron, sign, calibration))
                        .collect(),
                }
            }));
        }
    }
    triggers
}

/// Median ratio of the trigger at the verdict horizon to that at each shorter one, over the calibration branches with both.
pub fn ratios(study: &Study, calibration: &Calibration) -> Vec<HorizonRatio> {
    let verdict = study.rollout.verdict_place();
    let shorter = study.rollout.horizons[..verdict].iter().enumerate();
    (study.behaviors.iter())
        .flat_map(|behavior| {
            shorter.clone().map(move |(place, &horizon)| {
                let ratios: Vec<f64> = of_behavior(calibration, behavior)
                    .filter_map(|branch| {
                        let at = |place: usize| branch.triggers.get(place).copied().flatten();
                        Some(at(verdict)? / at(place)?)
                    })
                    .filter(|ratio| ratio.is_finite())
                    .collect();
                HorizonRatio {
                    behavior: behavior.name.clone(),
                    horizon,
                    ratio: stats::median(&ratios).unwrap_or(1.0),
                    branches: ratios.len(),
                }
            })
        })
        .collect()
}
