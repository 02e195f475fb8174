//! Tables as they are declared, and how their rows reach a sink.

use std::convert::Infallible;

use clap::ValueEnum;

use super::column::{About, Cell, Column};
use super::sink::{Row, Sink};
use super::{ExportError, Table, calibration, predictions, trials, verdicts};
use crate::record::run_record::RunRecord;
use crate::units::Horizon;

/// The columns of a table whose rows are made from an `R`, and from an `H` at each horizon.
pub struct Declared<R, H = Infallible> {
    /// Columns with one value per row.
    pub columns: Vec<Column<R>>,
    /// Columns with a value at each horizon of the study.
    pub at_horizon: Vec<Column<H>>,
}

/// What is declared of a table.
#[derive(Clone, Debug)]
pub struct TableAbout {
    /// Columns with one value per row.
    pub columns: Vec<About>,
    /// Columns with a value at each horizon of the study.
    pub at_horizon: Vec<About>,
}

impl<R, H> Declared<R, H> {
    /// The declaration without the way to read it.
    pub fn about(&self) -> TableAbout {
        TableAbout {
            columns: self.columns.iter().map(|column| column.about).collect(),
            at_horizon: self.at_horizon.iter().map(|column| column.about).collect(),
        }
    }
}

impl TableAbout {
    /// The columns of a format without nesting: those at a horizon follow once for each, as `NAME_at_H`.
    pub fn flat(&self, horizons: &[Horizon]) -> Vec<(String, About)> {
        let plain = (self.columns.iter()).map(|about| (about.name.to_owned(), *about));
        let at_horizons = horizons.iter().flat_map(|horizon| {
            let at = move |about: &About| (format!("{}_at_{horizon}", about.name), *about);
            self.at_horizon.iter().map(at)
        });
        plain.chain(at_horizons).collect()
    }
}

impl Table {
    /// Its name on the command line.
    pub fn name(self) -> String {
        self.possible_value().get_name().to_owned()
    }

    /// What a row of it is, as `--help` says it.
    pub fn meaning(self) -> String {
        let value = self.possible_value();
        value
            .get_help()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// Its columns.
    pub fn about(self) -> TableAbout {
        match self {
            Table::Trials => trials::declared().about(),
            Table::Calibration => calibration::declared().about(),
            Table::Predictions => predictions::declared().about(),
            Table::Verdicts => verdicts::declared().about(),
        }
    }

    fn possible_value(self) -> clap::builder::PossibleValue {
        self.to_possible_value().expect("no table is hidden")
    }
}

/// Writes the rows of one table of a run.
pub struct RowWriter<'a, R, H = Infallible> {
    declared: Declared<R, H>,
    horizons: &'a [Horizon],
    redact: bool,
    sink: &'a mut dyn Sink,
}

impl<'a, R, H> RowWriter<'a, R, H> {
    /// A writer of a record's rows.
    pub fn new(record: &'a RunRecord, declared: Declared<R, H>, sink: &'a mut dyn Sink) -> Self {
        let study = record.study();
        Self {
            declared,
            horizons: &study.rollout.horizons,
            redact: study.report.redact,
            sink,
        }
    }

    /// Writes a row of a table without horizons.
    pub fn write(&mut self, row: &R) -> Result<(), ExportError> {
        self.write_with(row, &[])
    }

    /// Writes a row with what it says at each horizon.
    ///
    /// # Errors
    /// If a value does not fit its column, the horizons are not those of the study, or the sink fails.
    pub fn write_with(&mut self, row: &R, at: &[(Horizon, H)]) -> Result<(), ExportError> {
        let every = self.declared.at_horizon.is_empty() || {
            let found = at.iter().map(|(horizon, _)| horizon);
            found.eq(self.horizons)
        };
        if !every {
            return Err(ExportError::Undeclared {
                column: "horizons",
                problem: "the row's horizons are not the study's",
            });
        }
        let redact = self.redact;
        let cells = cells(&self.declared.columns, row, redact)?;
        let horizons = (at.iter())
            .map(|(horizon, at)| {
                Ok((
                    *horizon,
                    self::cells(&self.declared.at_horizon, at, redact)?,
                ))
            })
            .collect::<Result<_, ExportError>>()?;
        Ok(self.sink.write(&Row { cells, horizons })?)
    }
}

fn cells<'r, R>(
    columns: &[Column<R>],
    row: &'r R,
    redact: bool,
) -> Result<Vec<Cell<'r>>, ExportError> {
    columns.iter().map(|c| c.cell(row, redact)).collect()
}
