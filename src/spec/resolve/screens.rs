//! Screens: a screened group's behaviour must have what the score needs.

use std::collections::BTreeSet;

use super::context::Context;
use super::neurons::layers;
use crate::spec::behavior::BehaviorSpec;
use crate::spec::neurons::{ScreenScore, ScreenSpec};
use crate::spec::path::SpecPath;
use crate::study::Selection;
use crate::units::NeuronId;

/// A screen that can be run, or `None` and reports. `taken` holds the neurons that are fixed in any group.
pub fn screen(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &ScreenSpec,
    taken: &BTreeSet<NeuronId>,
) -> Option<Selection> {
    let layers = layers(context, &path.key("layers"), spec.layers.as_ref());
    if context.behavior_exists(&path.key("behavior"), &spec.behavior) {
        let behavior = &context.written.spec.behaviors[&spec.behavior];
        has_what_it_needs(context, path, spec, behavior);
    }
    let layers: Vec<usize> = layers?.collect();
    enough_neurons(context, path, spec, &layers, taken)?;
    Some(Selection::Screen {
        behavior: spec.behavior.clone(),
        score: spec.score,
        top: spec.top,
        per_layer: spec.per_layer,
        layers,
    })
}

fn has_what_it_needs(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &ScreenSpec,
    behavior: &BehaviorSpec,
) {
    let (name, needs_contrast, needs_tokens) = match spec.score {
        ScreenScore::ContrastBudgets => ("contrast_budgets", true, false),
        ScreenScore::DirectImportance => ("direct_importance", true, true),
        ScreenScore::DirectImportanceRms => ("direct_importance_rms", true, true),
        ScreenScore::OneStepPush => ("one_step_push", false, true),
        ScreenScore::GradientActivation => ("gradient_activation", false, true),
        ScreenScore::GradientBudgets => ("gradient_budgets", false, true),
        ScreenScore::Random => ("random", false, false),
    };
    let has_tokens = !behavior.target_tokens.is_empty() && !behavior.control_tokens.is_empty();
    let mut missing = Vec::new();
    if needs_contrast && behavior.contrast.is_none() {
        missing.push("`contrast`");
    }
    if needs_tokens && !has_tokens {
        missing.push("`target_tokens` and `control_tokens`");
    }
    if missing.is_empty() {
        return;
    }
    let missing = missing.join(" and ");
    let message = format!(
        "the score `{name}` needs {missing}, which the behavior `{}` lacks",
        spec.behavior
    );
    let behavior = SpecPath::root().key("behaviors").key(&spec.behavior);
    let place = context.written.located.key_place(&behavior);
    let problem = context
        .problem(&path.key("score"), message)
        .also(place, "the behavior")
        .help("add what is missing, or choose another `score`");
    context.report(problem);
}

fn enough_neurons(
    context: &mut Context<'_>,
    path: &SpecPath,
    spec: &ScreenSpec,
    layers: &[usize],
    taken: &BTreeSet<NeuronId>,
) -> Option<()> {
    let d_ff = context.target.shape().d_ff;
    let free = |layer: &usize| {
        let first = NeuronId {
            layer: *layer,
            index: 0,
        };
        let last = NeuronId {
            layer: *layer,
            index: usize::MAX,
        };
        d_ff.saturating_sub(taken.range(first..=last).count())
    };
    let frees = layers.iter().map(free);
    let (available, scope) = if spec.per_layer {
        (frees.min().unwrap_or(0), "a layer has")
    } else {
        (frees.sum(), "these layers have")
    };
    if spec.top <= available {
        return Some(());
    }
    let message = format!(
        "the screen takes {} neurons, but {scope} only {available} that no group names",
        spec.top
    );
    context.reject(
        &path.key("top"),
        message,
        "take fewer, or choose from more layers",
    );
    None
}
