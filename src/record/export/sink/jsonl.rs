//! JSON Lines: an object per row, whose horizons are a list of objects.

use std::io::{self, BufWriter, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{Cell, Horizon, Row, Sink, TableAbout};

/// JSON Lines.
pub struct Jsonl<W: Write> {
    table: TableAbout,
    writer: BufWriter<W>,
}

impl<W: Write> Jsonl<W> {
    pub fn new(table: &TableAbout, output: W) -> Self {
        Self {
            table: table.clone(),
            writer: BufWriter::new(output),
        }
    }
}

impl<W: Write> Sink for Jsonl<W> {
    fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, &Line(&self.table, row))?;
        self.writer.write_all(b"\n")
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        self.writer.flush()
    }
}

/// A row with the names of its columns.
struct Line<'a>(&'a TableAbout, &'a Row<'a>);

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(table, row) = self;
        let mut map = serializer.serialize_map(None)?;
        for (about, cell) in table.columns.iter().zip(&row.cells) {
            map.serialize_entry(about.name, cell)?;
        }
        if !table.at_horizon.is_empty() {
            let at = |(horizon, cells)| AtHorizon(table, horizon, cells);
            let list: Vec<AtHorizon<'_>> = (row.horizons.iter())
                .map(|(h, c)| at((*h, c.as_slice())))
                .collect();
            map.serialize_entry("horizons", &list)?;
        }
        map.end()
    }
}

/// What a row says at one horizon.
struct AtHorizon<'a>(&'a TableAbout, Horizon, &'a [Cell<'a>]);

impl Serialize for AtHorizon<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self(table, horizon, cells) = self;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("horizon", horizon)?;
        for (about, cell) in table.at_horizon.iter().zip(*cells) {
            map.serialize_entry(about.name, cell)?;
        }
        map.end()
    }
}
