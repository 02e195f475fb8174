//! Sample rollouts side by side: unsteered, at the trigger, beyond the ceiling.

use schemars::JsonSchema;
use serde::Serialize;

use super::excerpt::Excerpt;
use crate::report::format::budgets;
use crate::report::input::{Input, Sample, SampleKind};
use crate::report::text::clip;
use crate::report::wording::neuron_label;
use crate::units::Sign;

/// One behaviour.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct BehaviorSamples {
    /// Name of the behaviour.
    pub behavior: String,
    /// One per neuron.
    pub neurons: Vec<NeuronSamples>,
}

/// One neuron on one branch, on one prompt.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct NeuronSamples {
    /// `L3.12`.
    pub neuron: String,
    /// `+` or `−`.
    pub sign: String,
    /// Its verdict on the behaviour.
    pub verdict: &'static str,
    /// Identifier of the prompt.
    pub prompt_id: String,
    /// The prompt; absent when redacted.
    pub prompt: Option<Excerpt>,
    /// The rollouts.
    pub rollouts: Vec<RolloutView>,
}

/// One rollout.
#[derive(Clone, Debug, JsonSchema, Serialize)]
pub struct RolloutView {
    /// `unsteered`, `trigger` or `ceiling`.
    pub kind: &'static str,
    /// Where it was taken, in words.
    pub place: &'static str,
    /// The signed dose in budgets.
    pub dose: String,
    /// Outcome class.
    pub outcome: String,
    /// Whether it counts as a flip.
    pub flipped: bool,
    /// The deciding rule; absent when redacted, because it may quote the text.
    pub rule: Option<String>,
    /// The text, with what decided the outcome marked; absent when redacted.
    pub text: Option<Excerpt>,
}

/// Samples in the order in which they were gathered.
pub fn build(input: &Input) -> Option<Vec<BehaviorSamples>> {
    let mut behaviors: Vec<BehaviorSamples> = Vec::new();
    for sample in &input.samples {
        if behaviors
            .last()
            .is_none_or(|b| b.behavior != sample.behavior)
        {
            behaviors.push(BehaviorSamples {
                behavior: sample.behavior.clone(),
                neurons: Vec::new(),
            });
        }
        if let Some(behavior) = behaviors.last_mut() {
            add(input, &mut behavior.neurons, sample);
        }
    }
    (!behaviors.is_empty()).then_some(behaviors)
}

fn add(input: &Input, neurons: &mut Vec<NeuronSamples>, sample: &Sample) {
    let (neuron, sign) = (sample.neuron.to_string(), sample.sign.to_string());
    let same =
        |n: &NeuronSamples| n.neuron == neuron && n.sign == sign && n.prompt_id == sample.prompt_id;
    if !neurons.last().is_some_and(same) {
        neurons.push(NeuronSamples {
            neuron,
            sign,
            verdict: verdict(input, sample),
            prompt_id: sample.prompt_id.clone(),
            prompt: (!input.study.report.redact).then(|| Excerpt::plain(&sample.prompt)),
            rollouts: Vec::new(),
        });
    }
    if let Some(last) = neurons.last_mut() {
        last.rollouts.push(rollout(input, sample));
    }
}

fn verdict(input: &Input, sample: &Sample) -> &'static str {
    (input.index.verdict(&sample.behavior, sample.neuron)).map_or("undecided", neuron_label)
}

fn rollout(input: &Input, sample: &Sample) -> RolloutView {
    let verdict = input.index.verdict(&sample.behavior, sample.neuron);
    let branch = verdict.and_then(|v| v.branches.iter().find(|b| b.sign == sample.sign));
    let reached_trigger =
        (branch.and_then(|b| b.trigger(input.verdict_horizon()))).is_some_and(|t| t.reached());
    let reached_ceiling = branch.is_some_and(|b| b.ceiling.reached());
    let (kind, place) = match sample.kind {
        SampleKind::DoseZero => ("unsteered", "dose 0"),
        SampleKind::AtTrigger if reached_trigger => ("trigger", "at or just past the trigger"),
        SampleKind::AtTrigger => ("trigger", "below the ceiling"),
        SampleKind::BeyondCeiling if reached_ceiling => ("ceiling", "at or just past the ceiling"),
        SampleKind::BeyondCeiling => ("ceiling", "largest dose; ceiling not reached"),
    };
    let minus = match (sample.kind, sample.sign) {
        (SampleKind::DoseZero, _) | (_, Sign::Positive) => "",
        (_, Sign::Negative) => "−",
    };
    let redacted = input.study.report.redact;
    RolloutView {
        kind,
        place,
        dose: match sample.kind {
            SampleKind::DoseZero => "0".into(),
            _ => format!("{minus}{}", budgets(sample.budgets)),
        },
        outcome: sample.rollout.outcome.clone(),
        flipped: sample.rollout.flipped,
        rule: (!redacted).then(|| clip(&sample.rollout.rule, 200).0),
        text: (!redacted).then(|| Excerpt::marked(&sample.rollout.text, sample.rollout.span)),
    }
}
