//! Tables of a run for other tools.
//!
//! Each table declares its columns once, with type, unit, meaning and the way to read them from a row ([`column`]): formats, the JSON
//! schema of the rows ([`schema`]) and the page that explains them ([`page`]) all follow from that. Every row begins with `study`. Rows
//! come in a fixed order, so that the same run exports the same bytes.

mod calibration;
mod column;
pub mod page;
mod predictions;
pub mod schema;
mod sink;
mod table;
#[cfg(test)]
mod tests;
mod trials;
mod verdicts;
mod words;

use std::collections::BTreeMap;
use std::io::{self, Write};

use clap::ValueEnum;

use super::error::RecordError;
use super::run_record::RunRecord;
use crate::spec::neurons::Role;
use crate::units::NeuronId;

/// What to export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Table {
    /// One row per rollout and behaviour: what was asked, what the model said, how it was judged at each horizon
    Trials,
    /// One row per neuron: budget, alignment, spectrum of its layer, collapse of calibration neurons
    Calibration,
    /// One row per neuron, branch and predictor: the sealed ceiling
    Predictions,
    /// One row per behaviour, neuron and branch: triggers, ceiling, window, reason
    Verdicts,
}

/// How to write it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One JSON object per line; horizons are a list
    Jsonl,
    /// Comma-separated with a header; each horizon has its own columns, such as `outcome_at_8`; an empty field is a missing value
    Csv,
    /// Typed columns with the names of the CSV, compressed; token ids are lists
    Parquet,
}

/// Why an export ended early.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The record cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The table cannot be written.
    #[error("cannot write the table")]
    Write(#[from] io::Error),
    /// A value that its column does not declare.
    #[error("column `{column}`: {problem}; this is a fault of the program, please report it")]
    Undeclared {
        /// The column.
        column: &'static str,
        /// What does not fit.
        problem: &'static str,
    },
}

/// Writes a table of a run, row by row.
///
/// With `report.redact`, prompts, rollouts, their token ids and the rules that may quote them are missing values.
///
/// # Errors
/// If the record cannot be read, or `output` cannot be written.
pub fn export(
    record: &RunRecord,
    table: Table,
    format: Format,
    output: impl Write + Send,
) -> Result<(), ExportError> {
    let horizons = &record.study().rollout.horizons;
    let mut sink = sink::open(format, &table.about(), horizons, output)?;
    match table {
        Table::Trials => trials::write(record, &mut *sink)?,
        Table::Calibration => calibration::write(record, &mut *sink)?,
        Table::Predictions => predictions::write(record, &mut *sink)?,
        Table::Verdicts => verdicts::write(record, &mut *sink)?,
    }
    Ok(sink.finish()?)
}

/// The role of every neuron of the study.
fn roles(record: &RunRecord) -> BTreeMap<NeuronId, Role> {
    let groups = &record.sealed.predictions().screening.groups;
    groups
        .iter()
        .flat_map(|group| group.neurons.iter().map(|&n| (n, group.role)))
        .collect()
}
