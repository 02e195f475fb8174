//! CSV: a header, then a line per row. A list is its JSON text, a missing value an empty field.

use std::io::{self, Write};

use ::csv::{ErrorKind, Writer};

use super::{Cell, Horizon, Row, Sink, TableAbout};

/// CSV.
pub struct Csv<W: Write>(Writer<W>);

impl<W: Write> Csv<W> {
    /// Writes the header.
    pub fn new(table: &TableAbout, horizons: &[Horizon], output: W) -> io::Result<Self> {
        let mut writer = Writer::from_writer(output);
        let names = table.flat(horizons).into_iter().map(|(name, _)| name);
        writer.write_record(names).map_err(io_error)?;
        Ok(Self(writer))
    }
}

impl<W: Write> Sink for Csv<W> {
    fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        for cell in row.flat() {
            let written = match cell {
                Cell::Null => self.0.write_field(""),
                Cell::Text(text) => self.0.write_field(text),
                other => self.0.write_field(serde_json::to_vec(&other)?),
            };
            written.map_err(io_error)?;
        }
        // Ends the line.
        self.0.write_record(None::<&[u8]>).map_err(io_error)
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.0.flush()
    }
}

/// The system's own error, with its kind, where it is one.
fn io_error(error: ::csv::Error) -> io::Error {
    match error.into_kind() {
        ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}
