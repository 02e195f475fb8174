//! Where rows go: one file per format.

mod csv;
mod jsonl;
mod parquet;

use std::io::{self, Write};

use serde::{Serialize, Serializer};

use super::Format;
use super::column::Cell;
use super::table::TableAbout;
use crate::units::Horizon;

/// One row: values in the order of the columns, and further ones at each horizon of the study.
pub struct Row<'r> {
    /// One per column.
    pub cells: Vec<Cell<'r>>,
    /// At each horizon, one per column at a horizon; empty for tables without.
    pub horizons: Vec<(Horizon, Vec<Cell<'r>>)>,
}

impl<'r> Row<'r> {
    /// The values in the order of [`TableAbout::flat`].
    fn flat(&self) -> impl Iterator<Item = Cell<'r>> + '_ {
        let at_horizons = self.horizons.iter().flat_map(|(_, cells)| cells);
        self.cells.iter().chain(at_horizons).copied()
    }
}

/// A format that is being written.
pub trait Sink {
    /// Takes a row of the table that the sink was made for.
    fn write(&mut self, row: &Row<'_>) -> io::Result<()>;

    /// Writes what is still held back.
    fn finish(self: Box<Self>) -> io::Result<()>;
}

/// A sink for a table of a study with these horizons.
///
/// # Errors
/// If the table's head cannot be written.
pub fn open<'a>(
    format: Format,
    table: &TableAbout,
    horizons: &[Horizon],
    output: impl Write + Send + 'a,
) -> io::Result<Box<dyn Sink + 'a>> {
    Ok(match format {
        Format::Jsonl => Box::new(jsonl::Jsonl::new(table, output)),
        Format::Csv => Box::new(csv::Csv::new(table, horizons, output)?),
        Format::Parquet => Box::new(parquet::Parquet::new(table, horizons, output)?),
    })
}

impl Serialize for Cell<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Cell::Null => serializer.serialize_none(),
            Cell::Integer(value) => value.serialize(serializer),
            Cell::Number(value) => value.serialize(serializer),
            Cell::Boolean(value) => value.serialize(serializer),
            Cell::Text(value) => value.serialize(serializer),
            Cell::Integers(values) => values.serialize(serializer),
        }
    }
}
