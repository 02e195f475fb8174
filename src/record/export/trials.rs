//! The table `trials`.

use std::collections::BTreeMap;

use super::ExportError;
use super::column::Column;
use super::sink::Sink;
use super::table::{Declared, RowWriter};
use super::words;
use crate::record::run_record::RunRecord;
use crate::record::store::{HorizonJudgement, JudgedTrial, NeuronFilter};
use crate::spec::neurons::Role;
use crate::stages::calibrate::NeuronCalibration;
use crate::units::{NeuronId, Sign, TokenId};

/// Its columns.
pub fn declared<'a>() -> Declared<Row<'a>, HorizonJudgement> {
    let mut columns = what_was_asked();
    columns.extend(what_came());
    Declared {
        columns,
        at_horizon: how_it_was_judged(),
    }
}

fn what_was_asked<'a>() -> Vec<Column<Row<'a>>> {
    type Of<'a> = Column<Row<'a>>;
    const UNSTEERED: &str = "the rollout is unsteered";
    vec![
        Of::text("study", "Name of the study.", |row| Some(row.study)),
        Of::text(
            "behavior",
            "Name of the behaviour under which the rollout was judged.",
            |row| Some(&row.judged.behavior),
        ),
        Of::text(
            "trial",
            "Key of the rollout: a hash of all that decided it, as in `trial_view` and \
                 `judgement_view` of `trials.sqlite`. Two rows share it where two behaviours \
                 share a prompt.",
            |row| Some(&row.key),
        ),
        Of::word("role", words::ROLES, "What the neuron is for.", |row| {
            row.role
        })
        .null_when(UNSTEERED),
        Of::text("prompt_id", "Identifier of the prompt in its set.", |row| {
            Some(&row.judged.prompt_id)
        }),
        Of::text(
            "prompt_text",
            "The prompt as the model got it, with its chat template.",
            |row| row.prompt_text,
        )
        .null_when("no prompt of the study has this identifier and these tokens")
        .redacted(),
        Of::integers("prompt_tokens", "Token ids of the prompt.", |row| {
            Some(row.judged.trial.cell().prompt)
        })
        .redacted(),
        Of::integer(
            "layer",
            "Transformer block of the steered neuron, counted from 0.",
            |row| Some(row.neuron()?.layer),
        )
        .null_when(UNSTEERED),
        Of::integer(
            "neuron",
            "Channel of the down projection's input, counted from 0; 16777216 + k is the \
                 random direction k of the layer.",
            |row| Some(row.neuron()?.index),
        )
        .null_when(UNSTEERED),
        Of::number(
            "dose",
            "What was added to the neuron's activation at every steered position, signed: \
                 exactly the single-precision number that entered the forward pass. 0 for an \
                 unsteered rollout.",
            |row| Some(row.dose),
        )
        .unit("activation units"),
        Of::number(
            "budgets",
            "The dose in coherence budgets, `g = t/B`, signed.",
            |row| row.budgets,
        )
        .unit("budgets"),
        Of::number(
            "cos_law",
            "The control coordinate that the law gives at this dose: along the write \
                 direction, not along the branch.",
            |row| row.cos_law,
        )
        .unit("cosθ")
        .null_when(UNSTEERED),
    ]
}

fn what_came<'a>() -> Vec<Column<Row<'a>>> {
    type Of<'a> = Column<Row<'a>>;
    vec![
        Of::number(
            "cos_measured_mean",
            "Measured cosθ between the residual stream and the write direction, mean over \
                 the steered steps.",
            |row| mean(&row.judged.trial.rollout().cosines),
        )
        .unit("cosθ")
        .null_when("no step was steered"),
        Of::integers("tokens", "Token ids that the model generated.", |row| {
            Some(&row.judged.trial.rollout().tokens)
        })
        .redacted(),
        Of::text(
            "text",
            "What the model generated, as text: untrusted, whatever it says.",
            |row| Some(row.judged.trial.text()),
        )
        .redacted(),
        Of::boolean("ended", "Whether the last token is end-of-text.", |row| {
            Some(row.judged.trial.rollout().ended)
        }),
        Of::number(
            "mean_nll",
            "Mean negative log-likelihood of the generated tokens under the unsteered \
                 model.",
            |row| mean(&row.judged.trial.rollout().nll),
        )
        .unit("nats per token")
        .null_when("no token was generated"),
    ]
}

