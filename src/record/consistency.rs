//! Whether the parts of a record fit each other. Hashes and seals say that a file is the one that was written; whoever can write a file can
//! also hash it, and what derives figures from a record relies on more: that every name is known, every neuron calibrated, every list as
//! long as the one that it goes with. Each check says in words what does not fit.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::stages::judge::{HorizonShares, Judgements};
use crate::stages::predict::Predictions;
use crate::stages::verdict::Verdicts;
use crate::study::{Behavior, Rollout, Study};
use crate::units::NeuronId;

/// Most bootstrap resamples that a spec may ask for.
const RESAMPLES: usize = 100_000;
/// The finest tolerance of a search, in budgets.
const TOLERANCE: f64 = 1e-4;

/// Whether a study is one that resolution could have made.
///
/// # Errors
/// What does not fit.
pub fn of_study(study: &Study) -> Result<(), String> {
    of_rollout(&study.rollout, study.model.shape.context)?;
    of_doses(study)?;
    of_behaviors(study)?;
    of_groups(study)?;
    let sets = [
        Some(&study.calibration.prompts),
        Some(&study.calibration.steer_on),
        study.calibration.contrast.as_ref(),
    ];
    for name in sets.into_iter().flatten() {
        fits(study.prompts.contains_key(name), || {
            format!("the calibration uses the prompt set `{name}`, which is not there")
        })?;
    }
    let ceiling = &study.ceiling;
    fits(ceiling.predictors.contains(&ceiling.headline), || {
        "the headline of the ceiling is none of its predictors".into()
    })?;
    let trigger = &study.trigger;
    fits(trigger.predictors.contains(&trigger.headline), || {
        "the headline of the trigger is none of its predictors".into()
    })?;
    fits(study.thresholds.resamples <= RESAMPLES, || {
        format!(
            "{} resamples are more than {RESAMPLES}",
            study.thresholds.resamples
        )
    })?;
    (study.coherence.oracle.iter()).try_for_each(|oracle| compiles(oracle.compile()))
}

fn of_rollout(rollout: &Rollout, context: usize) -> Result<(), String> {
    let horizons = &rollout.horizons;
    let increasing = horizons.windows(2).all(|pair| pair[0] < pair[1]);
    let bounded = (horizons.first().zip(horizons.last()))
        .is_some_and(|(first, last)| first.0 > 0 && last.0 < context);
    fits(increasing && bounded, || {
        "the horizons do not increase from above 0 to below the model's context".into()
    })?;
    fits(horizons.contains(&rollout.verdict_horizon), || {
        format!(
            "the horizon {} of the verdict is none of the study's",
            rollout.verdict_horizon
        )
    })
}

fn of_doses(study: &Study) -> Result<(), String> {
    let doses = &study.doses;
    let magnitudes = &doses.magnitudes;
    let increasing = magnitudes.windows(2).all(|pair| pair[0] < pair[1]);
    fits(
        increasing && magnitudes.first().is_some_and(|first| *first > 0.0),
        || "the magnitudes of the doses do not increase from above 0".into(),
    )?;
    let distinct = doses.signs.windows(2).all(|pair| pair[0] < pair[1]);
    fits(distinct && !doses.signs.is_empty(), || {
        "the doses need each of their signs once".into()
    })?;
    fits(
        doses
            .tolerance
            .is_none_or(|tolerance| tolerance >= TOLERANCE),
        || format!("the tolerance of the search is finer than {TOLERANCE} budgets"),
    )
}

fn of_behaviors(study: &Study) -> Result<(), String> {
    let names: BTreeSet<&str> = study.behaviors.iter().map(|b| b.name.as_str()).collect();
    fits(
        names.len() == study.behaviors.len() && !names.is_empty(),
        || "the study has no behaviours, or two of one name".into(),
    )?;
    for behavior in &study.behaviors {
        let name = &behavior.name;
        let prompts = study.prompts.get(&behavior.prompts);
        fits(prompts.is_some_and(|prompts| !prompts.is_empty()), || {
            format!("the behaviour `{name}` has no prompts")
        })?;
        (behavior.outcomes.iter()).try_for_each(|outcome| compiles(outcome.oracle.compile()))?;
    }
    Ok(())
}

