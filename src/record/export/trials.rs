//! The table `trials`.

use std::collections::BTreeMap;
use std::io::Write;

use serde_json::{Value, json};

use super::ExportError;
use super::row::{Fields, Row, Sink};
use crate::law;
use crate::record::run_record::RunRecord;
use crate::record::store::{HorizonJudgement, JudgedTrial, NeuronFilter};
use crate::spec::neurons::Role;
use crate::stages::calibrate::NeuronCalibration;
use crate::study::Prompt;
use crate::units::{Horizon, NeuronId};

/// Writes one row per rollout and behaviour.
pub fn write<W: Write>(record: &RunRecord, sink: &mut Sink<'_, W>) -> Result<(), ExportError> {
    let context = Context::new(record);
    record
        .store
        .for_each_judged(None, NeuronFilter::All, |judged| {
            sink.write(&context.row(judged))?;
            Ok(())
        })
}

/// What a row says beyond the trial itself.
struct Context<'a> {
    study: &'a str,
    redact: bool,
    neurons: BTreeMap<NeuronId, &'a NeuronCalibration>,
    roles: BTreeMap<NeuronId, Role>,
    prompts: BTreeMap<(&'a str, &'a str), &'a Prompt>,
}

impl<'a> Context<'a> {
    fn new(record: &'a RunRecord) -> Self {
        let study = record.study();
        let sealed = record.sealed.predictions();
        let prompts = study.behaviors.iter().flat_map(|behavior| {
            let set = study.prompts.get(&behavior.prompts).into_iter().flatten();
            set.map(|prompt| ((behavior.name.as_str(), prompt.id.as_str()), prompt))
        });
        Self {
            study: &study.name,
            redact: study.report.redact,
            neurons: sealed
                .calibration
                .neurons
                .iter()
                .map(|n| (n.neuron, n))
                .collect(),
            roles: super::tables::roles(record),
            prompts: prompts.collect(),
        }
    }

    fn row(&self, judged: JudgedTrial) -> Row {
        let trial = &judged.trial;
        let (rollout, steering) = (trial.rollout(), trial.steering());
        let dose = steering.map_or(0.0, |s| f64::from(s.dose.0));
        let calibration = steering.and_then(|s| self.neurons.get(&s.neuron));
        let budgets = match steering {
            Some(_) => calibration.map(|c| dose / c.budget),
            None => Some(0.0),
        };
        let coordinate = calibration.map(|c| law::control_coordinate(dose / c.budget, c.c0));
        let prompt = self
            .prompts
            .get(&(judged.behavior.as_str(), judged.prompt_id.as_str()));
        let fields = vec![
            ("study", json!(self.study)),
            ("behavior", json!(judged.behavior)),
            (
                "role",
                json!(steering.and_then(|s| self.roles.get(&s.neuron))),
            ),
            ("prompt_id", json!(judged.prompt_id)),
            (
                "prompt_text",
                self.unless_redacted(json!(prompt.map(|p| &p.text))),
            ),
            (
                "prompt_tokens",
                self.unless_redacted(json!(trial.cell().prompt)),
            ),
            ("layer", json!(steering.map(|s| s.neuron.layer))),
            ("neuron", json!(steering.map(|s| s.neuron.index))),
            ("dose", json!(dose)),
            ("budgets", json!(budgets)),
            ("cos_law", json!(coordinate)),
            ("cos_measured_mean", json!(mean(&rollout.cosines))),
            ("tokens", self.unless_redacted(json!(rollout.tokens))),
            ("text", self.unless_redacted(json!(trial.text()))),
            ("ended", json!(rollout.ended)),
            ("mean_nll", json!(mean(&rollout.nll))),
        ];
        Row {
            fields: Fields(fields),
            horizons: Some(judged.horizons.iter().map(|j| self.at_horizon(j)).collect()),
        }
    }

    fn unless_redacted(&self, value: Value) -> Value {
        if self.redact { Value::Null } else { value }
    }

    fn at_horizon(&self, judgement: &HorizonJudgement) -> (Horizon, Fields) {
        let fields = vec![
            ("outcome", json!(judgement.outcome)),
            ("flipped", json!(judgement.flipped)),
            ("collapsed", json!(judgement.outcome == "collapse")),
            // A rule may quote the text that decided.
            ("rule", self.unless_redacted(json!(judgement.rule))),
            ("span_start", json!(judgement.span.map(|span| span.start))),
            ("span_end", json!(judgement.span.map(|span| span.end))),
        ];
        (judgement.horizon, Fields(fields))
    }
}

fn mean(values: &[f32]) -> Option<f64> {
    let values: Vec<f64> = values.iter().map(|&v| v.into()).collect();
    crate::stats::mean(&values)
}
