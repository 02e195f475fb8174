//! `trigger`: the predictors must have what they need.

use std::collections::BTreeMap;

use super::context::Context;
use super::oracle::expected_values;
use crate::spec::ceiling::TriggerPredictor;
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
        margin: spec.margin,
    }
}

/// The calibration prompts and their contrast are paired by position.
pub fn contrast_is_paired(context: &mut Context<'_>, sets: &BTreeMap<String, Vec<Prompt>>) {
    let calibration = &context.written.spec.calibration;
    let Some(contrast) = &calibration.contrast else {
        return;
    };
    let steered_on = (calibration.steer_on.clone()).unwrap_or(calibration.prompts.clone());
    let (Some(one), Some(other)) = (sets.get(&steered_on), sets.get(contrast)) else {
        return;
    };
    let is_complete = |name: &String| !context.incomplete.contains(name);
    if one.len() != other.len() && is_complete(&steered_on) && is_complete(contrast) {
        let message = format!(
            "the contrast `{contrast}` has {} prompts, but `{steered_on}` has {}",
            other.len(),
            one.len()
        );
        context.reject(
            &SpecPath::root().key("calibration").key("contrast"),
            message,
            "the two are paired by position: give both the same number, or use `skip` and `limit`",
        );
    }
}

/// Single steps on the calibration prompts are made behind the prefill of each behaviour's contrast, where the model has room for both.
pub fn prefill_fits_calibration(
    context: &mut Context<'_>,
    sets: &BTreeMap<String, Vec<Prompt>>,
    behaviors: &[Behavior],
) {
    let calibration = &context.written.spec.calibration;
    let steered_on = (calibration.steer_on.clone()).unwrap_or(calibration.prompts.clone());
    let steered = sets.get(&steered_on).map(Vec::as_slice).unwrap_or_default();
    let longest =
        (steered.iter().take(calibration.rollout_prompts)).max_by_key(|prompt| prompt.tokens.len());
    let most = context.target.shape().context;
    for behavior in behaviors {
        let (Some(prompt), Some(contrast)) = (longest, &behavior.contrast) else {
            continue;
        };
        let together = prompt.tokens.len() + contrast.prefill.len();
        if together > most {
            let section = SpecPath::root().key("behaviors").key(&behavior.name);
            context.reject(
                &section.key("contrast").key("prefill"),
                format!(
                    "behind the prompt `{}` of `{steered_on}`, where calibration steers, this prefill makes {together} tokens, and the \
                     model's context has {most}",
                    prompt.id
                ),
                "shorten the prefill, or the prompts of `calibration.steer_on`",
            );
        }
    }
}

/// The push is read on the readout axis; its margin is fitted on calibration neurons whose rollouts the behaviour's oracles judge.
fn push_has_what_it_needs(
    context: &mut Context<'_>,
    path: &SpecPath,
    sets: &BTreeMap<String, Vec<Prompt>>,
    behaviors: &[Behavior],
) {
    let spec = &context.written.spec;
    let steered_on =
        (spec.calibration.steer_on.clone()).unwrap_or_else(|| spec.calibration.prompts.clone());
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