fn of_groups(study: &Study) -> Result<(), String> {
    let known = |name: &String| study.behaviors.iter().any(|b| b.name == *name);
    for group in &study.neurons {
        fits(group.behaviors.iter().all(known), || {
            format!(
                "the neurons `{}` are measured on a behaviour that is not there",
                group.name
            )
        })?;
    }
    Ok(())
}

fn compiles<T>(judge: Result<T, crate::oracles::OracleError>) -> Result<(), String> {
    judge.map(drop).map_err(|error| error.to_string())
}

/// Whether predictions fit their study.
///
/// # Errors
/// What does not fit.
pub fn of_predictions(study: &Study, predictions: &Predictions) -> Result<(), String> {
    let (layers, d_ff) = (study.model.shape.layers, study.model.shape.d_ff);
    let calibration = &predictions.calibration;
    fits(calibration.layers.len() == layers, || {
        format!(
            "{} layers are calibrated, and the model has {layers}",
            calibration.layers.len()
        )
    })?;
    let neurons: Vec<NeuronId> = calibration.neurons.iter().map(|n| n.neuron).collect();
    fits(neurons.windows(2).all(|pair| pair[0] < pair[1]), || {
        "the calibrated neurons are not sorted".into()
    })?;
    fits(
        neurons.iter().all(|neuron| neuron.is_in(layers, d_ff)),
        || "a neuron is calibrated that the model does not have".into(),
    )?;
    for group in &predictions.screening.groups {
        calibrated(
            &format!("of the group `{}`", group.name),
            &group.neurons,
            &neurons,
        )?;
    }
    let thresholds: Vec<NeuronId> = calibration.thresholds.iter().map(|t| t.neuron).collect();
    calibrated("with thresholds", &thresholds, &neurons)?;
    let pushed: Vec<NeuronId> = calibration.pushes.iter().map(|p| p.neuron).collect();
    calibrated("with a push", &pushed, &neurons)?;
    let predicted: Vec<NeuronId> = predictions.ceilings.iter().map(|c| c.neuron).collect();
    calibrated("with a predicted ceiling", &predicted, &neurons)?;
    of_predictors(study, predictions)
}

/// As many estimates as predictors.
fn of_predictors(study: &Study, predictions: &Predictions) -> Result<(), String> {
    let fitted = predictions.predictors.iter().map(|fitted| fitted.predictor);
    fits(fitted.eq(study.ceiling.predictors.iter().copied()), || {
        "the fitted predictors are not those of the study".into()
    })?;
    let count = study.ceiling.predictors.len();
    fits(
        predictions.ceilings.iter().all(|c| c.by.len() == count),
        || format!("a ceiling has not the estimates of {count} predictors"),
    )?;
    let count = study.trigger.predictors.len();
    fits(
        predictions.triggers.iter().all(|t| t.by.len() == count),
        || format!("a trigger has not the estimates of {count} predictors"),
    )?;
    let known = |name: &str| study.behaviors.iter().any(|b| b.name == name);
    let named = (predictions.trigger_predictors.iter().map(|t| &t.behavior))
        .chain(predictions.triggers.iter().map(|t| &t.behavior))
        .chain(predictions.forecasts.iter().map(|f| &f.behavior));
    named.into_iter().try_for_each(|name| {
        fits(known(name), || {
            format!("something is predicted of the behaviour `{name}`, which is not there")
        })
    })
}

fn calibrated(which: &str, neurons: &[NeuronId], known: &[NeuronId]) -> Result<(), String> {
    let missing = neurons
        .iter()
        .find(|neuron| known.binary_search(neuron).is_err());
    match missing {
        None => Ok(()),
        Some(neuron) => Err(format!("the neuron {neuron} {which} has no calibration")),
    }
}

