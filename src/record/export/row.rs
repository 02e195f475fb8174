//! A row, and the formats it is written in.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::Format;
use crate::units::Horizon;

/// Named values in the order of the columns.
pub struct Fields(pub Vec<(&'static str, Value)>);

/// One row: values, and further ones at each horizon.
pub struct Row {
    /// The values.
    pub fields: Fields,
    /// Values at each horizon; `None` for tables without.
    pub horizons: Option<Vec<(Horizon, Fields)>>,
}

impl Serialize for Fields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// One horizon's values, beginning with the horizon.
struct AtHorizon<'a>(Horizon, &'a Fields);

impl Serialize for AtHorizon<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("horizon", &self.0)?;
        self.1
            .0
            .iter()
            .try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        map.end()
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.fields
            .0
            .iter()
            .try_for_each(|(name, value)| map.serialize_entry(name, value))?;
        if let Some(horizons) = &self.horizons {
            let list: Vec<AtHorizon<'_>> = horizons
                .iter()
                .map(|(at, fields)| AtHorizon(*at, fields))
                .collect();
            map.serialize_entry("horizons", &list)?;
        }
        map.end()
    }
}

/// The system's own error, with its kind, where it is one.
fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// Where rows go.
pub enum Sink<'a, W: Write> {
    /// JSON Lines.
    Jsonl(io::BufWriter<W>),
    /// CSV with the study's horizons as columns; the header comes with the first row.
    Csv {
        writer: Box<csv::Writer<W>>,
        horizons: &'a [Horizon],
        begun: bool,
    },
}

impl<'a, W: Write> Sink<'a, W> {
    /// A sink for a study with these horizons.
    pub fn new(format: Format, horizons: &'a [Horizon], output: W) -> Self {
        match format {
            Format::Jsonl => Sink::Jsonl(io::BufWriter::new(output)),
            Format::Csv => Sink::Csv {
                writer: Box::new(csv::Writer::from_writer(output)),
                horizons,
                begun: false,
            },
        }
    }

    /// Writes a row. All rows of a table have the same columns.
    pub fn write(&mut self, row: &Row) -> io::Result<()> {
        match self {
            Sink::Jsonl(writer) => {
                serde_json::to_writer(&mut *writer, row)?;
                writer.write_all(b"\n")
            }
            Sink::Csv {
                writer,
                horizons,
                begun,
            } => {
                if !std::mem::replace(begun, true) {
                    writer
                        .write_record(header(row, horizons))
                        .map_err(io_error)?;
                }
                writer.write_record(cells(row, horizons)).map_err(io_error)
            }
        }
    }

    /// Writes what is still held back.
    pub fn finish(self) -> io::Result<()> {
        match self {
            Sink::Jsonl(mut writer) => writer.flush(),
            Sink::Csv { mut writer, .. } => writer.flush(),
        }
    }
}

fn header(row: &Row, horizons: &[Horizon]) -> Vec<String> {
    let mut names: Vec<String> = row
        .fields
        .0
        .iter()
        .map(|(name, _)| (*name).to_owned())
        .collect();
    if let Some((_, first)) = row.horizons.as_ref().and_then(|list| list.first()) {
        for horizon in horizons {
            names.extend(
                first
                    .0
                    .iter()
                    .map(|(name, _)| format!("{name}_at_{horizon}")),
            );
        }
    }
    names
}

fn cells(row: &Row, horizons: &[Horizon]) -> Vec<String> {
    let mut cells: Vec<String> = row.fields.0.iter().map(|(_, value)| cell(value)).collect();
    if let Some(list) = &row.horizons {
        let width = list.first().map_or(0, |(_, fields)| fields.0.len());
        for horizon in horizons {
            match list.iter().find(|(at, _)| at == horizon) {
                Some((_, fields)) => cells.extend(fields.0.iter().map(|(_, value)| cell(value))),
                None => cells.extend(vec![String::new(); width]),
            }
        }
    }
    cells
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
