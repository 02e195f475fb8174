//! `trigger`: the predictors must have what they need.

use std::collections::BTreeMap;

use super::context::Context;
use super::oracle::expected_values;
use crate::spec::ceiling::TriggerPredictor;
use crate::spec::neurons::Role;
use crate::spec::path::SpecPath;
use crate::study::{Behavior, Prompt, Trigger};

/// How the trigger is predicted.
pub fn trigger(
    context: &mut Context<'_>,
    sets: &BTreeMap<String, Vec<Prompt>>,
    behaviors: &[Behavior],
) -> Trigger {
    let spec = &context.written.spec.trigger;
    let path = SpecPath::root().key("trigger");
    let mut predictors: Vec<TriggerPredictor> = Vec::new();
    for &predictor in &spec.predictors {
        if !predictors.contains(&predictor) {
            predictors.push(predictor);
        }
    }
    if predictors.contains(&TriggerPredictor::Push) {
        push_has_what_it_needs(context, &path.key("predictors"), sets, behaviors);
    }
    let default = predictors.iter().max().copied();
    let headline = (spec.headline.or(default)).unwrap_or(TriggerPredictor::Expected);
    if !predictors.contains(&headline) {
        let message = format!(
            "the headline predictor `{}` is not one of `trigger.predictors`",
            headline.name()
        );
        context.reject(
            &path.key("headline"),
            message,
            "add it to `predictors`, or choose one of those",
        );
    }
    Trigger {
        predictors,
        headline,
    }
}

/// The push is read on the readout axis, and fitted on calibration neurons whose rollouts the behaviour's oracles judge.
fn push_has_what_it_needs(
    context: &mut Context<'_>,
    path: &SpecPath,
    sets: &BTreeMap<String, Vec<Prompt>>,
    behaviors: &[Behavior],
) {
    let spec = &context.written.spec;
    let fits = (spec.neurons.iter()).any(|group| group.role == Role::Calibration);
    if !fits {
        context.reject(
            path,
            "the predictor `push` is fitted on calibration neurons, but no group has that role",
            "add a group with `role: calibration`, or leave the predictor out",
        );
    }
    let steered_on = (spec.calibration.steer_on.clone())
        .unwrap_or_else(|| spec.calibration.prompts.clone());
    let prompts = sets.get(&steered_on).map(Vec::as_slice).unwrap_or_default();
    for behavior in behaviors {
        if behavior.target_tokens.is_empty() {
            let message = format!(
                "the predictor `push` needs `target_tokens` and `control_tokens`, which the behavior `{}` lacks",
                behavior.name
            );
            context.reject(path, message, "add them, or leave the predictor out");
        }
        for outcome in &behavior.outcomes {
            let section = SpecPath::root().key("behaviors").key(&behavior.name);
            expected_values(context, &section, &outcome.oracle, &steered_on, prompts);
        }
    }
}
