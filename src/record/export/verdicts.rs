//! The table `verdicts`.

use std::collections::BTreeMap;

use super::ExportError;
use super::column::Column;
use super::sink::Sink;
use super::table::{Declared, RowWriter};
use super::words;
use crate::record::run_record::RunRecord;
use crate::stages::verdict::{
    BranchVerdict, HorizonThreshold, NeuronVerdict, Threshold, ThresholdInterval, Window,
};

const NO_END: &str = "there is no interval, or this end lies beyond the doses";

/// Its columns.
pub fn declared<'a>() -> Declared<Row<'a>, HorizonThreshold> {
    type Of<'a> = Column<Row<'a>>;
    let columns = vec![
        Of::text("study", "Name of the study.", |row| Some(row.study)),
        Of::text("behavior", "Name of the behaviour.", |row| {
            Some(&row.verdict.behavior)
        }),
        Of::integer("layer", "Transformer block, counted from 0.", |row| {
            Some(row.verdict.neuron.layer)
        }),
        Of::integer(
            "neuron",
            "Channel of the down projection's input, counted from 0; 16777216 + k is the \
                 random direction k of the layer.",
            |row| Some(row.verdict.neuron.index),
        ),
        Of::word(
            "role",
            words::ROLES,
            "What the neuron is for; calibration neurons have no verdict.",
            |row| Some(words::role(row.verdict.role)),
        ),
        Of::boolean(
            "open",
            "Whether the neuron's window is open on either branch.",
            |row| row.verdict.open,
        )
        .null_when("no branch is open, and one is undecided or censored"),
        Of::boolean(
            "forecast_open",
            "Whether it was forecast to be, before the neuron was steered.",
            |row| row.forecast,
        )
        .null_when("nothing was forecast: the neuron is a control, or no ceiling was predicted"),
        Of::word(
            "sign",
            words::SIGNS,
            "The branch: doses above or below zero.",
            |row| Some(words::sign(row.branch.sign)),
        ),
        Of::word(
            "window",
            words::WINDOWS,
            "The window of this branch, at the verdict horizon.",
            |row| Some(words::window(&row.branch.window)),
        ),
        Of::word(
            "reason",
            words::REASONS,
            "Why the window is closed.",
            |row| row.reason(),
        )
        .null_when("the window is not closed"),
        Of::text(
            "evidence",
            "The evidence for the window, in words with its figures.",
            |row| row.evidence(),
        )
        .null_when("the window is open"),
        Of::boolean(
            "ceiling_reached",
            "Whether the ceiling was reached within the doses. If not, the two columns \
                 after this one are bounds: the ceiling lies above them.",
            |row| Some(row.branch.ceiling.reached()),
        ),
        Of::number(
            "ceiling_budgets",
            "Dose at which half of the prompts have collapsed (or the share that the spec \
                 sets) at the longest horizon, or the largest that was run, as a size.",
            |row| Some(row.branch.ceiling.budgets()),
        )
        .unit("budgets"),
        Of::number(
            "ceiling_cos",
            "The same as a control coordinate along the branch.",
            |row| Some(row.branch.ceiling.coordinate()),
        )
        .unit("cosθ"),
        Of::number(
            "ceiling_cos_low",
            "Lower end of its bootstrap interval over prompts, at the level of \
                 `thresholds.confidence`.",
            |row| end(row.branch.ceiling_interval, |i| i.low),
        )
        .unit("cosθ")
        .null_when(NO_END),
        Of::number(
            "ceiling_cos_high",
            "Upper end of its bootstrap interval.",
            |row| end(row.branch.ceiling_interval, |i| i.high),
        )
        .unit("cosθ")
        .null_when(NO_END),
    ];
    Declared {
        columns,
        at_horizon: triggers(),
    }
}

fn triggers() -> Vec<Column<HorizonThreshold>> {
    type Of = Column<HorizonThreshold>;
    vec![
        Of::boolean(
            "trigger_reached",
            "Whether the trigger was reached within the doses. If not, the two columns \
                 after this one are bounds: the trigger lies above them.",
            |at| Some(at.trigger.reached()),
        ),
        Of::number(
            "trigger_budgets",
            "Dose at which half of the prompts have flipped without collapse (or the share \
                 that the spec sets), or the largest that was run, as a size.",
            |at| Some(at.trigger.budgets()),
        )
        .unit("budgets"),
        Of::number(
            "trigger_cos",
            "The same as a control coordinate along the branch.",
            |at| Some(at.trigger.coordinate()),
        )
        .unit("cosθ"),
        Of::number(
            "trigger_cos_low",
            "Lower end of its bootstrap interval over prompts, at the level of \
                 `thresholds.confidence`.",
            |at| end(at.interval, |i| i.low),
        )
        .unit("cosθ")
        .null_when(NO_END),
        Of::number(
            "trigger_cos_high",
            "Upper end of its bootstrap interval.",
            |at| end(at.interval, |i| i.high),
        )
        .unit("cosθ")
        .null_when(NO_END),
    ]
}

/// What a row is made from.
pub struct Row<'a> {
    study: &'a str,
    verdict: &'a NeuronVerdict,
    forecast: Option<bool>,
    branch: &'a BranchVerdict,
}

impl Row<'_> {
    fn reason(&self) -> Option<&'static str> {
        match self.branch.window {
            Window::Closed { reason, .. } => Some(words::reason(reason)),
            Window::Open | Window::Undecided { .. } | Window::Censored { .. } => None,
        }
    }

    fn evidence(&self) -> Option<&str> {
        match &self.branch.window {
            Window::Open => None,
            Window::Undecided { evidence }
            | Window::Closed { evidence, .. }
            | Window::Censored { evidence } => Some(evidence),
        }
    }
}

/// Writes one row per behaviour, neuron and branch.
pub fn write(record: &RunRecord, sink: &mut dyn Sink) -> Result<(), ExportError> {
    let forecasts = &record.sealed.predictions().forecasts;
    let forecasts: BTreeMap<_, _> = forecasts
        .iter()
        .map(|f| ((f.neuron, f.behavior.as_str()), f.open))
        .collect();
    let mut writer = RowWriter::new(record, declared(), sink);
    for verdict in &record.verdicts.neurons {
        let forecast = forecasts.get(&(verdict.neuron, verdict.behavior.as_str()));
        for branch in &verdict.branches {
            let row = Row {
                study: &record.study().name,
                verdict,
                forecast: forecast.copied().flatten(),
                branch,
            };
            let triggers: Vec<_> = (branch.triggers.iter())
                .map(|at| (at.horizon, at.clone()))
                .collect();
            writer.write_with(&row, &triggers)?;
        }
    }
    Ok(())
}

/// An end of an interval as a coordinate; none where it lies beyond the doses, or there is no interval.
fn end(
    interval: Option<ThresholdInterval>,
    end: fn(ThresholdInterval) -> Threshold,
) -> Option<f64> {
    let end = end(interval?);
    end.reached().then(|| end.coordinate())
}
