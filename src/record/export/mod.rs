//! Tables of a run for other tools.
//!
//! Every row begins with `study`. Rows come in a fixed order, so that the same run exports the same bytes.

mod row;
mod tables;
#[cfg(test)]
mod tests;
mod trials;

use std::io::{self, Write};

use clap::ValueEnum;

use super::error::RecordError;
use super::run_record::RunRecord;
use row::Sink;

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
    output: impl Write,
) -> Result<(), ExportError> {
    let horizons = &record.study().rollout.horizons;
    let mut sink = Sink::new(format, horizons, output);
    match table {
        Table::Trials => trials::write(record, &mut sink)?,
        Table::Calibration => tables::write_calibration(record, &mut sink)?,
        Table::Predictions => tables::write_predictions(record, &mut sink)?,
        Table::Verdicts => tables::write_verdicts(record, &mut sink)?,
    }
    Ok(sink.finish()?)
}
