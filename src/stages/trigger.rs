//! Trigger predictors: what each is fitted on, and what it says.

use super::calibrate::{Calibration, CalibrationThresholds, NeuronCalibration};
use super::ceiling;
use super::predict::{
    self, FittedPredictor, FittedTrigger, HorizonRatio, PredictedTrigger, Predictions,
};
use crate::spec::ceiling::TriggerPredictor;
use crate::spec::neurons::Role;
use crate::stats::{self, Ridge};
use crate::study::{Behavior, Study};
use crate::units::{NeuronId, Sign};

/// A branch whose trigger lies this far above its ceiling is left out of the fit of the margin: nothing flips there.
const NEAR: f64 = 0.05;
/// The margin where none could be fitted.
const MARGIN: f64 = 0.1;
/// Largest margin of a fit.
const LARGEST_MARGIN: f64 = 0.3;
/// Place of the limit itself among the levels of [`super::step_ceiling`].
const LIMIT: usize = 1;

/// Fits every predictor for every behaviour.
pub fn fit(
    study: &Study,
    calibration: &Calibration,
    ceilings: &[FittedPredictor],
) -> Vec<FittedTrigger> {
    let fit_one = |behavior: &Behavior, predictor: &TriggerPredictor| match predictor {
        TriggerPredictor::Expected => expected(study, behavior),
        TriggerPredictor::Push => push(study, behavior, calibration, ceilings),
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
        source: format!("expected_trigger {} of the behaviour", behavior.expected_trigger),
    }
}

fn push(study: &Study, behavior: &Behavior, calibration: &Calibration, ceilings: &[FittedPredictor]) -> FittedTrigger {
    let fitted = |margin, source: String| FittedTrigger {
        predictor: TriggerPredictor::Push,
        behavior: behavior.name.clone(),
        margin,
        source,
    };
    if let Some(margin) = study.trigger.margin {
        return fitted(margin, "margin given in the spec".into());
    }
    // Largest share of flips against the distance from trigger to ceiling, where a flip is not out of reach.
    let pairs: Vec<(f64, f64)> = of_behavior(calibration, behavior)
        .filter_map(|branch| {
            let distance = distance(study, &behavior.name, branch.neuron, branch.sign, calibration, ceilings)?;
            Some((distance, branch.peak?))
        })
        .filter(|(distance, _)| *distance > -NEAR)
        .collect();
    match half_flipped(&pairs) {
        Some(margin) => fitted(
            margin.clamp(0.0, LARGEST_MARGIN),
            format!("margin where a line through the largest shares of flips of {} calibration branches crosses a half", pairs.len()),
        ),
        None => fitted(MARGIN, "margin without a fit: too few calibration branches flip".into()),
    }
}

/// The distance at which the least-squares line through shares of flips reaches a half; `None` when it does not rise, or rests on
/// fewer than five branches of which none flips half.
fn half_flipped(pairs: &[(f64, f64)]) -> Option<f64> {
    if pairs.len() < 5 || pairs.iter().all(|(_, share)| *share < 0.5) {
        return None;
    }
    let rows: Vec<[f64; 1]> = pairs.iter().map(|(distance, _)| [*distance]).collect();
    let rows: Vec<&[f64]> = rows.iter().map(|row| &row[..]).collect();
    let shares: Vec<f64> = pairs.iter().map(|(_, share)| *share).collect();
    let line = Ridge::fit(&rows, &shares, 0.0)?;
    let slope = line.weights[0] / line.deviations[0];
    (slope > 0.0).then(|| line.means[0] + (0.5 - line.intercept) / slope)
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
        Some(crossings) => of_neuron.coordinate(sign, crossings[LIMIT]),
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
            triggers.extend(study.doses.signs.iter().map(|&sign| PredictedTrigger {
                behavior: behavior.name.clone(),
                neuron,
                sign,
                by: (fitted.iter())
                    .map(|fitted| estimate(study, fitted, of_neuron, sign, calibration))
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
