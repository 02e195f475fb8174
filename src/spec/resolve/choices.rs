//! `ceiling`, `coherence`, `thresholds` and `report`: the law's choices, with every default filled in.

use std::collections::BTreeMap;

use super::context::Context;
use super::oracle::{expected_values, oracle};
use crate::coherence::can_fire;
use crate::spec::StudySpec;
use crate::spec::ceiling::Predictor;
use crate::spec::coherence::Detector;
use crate::spec::neurons::Role;
use crate::spec::path::SpecPath;
use crate::spec::report::ReportSpec;
use crate::spec::suggest;
use crate::study::{Ceiling, Coherence, Prompt, Rollout, Thresholds};
use crate::units::Horizon;

/// How the ceiling is predicted.
pub fn ceiling(context: &mut Context<'_>) -> Ceiling {
    let spec = &context.written.spec.ceiling;
    let path = SpecPath::root().key("ceiling");
    let mut predictors: Vec<Predictor> = Vec::new();
    for &predictor in &spec.predictors {
        if !predictors.contains(&predictor) {
            predictors.push(predictor);
        }
    }
    needs_calibration(context, &path, &predictors);
    // Each uses more of what is known than the one before.
    let default = predictors.iter().max().copied();
    let headline = (spec.headline.or(default)).unwrap_or(Predictor::Constant);
    if !predictors.contains(&headline) {
        let message = format!(
            "the headline predictor `{}` is not one of `ceiling.predictors`",
            headline.name()
        );
        context.reject(
            &path.key("headline"),
            message,
            "add it to `predictors`, or choose one of those",
        );
    }
    let (from, to) = spec.bulk;
    let is_depth = |depth: f64| (0.0..=1.0).contains(&depth);
    if !(is_depth(from) && is_depth(to) && from < to) {
        let message = format!("bulk layers from relative depth {from} to {to} are no range");
        context.reject(
            &path.key("bulk"),
            message,
            "write two increasing numbers between 0 and 1, such as `[0.15, 0.85]`",
        );
    }
    Ceiling {
        predictors,
        headline,
        constant: spec.constant,
        kappa: spec.kappa,
        bulk: spec.bulk,
        interval: spec.interval,
    }
}

/// Predictors that are fitted need neurons to be fitted on.
fn needs_calibration(context: &mut Context<'_>, path: &SpecPath, predictors: &[Predictor]) {
    let spec = &context.written.spec;
    if spec
        .neurons
        .iter()
        .any(|group| group.role == Role::Calibration)
    {
        return;
    }
    let listed = path.key("predictors");
    let is_written = context.written.located.is_written(&listed);
    for &predictor in predictors {
        let help = match predictor {
            // Steps need no fit: without calibration neurons the crossing itself is the prediction.
            Predictor::Constant | Predictor::OneStep => continue,
            Predictor::ParticipationRatio if spec.ceiling.kappa.is_some() => continue,
            Predictor::ParticipationRatio => {
                "add a group with `role: calibration`, give `ceiling.kappa`, or leave the predictor out of `ceiling.predictors`"
            }
            Predictor::Calibrated | Predictor::Regression => {
                "add a group with `role: calibration`, or leave the predictor out of `ceiling.predictors`"
            }
        };
        let by_default = if is_written {
            ""
        } else {
            " (one of the defaults)"
        };
        let message = format!(
            "the predictor `{}`{by_default} is fitted on calibration neurons, but no group has that role",
            predictor.name()
        );
        let place = if is_written {
            &listed
        } else {
            &SpecPath::root().key("neurons")
        };
        context.reject(place, message, help);
    }
}

/// When a rollout counts as collapsed, or `None` and reports.
pub fn coherence(
    context: &mut Context<'_>,
    sets: &BTreeMap<String, Vec<Prompt>>,
    rollout: Option<&Rollout>,
) -> Option<Coherence> {
    let spec = &context.written.spec.coherence;
    let path = SpecPath::root().key("coherence");
    let mut collapsed_if = spec.collapsed_if.clone();
    collapsed_if.sort();
    collapsed_if.dedup();
    if collapsed_if.contains(&Detector::Oracle) && spec.oracle.is_none() {
        context.reject(
            &path.key("collapsed_if"),
            "the detector `oracle` needs an oracle",
            "add `coherence.oracle`, such as `not: {regex: '…'}`, or leave the detector out",
        );
    }
    let judge = match &spec.oracle {
        None => None,
        Some(written) => {
            let path = path.key("oracle");
            let judge = oracle(context, &path, written)?;
            for name in judged_sets(context) {
                if let Some(prompts) = sets.get(&name) {
                    expected_values(context, &path, &judge, &name, prompts);
                }
            }
            Some(judge)
        }
    };
    let coherence = Coherence {
        collapsed_if,
        likelihood: spec.likelihood,
        repetition: spec.repetition,
        distinct: spec.distinct,
        oracle: judge,
    };
    if let Some(rollout) = rollout {
        detectors_can_fire(context, &path, &coherence, rollout.verdict_horizon);
    }
    Some(coherence)
}

/// The verdict's horizon must have room for one of the detectors that decide, and had better have it for each that was asked for.
fn detectors_can_fire(
    context: &mut Context<'_>,
    path: &SpecPath,
    coherence: &Coherence,
    verdict: Horizon,
) {
    let deciding = coherence.collapsed_if.iter().copied();
    let (able, unable): (Vec<_>, Vec<_>) =
        deciding.partition(|&detector| can_fire(coherence, detector, verdict.0));
    let help = "lower what it needs, choose a later horizon for the verdict, or let another detector decide";
    if able.is_empty() {
        let message = format!(
            "nothing can ever collapse: what decides, {}, cannot fire within the verdict's {verdict} tokens, whatever they are",
            suggest::list(unable.iter().map(|detector| detector.name()))
        );
        context.reject(&path.key("collapsed_if"), message, help);
    } else if context.written.located.is_written(path) {
        for detector in unable {
            let name = detector.name();
            let message = format!(
                "the detector `{name}` cannot fire within the verdict's {verdict} tokens, whatever they are"
            );
            context.warn(&path.key(name), message, help);
        }
    }
}

/// Names of the prompt sets whose rollouts are judged for collapse.
fn judged_sets(context: &Context<'_>) -> Vec<String> {
    let spec = &context.written.spec;
    let mut names: Vec<String> = spec.behaviors.values().map(|b| b.prompts.clone()).collect();
    names.push(spec.calibration.prompts.clone());
    names.sort();
    names.dedup();
    names
}

/// Shares and intervals.
pub fn thresholds(spec: &StudySpec) -> Thresholds {
    let thresholds = &spec.thresholds;
    Thresholds {
        flip_share: thresholds.flip_share,
        collapse_share: thresholds.collapse_share,
        coordinate: thresholds.coordinate,
        estimate: thresholds.estimate,
        resamples: thresholds.resamples,
        confidence: thresholds.confidence,
    }
}

/// The report's settings, with its title.
pub fn report(spec: &StudySpec, title: String) -> ReportSpec {
    let mut report = spec.report.clone();
    report.hide.sort();
    report.hide.dedup();
    report.title = Some(title);
    report
}
