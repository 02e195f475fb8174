//! The table `calibration`.

use std::collections::BTreeMap;

use super::ExportError;
use super::column::Column;
use super::sink::Sink;
use super::table::{Declared, RowWriter};
use super::words;
use crate::record::run_record::RunRecord;
use crate::stages::calibrate::{LayerCalibration, NeuronCalibration};
use crate::units::Sign;

/// Its columns.
pub fn declared<'a>() -> Declared<Row<'a>> {
    type Of<'a> = Column<Row<'a>>;
    const NO_COLLAPSE: &str = "the neuron was not steered for calibration on this branch, or did not collapse \
                 within the doses";
    let columns = vec![
        Of::text("study", "Name of the study.", |row| Some(row.study)),
        Of::integer("layer", "Transformer block, counted from 0.", |row| {
            Some(row.neuron.neuron.layer)
        }),
        Of::integer(
            "neuron",
            "Channel of the down projection's input, counted from 0; 16777216 + k is the \
                 random direction k of the layer.",
            |row| Some(row.neuron.neuron.index),
        ),
        Of::word("role", words::ROLES, "What the neuron is for.", |row| {
            row.role
        }),
        Of::number(
            "residual_norm",
            "Length of the residual stream at the output of the block, over the positions \
                 of `calibration.positions`: mean or median, as the spec says.",
            |row| Some(row.layer?.residual_norm),
        )
        .unit("residual units"),
        Of::number(
            "leading_share",
            "Share of the largest eigenvalue of the residual stream's uncentred second \
                 moment at the layer, `λ₁/Σλ`.",
            |row| Some(row.layer?.leading_share),
        ),
        Of::number(
            "participation_ratio",
            "Participation ratio of these eigenvalues, `(Σλ)²/Σλ²`.",
            |row| Some(row.layer?.participation_ratio),
        ),
        Of::number(
            "write_norm",
            "Length of the neuron's write direction; behind a norm, of its effective write \
                 at dose 0.",
            |row| Some(row.neuron.write_norm),
        )
        .unit("residual units per activation unit"),
        Of::number(
            "budget",
            "Coherence budget `B`: the dose at which the write is as long as the residual \
                 stream.",
            |row| Some(row.neuron.budget),
        )
        .unit("activation units"),
        Of::number(
            "c0",
            "Mean cosθ between residual stream and write direction before any dose.",
            |row| Some(row.neuron.c0),
        )
        .unit("cosθ"),
        Of::number(
            "collapse_multiple_positive",
            "Dose at which half of the calibration prompts have collapsed (or the share \
                 that the spec sets), on the branch of doses above zero.",
            |row| row.collapse[0],
        )
        .unit("budgets")
        .null_when(NO_COLLAPSE),
        Of::number(
            "collapse_multiple_negative",
            "The same on the branch of doses below zero, as a size.",
            |row| row.collapse[1],
        )
        .unit("budgets")
        .null_when(NO_COLLAPSE),
    ];
    Declared {
        columns,
        at_horizon: Vec::new(),
    }
}

/// What a row is made from.
pub struct Row<'a> {
    study: &'a str,
    neuron: &'a NeuronCalibration,
    role: Option<&'static str>,
    layer: Option<&'a LayerCalibration>,
    /// In budgets, on the positive and on the negative branch.
    collapse: [Option<f64>; 2],
}

/// Writes one row per neuron.
pub fn write(record: &RunRecord, sink: &mut dyn Sink) -> Result<(), ExportError> {
    let calibration = &record.sealed.predictions().calibration;
    let roles = super::roles(record);
    let layers: BTreeMap<_, _> = calibration.layers.iter().map(|l| (l.layer, l)).collect();
    let collapse: BTreeMap<_, _> = calibration
        .ceilings()
        .map(|branch| ((branch.neuron, branch.sign), branch.ceiling))
        .collect();
    let mut writer = RowWriter::new(record, declared(), sink);
    for neuron in &calibration.neurons {
        let on = |sign| collapse.get(&(neuron.neuron, sign)).copied().flatten();
        writer.write(&Row {
            study: &record.study().name,
            neuron,
            role: roles.get(&neuron.neuron).copied().map(words::role),
            layer: layers.get(&neuron.neuron.layer).copied(),
            collapse: [on(Sign::Positive), on(Sign::Negative)],
        })?;
    }
    Ok(())
}
