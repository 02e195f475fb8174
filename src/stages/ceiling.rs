//! Ceiling predictors: what each is fitted on, what it says, and how far it is off on neurons that it has not seen.

use std::collections::BTreeSet;

use super::calibrate::{Calibration, CalibrationThresholds, NeuronCalibration};
use super::features;
use super::predict::FittedPredictor;
use super::push::STRENGTHS;
use super::step_ceiling::LIMIT;
use crate::law;
use crate::spec::ceiling::Predictor;
use crate::stats::{self, Ridge};
use crate::study::Study;
use crate::units::{NeuronId, Sign};

/// Penalty of the regression on standardised features.
const PENALTY: f64 = 10.0;
/// The same for the three crossings of single steps, which are few and say much.
const STEP_PENALTY: f64 = 1.0;
/// With fewer calibration branches the crossings are taken as they are.
const LEAST_STEP_BRANCHES: usize = 24;

/// Fits a predictor on the calibration neurons.
pub fn fit(study: &Study, predictor: Predictor, calibration: &Calibration) -> FittedPredictor {
    let branches: Vec<&CalibrationThresholds> = calibration.ceilings().collect();
    let mut fitted = fit_on(study, predictor, calibration, &branches);
    fitted.half_width = half_width(study, predictor, calibration, &branches);
    fitted
}

/// Calibration branches in words, with those that have no ceiling.
fn described(branches: &[&CalibrationThresholds]) -> String {
    let never = branches.iter().filter(|b| b.ceiling.is_none()).count();
    match never {
        0 => format!("{} calibration branches", branches.len()),
        never => format!(
            "{} calibration branches, {never} of which never collapsed",
            branches.len()
        ),
    }
}

/// Fits a predictor on some calibration branches; without an interval.
fn fit_on(
    study: &Study,
    predictor: Predictor,
    calibration: &Calibration,
    branches: &[&CalibrationThresholds],
) -> FittedPredictor {
    let settings = &study.ceiling;
    let count = described(branches);
    let multiple = |branch: &CalibrationThresholds| branch.ceiling.unwrap_or(f64::INFINITY);
    let median = |of: &dyn Fn(&CalibrationThresholds) -> f64| {
        let values: Vec<f64> = branches.iter().map(|branch| of(branch)).collect();
        // Those that never collapsed lie above every number; the median may lie among them.
        stats::median(&values).filter(|median| median.is_finite())
    };
    let mut fitted = FittedPredictor {
        predictor,
        parameter: None,
        regression: None,
        half_width: None,
        source: String::new(),
    };
    (fitted.parameter, fitted.source) = match predictor {
        Predictor::Constant => (Some(settings.constant), "m* given in the spec".to_owned()),
        Predictor::Calibrated => (median(&multiple), format!("median m* of {count}")),
        Predictor::ParticipationRatio => match settings.kappa {
            Some(kappa) => (Some(kappa), "κ given in the spec".to_owned()),
            // κ = m* / √(1 − λ₁/Σλ)
            None => (
                median(&|branch| {
                    let share = calibration.layers[branch.neuron.layer].leading_share;
                    multiple(branch) / law::spectral_multiple(1.0, share)
                }),
                format!("median κ of {count}"),
            ),
        },
        Predictor::Regression => {
            fitted.regression = regression(study, calibration, branches);
            let features = fitted.regression.as_ref().map_or(0, |r| r.weights.len());
            let source = format!("ridge regression on {features} features over {count}");
            (None, source)
        }
        Predictor::OneStep => {
            fitted.regression = steps(study, calibration, branches);
            let source = match fitted.regression {
                Some(_) => format!("ridge regression on 3 crossings of single steps over {count}"),
                None => {
                    "where single steps cross the limit of the likelihood, without a fit".to_owned()
                }
            };
            (None, source)
        }
    };
    fitted
}

/// Fits the coordinate of the ceiling on the coordinates at which single steps cross the levels.
fn steps(
    study: &Study,
    calibration: &Calibration,
    branches: &[&CalibrationThresholds],
) -> Option<Ridge> {
    let rows: Vec<Vec<f64>> = (branches.iter())
        .map(|branch| step_row(calibration, branch.neuron, branch.sign))
        .collect::<Option<_>>()?;
    (rows.len() >= LEAST_STEP_BRANCHES)
        .then(|| ridge(study, calibration, branches, &rows, STEP_PENALTY))
        .flatten()
}

