//! Chooses the rollouts that a report shows: for the most telling neurons, one prompt at dose 0, at the trigger, and beyond the ceiling.

use super::input::{Input, Sample, SampleKind, SampleSource};
use super::interest::{best_branch, most_telling};
use crate::stages::judge::{Curve, DosePoint};
use crate::stages::verdict::{BranchVerdict, NeuronVerdict};
use crate::study::{Behavior, Prompt};
use crate::units::Dose;

/// Gathers the samples of a study: `report.samples` neurons per behaviour, the most telling first. `input.samples` is not read.
pub fn gather(input: &Input<'_>, source: &dyn SampleSource) -> Vec<Sample> {
    let mut samples = Vec::new();
    for behavior in &input.study.behaviors {
        for verdict in most_telling(input, &behavior.name, input.study.report.samples) {
            if let Some(branch) = best_branch(input, verdict) {
                samples.extend(samples_of(input, source, behavior, verdict, branch));
            }
        }
    }
    samples
}

fn samples_of(
    input: &Input<'_>,
    source: &dyn SampleSource,
    behavior: &Behavior,
    verdict: &NeuronVerdict,
    branch: &BranchVerdict,
) -> Vec<Sample> {
    let Some(curve) = input.curve(&behavior.name, verdict.neuron, branch.sign) else {
        return Vec::new();
    };
    let at_trigger = trigger_point(input, curve, branch);
    let Some(prompt) = telling_prompt(input, source, behavior, curve, at_trigger) else {
        return Vec::new();
    };
    let places = [
        (SampleKind::DoseZero, None),
        (SampleKind::AtTrigger, at_trigger),
        (SampleKind::BeyondCeiling, ceiling_point(curve, branch)),
    ];
    let sample = |(kind, point): (SampleKind, Option<&DosePoint>)| {
        if kind != SampleKind::DoseZero && point.is_none() {
            return None;
        }
        let steering = point.map(|p| (verdict.neuron, Dose(p.dose)));
        Some(Sample {
            behavior: behavior.name.clone(),
            neuron: verdict.neuron,
            sign: branch.sign,
            kind,
            budgets: point.map_or(0.0, |p| p.budgets),
            prompt_id: prompt.id.clone(),
            prompt: prompt.text.clone(),
            rollout: source.sample(&behavior.name, &prompt.id, steering)?,
        })
    };
    places.into_iter().filter_map(sample).collect()
}

/// The first prompt that flipped at the trigger; the first prompt when none did.
fn telling_prompt<'a>(
    input: &Input<'a>,
    source: &dyn SampleSource,
    behavior: &Behavior,
    curve: &Curve,
    point: Option<&DosePoint>,
) -> Option<&'a Prompt> {
    let prompts = input.study.prompts.get(&behavior.prompts)?;
    let flipped = |prompt: &&Prompt| {
        let steering = point.map(|p| (curve.neuron, Dose(p.dose)));
        (source.sample(&behavior.name, &prompt.id, steering)).is_some_and(|rollout| rollout.flipped)
    };
    prompts.iter().find(flipped).or(prompts.first())
}

/// The first dose at or past the trigger; without a trigger, the smallest dose with the most flips below the ceiling; without flips, the largest below it.
fn trigger_point<'a>(
    input: &Input<'_>,
    curve: &'a Curve,
    branch: &BranchVerdict,
) -> Option<&'a DosePoint> {
    let horizon = input.verdict_horizon();
    let trigger = branch.trigger(horizon).filter(|t| t.reached());
    if let Some(trigger) = trigger {
        return at_or_past(curve, trigger.budgets());
    }
    let flips = |p: &&DosePoint| p.at(horizon).map_or(0, |h| h.flipped);
    let below = |p: &&DosePoint| !branch.ceiling.reached() || p.budgets < branch.ceiling.budgets();
    let flipping = (curve.points.iter().rev()).filter(|p| below(p) && flips(p) > 0);
    // `max_by_key` takes the last of equals: from the largest dose down, that is the smallest.
    (flipping.max_by_key(flips)).or_else(|| curve.points.iter().rev().find(below))
}

/// The first dose at or past the ceiling, or the largest.
fn ceiling_point<'a>(curve: &'a Curve, branch: &BranchVerdict) -> Option<&'a DosePoint> {
    at_or_past(curve, branch.ceiling.budgets())
}

fn at_or_past(curve: &Curve, budgets: f64) -> Option<&DosePoint> {
    // A dose that is the threshold may differ from it by rounding.
    let past = curve.points.iter().find(|p| p.budgets >= budgets - 1e-6);
    past.or(curve.points.last())
}
