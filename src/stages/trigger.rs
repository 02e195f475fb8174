//! Trigger predictors: what each is fitted on, and what it says.

use super::calibrate::{Calibration, CalibrationThresholds, NeuronCalibration};
use super::predict::{self, FittedTrigger, HorizonRatio, PredictedTrigger, Predictions};
use super::push::{Push, STRENGTHS};
use crate::spec::ceiling::TriggerPredictor;
use crate::spec::neurons::Role;
use crate::stats;
use crate::study::{Behavior, Study};
use crate::units::Sign;

/// Fits every predictor for every behaviour.
pub fn fit(study: &Study, calibration: &Calibration) -> Vec<FittedTrigger> {
    let fit_one = |behavior: &Behavior, predictor| FittedTrigger {
        predictor,
        behavior: behavior.name.clone(),
        ..match predictor {
            TriggerPredictor::Expected => expected(behavior),
            TriggerPredictor::Push => push(study, behavior, calibration),
        }
    };
    (study.behaviors.iter())
        .flat_map(|behavior| {
            let predictors = study.trigger.predictors.iter();
            predictors.map(move |&predictor| fit_one(behavior, predictor))
        })
        .collect()
}

/// Parameter: the coordinate.
fn expected(behavior: &Behavior) -> FittedTrigger {
    FittedTrigger {
        predictor: TriggerPredictor::Expected,
        behavior: String::new(),
        parameters: vec![behavior.expected_trigger],
        source: "expected_trigger of the behaviour".into(),
    }
}

/// Parameter: the median ratio, in budgets, of the measured trigger to the dose at which the mean logit difference changes its sign,
/// over the calibration branches that have both; 1 without any.
fn push(study: &Study, behavior: &Behavior, calibration: &Calibration) -> FittedTrigger {
    let verdict = study.rollout.verdict_place();
    let ratios: Vec<f64> = (of_behavior(calibration, behavior))
        .filter_map(|branch| {
            let push = calibration.push(&branch.behavior, branch.neuron, branch.sign)?;
            Some((*branch.triggers.get(verdict)?)? / sign_change(push)?)
        })
        .filter(|ratio| ratio.is_finite())
        .collect();
    FittedTrigger {
        predictor: TriggerPredictor::Push,
        behavior: String::new(),
        parameters: vec![stats::median(&ratios).unwrap_or(1.0)],
        source: format!(
            "median ratio of the measured trigger to the push at which the logit difference changes its sign, over {} calibration branches",
            ratios.len()
        ),
    }
}

fn of_behavior<'a>(
    calibration: &'a Calibration,
    behavior: &Behavior,
) -> impl Iterator<Item = &'a CalibrationThresholds> {
    let name = behavior.name.clone();
    (calibration.thresholds.iter()).filter(move |branch| branch.behavior == name)
}

/// The push, in budgets, at which the mean logit difference rises above 0: interpolated, `None` when it does not.
fn sign_change(push: &Push) -> Option<f64> {
    let strengths: Vec<f64> = std::iter::once(0.0).chain(STRENGTHS).collect();
    let above = push.margins.iter().position(|&margin| margin > 0.0)?;
    let Some(below) = above.checked_sub(1) else {
        return Some(0.0);
    };
    let (low, high) = (push.margins[below], push.margins[above]);
    let share = -low / (high - low);
    Some(strengths[below] + share * (strengths[above] - strengths[below]))
}

/// What a fitted predictor says of a branch, as a coordinate.
fn estimate(
    fitted: &FittedTrigger,
    neuron: &NeuronCalibration,
    sign: Sign,
    calibration: &Calibration,
) -> Option<f64> {
    match fitted.predictor {
        TriggerPredictor::Expected => fitted.parameters.first().copied(),
        TriggerPredictor::Push => {
            let push = calibration.push(&fitted.behavior, neuron.neuron, sign)?;
            let budgets = sign_change(push)? * fitted.parameters.first()?;
            Some(neuron.coordinate(sign, budgets))
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
            triggers.extend(study.doses.signs.iter().map(|&sign| PredictedTrigger {
                behavior: behavior.name.clone(),
                neuron,
                sign,
                by: (fitted.iter())
                    .map(|fitted| estimate(fitted, of_neuron, sign, calibration))
                    .collect(),
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
