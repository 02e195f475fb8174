//! The table `predictions`.

use super::ExportError;
use super::column::Column;
use super::sink::Sink;
use super::table::{Declared, RowWriter};
use super::words;
use crate::record::run_record::RunRecord;
use crate::stages::predict::{CeilingEstimate, FittedPredictor, PredictedCeiling};
use crate::stats::Interval;

/// Its columns.
pub fn declared<'a>() -> Declared<Row<'a>> {
    type Of<'a> = Column<Row<'a>>;
    const NO_CEILING: &str = "the predictor could not be fitted, or predicts none";
    const NO_INTERVAL: &str = "there is no ceiling, the predictor is not fitted, or too few calibration \
                 branches collapsed for the level";
    let columns = vec![
        Of::text("study", "Name of the study.", |row| Some(row.study)),
        Of::integer("layer", "Transformer block, counted from 0.", |row| {
            Some(row.ceiling.neuron.layer)
        }),
        Of::integer(
            "neuron",
            "Channel of the down projection's input, counted from 0; 16777216 + k is the \
                 random direction k of the layer.",
            |row| Some(row.ceiling.neuron.index),
        ),
        Of::word(
            "role",
            words::ROLES,
            "What the neuron is for; calibration neurons are not predicted.",
            |row| row.role,
        ),
        Of::word(
            "sign",
            words::SIGNS,
            "The branch: doses above or below zero.",
            |row| Some(words::sign(row.ceiling.sign)),
        ),
        Of::word(
            "predictor",
            words::PREDICTORS,
            "The predictor, as the spec names it.",
            |row| Some(words::predictor(row.fitted.predictor)),
        ),
        Of::number(
            "parameter",
            "The number that was given or fitted: `m*` in budgets of `constant` and \
                 `calibrated`, the factor `κ` of `participation_ratio`.",
            |row| row.fitted.parameter,
        )
        .null_when("the predictor has no single number, or could not be fitted"),
        Of::number(
            "ceiling_budgets",
            "Predicted dose at which the output collapses, as a size.",
            |row| row.estimate?.multiple,
        )
        .unit("budgets")
        .null_when(
            "the predictor could not be fitted, predicts none, or a norm keeps every dose \
                 below the ceiling",
        ),
        Of::number(
            "ceiling_cos",
            "The same as a control coordinate along the branch.",
            |row| Some(row.estimate?.coordinate),
        )
        .unit("cosθ")
        .null_when(NO_CEILING),
        Of::number(
            "ceiling_cos_low",
            "Lower end of its prediction interval, at the level of `ceiling.interval`.",
            |row| Some(row.interval()?.low),
        )
        .unit("cosθ")
        .null_when(NO_INTERVAL),
        Of::number(
            "ceiling_cos_high",
            "Upper end of its prediction interval.",
            |row| Some(row.interval()?.high),
        )
        .unit("cosθ")
        .null_when(NO_INTERVAL),
        Of::text(
            "seal",
            "SHA-256 of the sealed predictions, in hexadecimal.",
            |row| Some(row.seal),
        ),
        Of::text(
            "sealed_at",
            "When they were sealed: RFC 3339, UTC.",
            |row| Some(row.sealed_at),
        ),
    ];
    Declared {
        columns,
        at_horizon: Vec::new(),
    }
}

/// What a row is made from.
pub struct Row<'a> {
    study: &'a str,
    ceiling: &'a PredictedCeiling,
    role: Option<&'static str>,
    fitted: &'a FittedPredictor,
    estimate: Option<CeilingEstimate>,
    seal: &'a str,
    sealed_at: &'a str,
}

impl Row<'_> {
    fn interval(&self) -> Option<Interval> {
        self.estimate?.interval
    }
}

/// Writes one row per neuron, branch and predictor.
pub fn write(record: &RunRecord, sink: &mut dyn Sink) -> Result<(), ExportError> {
    let (sealed, seal) = (record.sealed.predictions(), record.sealed.seal());
    let roles = super::roles(record);
    let mut writer = RowWriter::new(record, declared(), sink);
    for ceiling in &sealed.ceilings {
        for (fitted, &estimate) in sealed.predictors.iter().zip(&ceiling.by) {
            writer.write(&Row {
                study: &record.study().name,
                ceiling,
                role: roles.get(&ceiling.neuron).copied().map(words::role),
                fitted,
                estimate,
                seal: &seal.sha256,
                sealed_at: &seal.sealed_at,
            })?;
        }
    }
    Ok(())
}
