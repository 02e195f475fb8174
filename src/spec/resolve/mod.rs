//! From what was written to what is decided: every reference followed, every file read, every default filled in, and everything
//! that makes no sense refused, all at once.

mod behaviors;
mod choices;
mod context;
mod disjoint;
mod doses;
mod files;
mod neurons;
mod oracle;
mod prompts;
mod random;
mod remaining;
mod screens;
mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::path::SpecPath;
use super::problem::{Problem, SpecError};
use super::target::SpecTarget;
use super::written::Written;
use crate::study::{Behavior, Calibration, ModelIdentity, Prompt, Study};
use context::Context;

/// Resolves a spec for a model, with what is perhaps not meant so. `folder` is where the model was found.
///
/// # Errors
/// Every problem of the spec at once.
pub fn resolve(
    written: &Written,
    folder: &Path,
    target: &dyn SpecTarget,
) -> Result<(Study, Vec<Problem>), SpecError> {
    let mut context = Context::new(written, target);
    match study(&mut context, folder) {
        Some(study) if context.is_clean() => Ok((study, context.into_warnings())),
        _ => Err(context.into_error()),
    }
}

/// The study, or `None` when something is missing; the context holds the problems either way.
fn study(context: &mut Context<'_>, folder: &Path) -> Option<Study> {
    let spec = &context.written.spec;
    let rollout = doses::rollout(context);
    let doses = doses::doses(context, rollout.as_ref());
    let longest = rollout.as_ref().map_or(0, |rollout| rollout.longest().0);
    let sets = prompts::sets(context, longest);
    let calibration = calibration(context);
    let behaviors = behaviors::behaviors(context, &sets);
    let neurons = neurons::groups(context);
    let ceiling = choices::ceiling(context);
    let trigger = trigger::trigger(context, &sets, &behaviors);
    let coherence = choices::coherence(context, &sets, rollout.as_ref());
    disjoint::calibration_prompts(context, &sets);
    trigger::contrast_is_paired(context, &sets);
    trigger::prefill_fits_calibration(context, &sets, &behaviors);
    device(context);
    let title = spec.report.title.clone().unwrap_or(spec.name.clone());
    Some(Study {
        name: spec.name.clone(),
        title: title.clone(),
        description: spec.description.clone().unwrap_or_default(),
        model: identity(context, folder),
        seed: spec.seed,
        prompts: used(context, sets, &behaviors),
        behaviors,
        neurons,
        doses: doses?,
        rollout: rollout?,
        calibration,
        ceiling,
        trigger,
        coherence: coherence?,
        thresholds: choices::thresholds(spec),
        reasons: spec.verdict.reasons,
        report: choices::report(spec, title),
    })
}

fn calibration(context: &mut Context<'_>) -> Calibration {
    let spec = &context.written.spec.calibration;
    let path = SpecPath::root().key("calibration").key("prompts");
    if context.written.located.is_written(&path) {
        context.prompt_set_exists(&path, &spec.prompts);
    } else if !context.written.spec.prompts.contains_key(&spec.prompts) {
        context.reject(
            &SpecPath::root().key("prompts"),
            format!(
                "there is no prompt set `{}`, on which budgets are measured",
                spec.prompts
            ),
            "add one with generic text, or name another set with `calibration.prompts`",
        );
    }
    if let Some(name) = &spec.steer_on {
        let path = SpecPath::root().key("calibration").key("steer_on");
        context.prompt_set_exists(&path, name);
    }
    if let Some(name) = &spec.contrast {
        let path = SpecPath::root().key("calibration").key("contrast");
        context.prompt_set_exists(&path, name);
    }
    Calibration {
        contrast: spec.contrast.clone(),
        prompts: spec.prompts.clone(),
        positions: spec.positions,
        statistic: spec.statistic,
        push: spec.push,
        steer_on: spec
            .steer_on
            .clone()
            .unwrap_or_else(|| spec.prompts.clone()),
        rollout_prompts: spec.rollout_prompts,
    }
}

/// A device that this build of the program cannot use is refused before anything is computed.
fn device(context: &mut Context<'_>) {
    let device = context.written.spec.model.device;
    if !crate::model::is_built_for(device) {
        let kind = device.kind();
        context.reject(
            &SpecPath::root().key("model").key("device"),
            format!("this program was built without {kind}"),
            format!(
                "build it with `cargo build --release --features {kind}`, or use `device: cpu`"
            ),
        );
    }
}

fn identity(context: &Context<'_>, folder: &Path) -> ModelIdentity {
    let spec = &context.written.spec.model;
    ModelIdentity {
        name: super::hub::model_name(spec, folder),
        folder: folder.to_owned(),
        files: context.target.files().clone(),
        shape: context.target.shape().clone(),
        stored_as: context.target.stored_as(),
        dtype: spec.dtype,
        device: spec.device,
    }
}

/// The prompt sets that the study uses.
fn used(
    context: &Context<'_>,
    mut sets: BTreeMap<String, Vec<Prompt>>,
    behaviors: &[Behavior],
) -> BTreeMap<String, Vec<Prompt>> {
    let spec = &context.written.spec;
    let mut names: BTreeSet<&str> = behaviors.iter().map(|b| b.prompts.as_str()).collect();
    names.insert(&spec.calibration.prompts);
    names.extend(spec.calibration.steer_on.as_deref());
    names.extend(spec.calibration.contrast.as_deref());
    let contrasts = spec.behaviors.values().flat_map(|b| &b.contrast);
    names.extend(contrasts.map(|contrast| contrast.prompts.as_str()));
    sets.retain(|name, _| names.contains(name.as_str()));
    sets
}

#[cfg(test)]
mod tests;