fn how_it_was_judged() -> Vec<Column<HorizonJudgement>> {
    type Of = Column<HorizonJudgement>;
    const NO_SPAN: &str = "no part of the text decided";
    vec![
        Of::text(
            "outcome",
            "Outcome class of the first tokens, as many as the horizon says: one that the \
                 spec names (`flipped` where it names none), `other`, or `collapse`.",
            |at| Some(&at.outcome),
        ),
        Of::boolean(
            "flipped",
            "Whether that class counts as a flip of the behaviour.",
            |at| Some(at.flipped),
        ),
        Of::boolean("collapsed", "Whether the output has degenerated.", |at| {
            Some(at.outcome == "collapse")
        }),
        Of::text(
            "rule",
            "What decided, in words: the detectors of collapse, the rule of the class, or that no \
                 class claims the text.",
            |at| Some(&at.rule),
        )
        .redacted(),
        Of::integer(
            "span_start",
            "First byte, in the UTF-8 text up to the horizon, of what decided.",
            |at| Some(at.span?.start),
        )
        .unit("bytes")
        .null_when(NO_SPAN),
        Of::integer(
            "span_end",
            "End of the bytes that decided, exclusive.",
            |at| Some(at.span?.end),
        )
        .unit("bytes")
        .null_when(NO_SPAN),
        Of::number(
            "mean_nll",
            "Mean negative log-likelihood of the tokens up to the horizon under the \
                 unsteered model, kept to 1/1024.",
            |at| Some(at.mean_nll),
        )
        .unit("nats per token"),
    ]
}

/// Writes one row per rollout and behaviour.
pub fn write(record: &RunRecord, sink: &mut dyn Sink) -> Result<(), ExportError> {
    let context = Context::new(record);
    let mut writer = RowWriter::new(record, declared(), sink);
    record
        .store
        .for_each_judged(None, NeuronFilter::All, |mut judged| {
            let horizons: Vec<_> = std::mem::take(&mut judged.horizons)
                .into_iter()
                .map(|at| (at.horizon, at))
                .collect();
            writer.write_with(&context.row(judged), &horizons)
        })
}

/// What a row is made from.
pub struct Row<'a> {
    study: &'a str,
    /// Without its horizons.
    judged: JudgedTrial,
    key: String,
    role: Option<&'static str>,
    prompt_text: Option<&'a str>,
    dose: f64,
    budgets: Option<f64>,
    cos_law: Option<f64>,
}

impl Row<'_> {
    fn neuron(&self) -> Option<NeuronId> {
        Some(self.judged.trial.steering()?.neuron)
    }
}

/// What a row says beyond the trial itself.
struct Context<'a> {
    study: &'a str,
    neurons: BTreeMap<NeuronId, &'a NeuronCalibration>,
    roles: BTreeMap<NeuronId, Role>,
    /// Texts by identifier and tokens: sets may use the same identifiers.
    prompts: BTreeMap<(&'a str, &'a [TokenId]), &'a str>,
}

impl<'a> Context<'a> {
    fn new(record: &'a RunRecord) -> Self {
        let study = record.study();
        let calibration = &record.sealed.predictions().calibration;
        let prompts = study.prompts.values().flatten();
        Self {
            study: &study.name,
            neurons: calibration.neurons.iter().map(|n| (n.neuron, n)).collect(),
            roles: super::roles(record),
            prompts: prompts
                .map(|p| ((p.id.as_str(), p.tokens.as_slice()), p.text.as_str()))
                .collect(),
        }
    }

    fn row(&self, judged: JudgedTrial) -> Row<'a> {
        let steering = judged.trial.steering();
        let dose = steering.map_or(0.0, |s| f64::from(s.dose.0));
        let calibration = steering.and_then(|s| self.neurons.get(&s.neuron));
        let role = steering.and_then(|s| self.roles.get(&s.neuron));
        let prompt = (judged.prompt_id.as_str(), judged.trial.cell().prompt);
        let prompt_text = self.prompts.get(&prompt).copied();
        Row {
            study: self.study,
            key: judged.trial.key().to_string(),
            role: role.copied().map(words::role),
            prompt_text,
            dose,
            budgets: match steering {
                Some(_) => calibration.map(|c| dose / c.budget),
                None => Some(0.0),
            },
            cos_law: calibration.map(|c| c.coordinate(Sign::Positive, dose / c.budget)),
            judged,
        }
    }
}

fn mean(values: &[f32]) -> Option<f64> {
    let values: Vec<f64> = values.iter().map(|&v| v.into()).collect();
    crate::stats::mean(&values)
}
