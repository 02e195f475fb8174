//! `ceiling`, `coherence`, `thresholds` and `report`: the law's choices, with every default filled in.

use std::collections::BTreeMap;

use super::context::Context;
use super::oracle::{expected_values, oracle};
use crate::spec::StudySpec;
use crate::spec::ceiling::Predictor;
use crate::spec::coherence::Detector;
use crate::spec::neurons::Role;
use crate::spec::path::SpecPath;
use crate::spec::report::ReportSpec;
use crate::study::{Ceiling, Coherence, Prompt, Thresholds};

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
    Some(Coherence {
        collapsed_if,
        likelihood: spec.likelihood,
        repetition: spec.repetition,
        distinct: spec.distinct,
        oracle: judge,
    })
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