/// Whether curves and verdicts fit their study and its predictions, which fit each other.
///
/// # Errors
/// What does not fit.
pub fn of_results(
    study: &Study,
    predictions: &Predictions,
    judgements: &Judgements,
    verdicts: &Verdicts,
) -> Result<(), String> {
    let neurons: Vec<NeuronId> = predictions
        .calibration
        .neurons
        .iter()
        .map(|n| n.neuron)
        .collect();
    let curves: Vec<NeuronId> = judgements.curves.iter().map(|curve| curve.neuron).collect();
    calibrated("with a curve", &curves, &neurons)?;
    let judged: Vec<NeuronId> = verdicts
        .neurons
        .iter()
        .map(|verdict| verdict.neuron)
        .collect();
    calibrated("with a verdict", &judged, &neurons)?;
    for baseline in &judgements.baselines {
        of_shares(
            study,
            &baseline.behavior,
            baseline.prompts,
            &baseline.horizons,
        )?;
    }
    for curve in &judgements.curves {
        fits(!curve.points.is_empty(), || {
            format!("the curve of {} has no doses", curve.neuron)
        })?;
        for point in &curve.points {
            of_shares(study, &curve.behavior, curve.prompts, &point.horizons)?;
        }
    }
    let horizons = study.rollout.horizons.iter().copied();
    for verdict in &verdicts.neurons {
        known_behavior(study, &verdict.behavior)?;
        let fit = verdict.branches.iter().all(|branch| {
            branch
                .triggers
                .iter()
                .map(|trigger| trigger.horizon)
                .eq(horizons.clone())
        });
        fits(fit, || {
            format!(
                "the verdict on {} has not a trigger for each horizon",
                verdict.neuron
            )
        })?;
    }
    of_scores(predictions, verdicts)
}

/// The outcomes at each horizon of the study, of each class of the behaviour, each of at most all its prompts.
fn of_shares(
    study: &Study,
    name: &str,
    prompts: usize,
    shares: &[HorizonShares],
) -> Result<(), String> {
    let behavior = known_behavior(study, name)?;
    let (classes, all) = (
        behavior.outcomes.len() + 2,
        study.prompts_of(behavior).len(),
    );
    let horizons = study.rollout.horizons.iter().copied();
    let fit = shares.iter().map(|at| at.horizon).eq(horizons)
        && shares.iter().all(|at| at.outcomes.len() == classes);
    fits(fit, || {
        format!("the outcomes under `{name}` are not those of {classes} classes at each horizon")
    })?;
    let counts =
        (shares.iter()).flat_map(|at| at.outcomes.iter().chain([&at.flipped, &at.collapsed]));
    fits(
        prompts == all && counts.into_iter().all(|count| *count <= all),
        || format!("the outcomes under `{name}` are not those of its {all} prompts"),
    )
}

/// Counts of a scoreboard are parts of each other.
fn of_scores(predictions: &Predictions, verdicts: &Verdicts) -> Result<(), String> {
    let most = predictions.forecasts.len();
    for score in &verdicts.scoreboard.forecasts {
        let closed = score.scored.checked_sub(score.foretold);
        let closed_right = score.right.checked_sub(score.open_foretold);
        let fit = score.scored <= most
            && score.open_foretold <= score.foretold.min(score.open)
            && score.open.max(score.majority) <= score.scored
            && closed
                .zip(closed_right)
                .is_some_and(|(closed, right)| right <= closed);
        fits(fit, || {
            format!(
                "the scores of the forecasts of `{}` are no parts of each other",
                score.behavior
            )
        })?;
    }
    Ok(())
}

fn known_behavior<'a>(study: &'a Study, name: &str) -> Result<&'a Behavior, String> {
    let found = study
        .behaviors
        .iter()
        .find(|behavior| behavior.name == name);
    found.ok_or_else(|| format!("the behaviour `{name}` is none of the study's"))
}

fn fits(fits: bool, problem: impl FnOnce() -> String) -> Result<(), String> {
    match fits {
        true => Ok(()),
        false => Err(problem()),
    }
}