/// The coordinates at which the steps of a branch cross the levels; that of the strongest push where they do not.
fn step_row(calibration: &Calibration, neuron: NeuronId, sign: Sign) -> Option<Vec<f64>> {
    const LARGEST: f64 = STRENGTHS[STRENGTHS.len() - 1];
    let crossings = calibration.step_ceiling(neuron, sign)?;
    let of_neuron = calibration.of(neuron);
    let coordinate = |at: Option<f64>| of_neuron.coordinate(sign, at.unwrap_or(LARGEST));
    Some(crossings.map(coordinate).into())
}

/// Fits the coordinate of the ceiling on features of the neuron. A branch that never collapsed counts with the coordinate of its
/// largest dose, which is a lower bound.
fn regression(
    study: &Study,
    calibration: &Calibration,
    branches: &[&CalibrationThresholds],
) -> Option<Ridge> {
    let rows: Vec<Vec<f64>> = (branches.iter())
        .map(|branch| features::row(calibration.of(branch.neuron), branch.sign))
        .collect();
    // Fewer rows than features fit noise.
    (rows.len() > rows.first()?.len())
        .then(|| ridge(study, calibration, branches, &rows, PENALTY))
        .flatten()
}

fn ridge(
    study: &Study,
    calibration: &Calibration,
    branches: &[&CalibrationThresholds],
    rows: &[Vec<f64>],
    penalty: f64,
) -> Option<Ridge> {
    let rows: Vec<&[f64]> = rows.iter().map(Vec::as_slice).collect();
    let responses: Vec<f64> = (branches.iter())
        .map(|branch| {
            let neuron = calibration.of(branch.neuron);
            let largest = largest_dose(study, neuron);
            neuron.coordinate(branch.sign, branch.ceiling.unwrap_or(largest))
        })
        .collect();
    Ridge::fit(&rows, &responses, penalty)
}

fn largest_dose(study: &Study, neuron: &NeuronCalibration) -> f64 {
    let grid = super::sweep::grid(study, neuron);
    grid.iter().map(|dose| dose.budgets).fold(0.0, f64::max)
}

/// What a predictor says of a branch: multiple and coordinate.
pub fn estimate(
    fitted: &FittedPredictor,
    neuron: &NeuronCalibration,
    sign: Sign,
    calibration: &Calibration,
) -> Option<(Option<f64>, f64)> {
    let multiple = match fitted.predictor {
        Predictor::Constant | Predictor::Calibrated => fitted.parameter?,
        Predictor::ParticipationRatio => {
            let layer = &calibration.layers[neuron.neuron.layer];
            law::spectral_multiple(fitted.parameter?, layer.leading_share)
        }
        Predictor::Regression => {
            let row = features::row(neuron, sign);
            let coordinate = fitted.regression.as_ref()?.at(&row).clamp(0.0, 0.99);
            return Some((neuron.budgets_at(sign, coordinate), coordinate));
        }
        Predictor::OneStep => {
            let row = step_row(calibration, neuron.neuron, sign)?;
            // Behind a norm a push that stays likely stays so at any dose: there is no ceiling.
            if neuron.normed.is_some() {
                calibration.step_ceiling(neuron.neuron, sign)?[LIMIT]?;
            }
            let fitted = fitted.regression.as_ref().map(|fit| fit.at(&row));
            let coordinate = fitted.unwrap_or(row[LIMIT]).clamp(0.0, 0.99);
            return Some((neuron.budgets_at(sign, coordinate), coordinate));
        }
    };
    Some((Some(multiple), neuron.coordinate(sign, multiple)))
}

/// The error that the study's share of predictions stays below: the conformal quantile of the errors on calibration branches, each
/// predicted without its own neuron. Branches without a measured ceiling have no error.
fn half_width(
    study: &Study,
    predictor: Predictor,
    calibration: &Calibration,
    branches: &[&CalibrationThresholds],
) -> Option<f64> {
    let neurons: BTreeSet<NeuronId> = branches.iter().map(|branch| branch.neuron).collect();
    let mut errors = Vec::new();
    for neuron in neurons {
        let others: Vec<&CalibrationThresholds> = (branches.iter().copied())
            .filter(|branch| branch.neuron != neuron)
            .collect();
        let fitted = fit_on(study, predictor, calibration, &others);
        let of_neuron = calibration.of(neuron);
        for branch in branches.iter().filter(|branch| branch.neuron == neuron) {
            let measured = branch.ceiling.map(|m| of_neuron.coordinate(branch.sign, m));
            let predicted = estimate(&fitted, of_neuron, branch.sign, calibration);
            if let (Some(measured), Some((_, predicted))) = (measured, predicted) {
                errors.push((predicted - measured).abs());
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let rank = (study.ceiling.interval * (errors.len() + 1) as f64).ceil() as usize;
    errors.get(rank.checked_sub(1)?).copied()
}
