//! Parquet: typed columns, compressed with Snappy. Rows are gathered into row groups of a bounded size, which are all that is in memory.

use std::io::{self, Write};
use std::sync::Arc;

use ::parquet::basic::{Compression, LogicalType, Repetition, Type as Physical};
use ::parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use ::parquet::schema::types::{Type, TypePtr};

use super::{Cell, Horizon, Row, Sink, TableAbout};
use crate::record::export::column::{About, Kind};

/// Who wrote the file: the same for the same version, so that the same run exports the same bytes.
const WRITTEN_BY: &str = concat!("reachspec version ", env!("CARGO_PKG_VERSION"));

/// Bytes of values, before compression, that end a row group.
const GROUP_BYTES: usize = 16 << 20;

/// Parquet.
pub struct Parquet<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    columns: Vec<Buffer>,
    bytes: usize,
    group_bytes: usize,
}

impl<W: Write + Send> Parquet<W> {
    /// Writes the magic number.
    pub fn new(table: &TableAbout, horizons: &[Horizon], output: W) -> io::Result<Self> {
        Self::with_groups(table, horizons, output, GROUP_BYTES)
    }

    fn with_groups(
        table: &TableAbout,
        horizons: &[Horizon],
        output: W,
        group_bytes: usize,
    ) -> io::Result<Self> {
        let columns = table.flat(horizons);
        let properties = WriterProperties::builder()
            .set_created_by(WRITTEN_BY.into())
            .set_compression(Compression::SNAPPY)
            .build();
        let schema = schema(&columns).map_err(io_error)?;
        let writer = SerializedFileWriter::new(output, schema, Arc::new(properties));
        Ok(Self {
            writer: writer.map_err(io_error)?,
            columns: columns
                .iter()
                .map(|(_, about)| Buffer::new(about))
                .collect(),
            bytes: 0,
            group_bytes,
        })
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        for buffer in &mut self.columns {
            let Some(mut column) = group.next_column()? else {
                let problem = "the schema has fewer columns than the table".into();
                return Err(ParquetError::General(problem));
            };
            buffer.write_to(&mut column)?;
            column.close()?;
            buffer.clear();
        }
        group.close()?;
        self.bytes = 0;
        Ok(())
    }
}

impl<W: Write + Send> Sink for Parquet<W> {
    fn write(&mut self, row: &Row<'_>) -> io::Result<()> {
        for (buffer, cell) in self.columns.iter_mut().zip(row.flat()) {
            self.bytes += buffer.push(cell);
        }
        if self.bytes >= self.group_bytes {
            self.write_group().map_err(io_error)?;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> io::Result<()> {
        if self.bytes > 0 {
            self.write_group().map_err(io_error)?;
        }
        self.writer.close().map(|_| ()).map_err(io_error)
    }
}

fn schema(columns: &[(String, About)]) -> Result<TypePtr, ParquetError> {
    let fields = columns.iter().map(|(name, about)| field(name, about));
    let root = Type::group_type_builder("schema");
    let root = root.with_fields(fields.collect::<Result<_, _>>()?);
    Ok(Arc::new(root.build()?))
}

fn field(name: &str, about: &About) -> Result<TypePtr, ParquetError> {
    let repetition = match about.nullable() {
        true => Repetition::OPTIONAL,
        false => Repetition::REQUIRED,
    };
    let (physical, logical) = match about.kind {
        Kind::Integer => (Physical::INT64, None),
        Kind::Number => (Physical::DOUBLE, None),
        Kind::Boolean => (Physical::BOOLEAN, None),
        Kind::Text | Kind::Word(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Integers => return list(name, repetition),
    };
    let builder = Type::primitive_type_builder(name, physical).with_repetition(repetition);
    Ok(Arc::new(builder.with_logical_type(logical).build()?))
}

/// A list in the three levels that the format prescribes.
fn list(name: &str, repetition: Repetition) -> Result<TypePtr, ParquetError> {
    let element = Type::primitive_type_builder("element", Physical::INT64)
        .with_repetition(Repetition::REQUIRED)
        .build()?;
    let repeated = Type::group_type_builder("list")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(element)])
        .build()?;
    let outer = Type::group_type_builder(name)
        .with_repetition(repetition)
        .with_logical_type(Some(LogicalType::List))
        .with_fields(vec![Arc::new(repeated)]);
    Ok(Arc::new(outer.build()?))
}

/// A column of the row group that is being gathered.
struct Buffer {
    values: Values,
    /// 1 where a value may be missing: the level at which it is there.
    present: i16,
    /// How much of each value is there: `present` for one that is, one more for an element of a list.
    definition: Vec<i16>,
    /// 1 for all but the first element of a list.
    repetition: Vec<i16>,
}

/// Values that are there, one after the other.
enum Values {
    Integers(Vec<i64>),
    Numbers(Vec<f64>),
    Booleans(Vec<bool>),
    Texts(Vec<ByteArray>),
    Lists(Vec<i64>),
}

impl Buffer {
    fn new(about: &About) -> Self {
        Self {
            values: match about.kind {
                Kind::Integer => Values::Integers(Vec::new()),
                Kind::Number => Values::Numbers(Vec::new()),
                Kind::Boolean => Values::Booleans(Vec::new()),
                Kind::Text | Kind::Word(_) => Values::Texts(Vec::new()),
                Kind::Integers => Values::Lists(Vec::new()),
            },
            present: about.nullable().into(),
            definition: Vec::new(),
            repetition: Vec::new(),
        }
    }

    /// Adds a value, and says about how many bytes it takes.
    fn push(&mut self, cell: Cell<'_>) -> usize {
        const LEAST: usize = 8;
        match (&mut self.values, cell) {
            (Values::Lists(values), Cell::Integers(list @ [_, ..])) => {
                values.extend(list.iter().map(|&element| i64::from(element)));
                self.definition
                    .extend(list.iter().map(|_| self.present + 1));
                self.repetition
                    .extend((0..list.len()).map(|place| i16::from(place > 0)));
                return LEAST * (1 + list.len());
            }
            // No index or count comes near 2⁶³.
            (Values::Integers(values), Cell::Integer(value)) => values.push(value as i64),
            (Values::Numbers(values), Cell::Number(value)) => values.push(value),
            (Values::Booleans(values), Cell::Boolean(value)) => values.push(value),
            (Values::Texts(values), Cell::Text(text)) => values.push(text.into()),
            _ => {} // Nothing, or an empty list: levels say it all.
        }
        let present = if cell == Cell::Null { 0 } else { self.present };
        self.definition.push(present);
        self.repetition.push(0);
        match cell {
            Cell::Text(text) => LEAST + text.len(),
            _ => LEAST,
        }
    }

    fn write_to(&self, column: &mut SerializedColumnWriter<'_>) -> Result<(), ParquetError> {
        let lists = matches!(self.values, Values::Lists(_));
        let definition = (lists || self.present > 0).then_some(&self.definition[..]);
        let repetition = lists.then_some(&self.repetition[..]);
        match &self.values {
            Values::Integers(v) | Values::Lists(v) => column
                .typed::<Int64Type>()
                .write_batch(v, definition, repetition),
            Values::Numbers(v) => column
                .typed::<DoubleType>()
                .write_batch(v, definition, repetition),
            Values::Booleans(v) => column
                .typed::<BoolType>()
                .write_batch(v, definition, repetition),
            Values::Texts(v) => column
                .typed::<ByteArrayType>()
                .write_batch(v, definition, repetition),
        }
        .map(|_| ())
    }

    fn clear(&mut self) {
        match &mut self.values {
            Values::Integers(v) | Values::Lists(v) => v.clear(),
            Values::Numbers(v) => v.clear(),
            Values::Booleans(v) => v.clear(),
            Values::Texts(v) => v.clear(),
        }
        self.definition.clear();
        self.repetition.clear();
    }
}

/// The system's own error, with its kind, where it is one.
fn io_error(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(error) => match error.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::parquet::file::reader::{FileReader, SerializedFileReader};
    use ::parquet::record::RowAccessor;
    use std::io::Seek;

    fn about(name: &'static str, kind: Kind, null_when: Option<&'static str>) -> About {
        About {
            name,
            kind,
            unit: None,
            meaning: "",
            null_when,
            redacted: false,
        }
    }

    fn row<'r>(cells: [Cell<'r>; 3]) -> Row<'r> {
        Row {
            cells: cells.to_vec(),
            horizons: vec![],
        }
    }

    #[test]
    fn rows_are_written_in_groups_of_a_bounded_size() {
        let table = TableAbout {
            columns: vec![
                about("tokens", Kind::Integers, Some("at times")),
                about("always", Kind::Integers, None),
                about("text", Kind::Text, Some("at times")),
            ],
            at_horizon: vec![],
        };
        let lists: [Option<&[u32]>; 3] = [None, Some(&[]), Some(&[1, 2, u32::MAX])];
        let texts = [Some(""), None, Some("¿a?")];
        let mut file = tempfile::tempfile().unwrap();
        let mut sink = Box::new(Parquet::with_groups(&table, &[], &mut file, 1000).unwrap());
        let cells = |i: usize| {
            let list = lists[i % 3].map_or(Cell::Null, Cell::Integers);
            let always = Cell::Integers(lists[i % 3].unwrap_or(&[9]));
            row([list, always, texts[i % 3].map_or(Cell::Null, Cell::Text)])
        };
        for i in 0..100 {
            sink.write(&cells(i)).unwrap();
        }
        sink.finish().unwrap();

        file.rewind().unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let groups = reader.metadata().row_groups();
        assert!(groups.len() > 4);
        assert!(groups.iter().all(|group| group.num_rows() <= 1000 / 24));
        let rows: Vec<_> = reader
            .get_row_iter(None)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(rows.len(), 100);
        for (i, row) in rows.iter().enumerate() {
            let read = |column| {
                let list = row.get_list(column).ok()?;
                let long = |field: &_| match field {
                    ::parquet::record::Field::Long(value) => *value,
                    other => panic!("{other:?}"),
                };
                Some(list.elements().iter().map(long).collect::<Vec<i64>>())
            };
            let wide = |list: &[u32]| list.iter().map(|&v| v.into()).collect::<Vec<i64>>();
            assert_eq!(read(0), lists[i % 3].map(wide), "row {i}");
            assert_eq!(read(1), Some(wide(lists[i % 3].unwrap_or(&[9]))), "row {i}");
            assert_eq!(
                row.get_string(2).ok().map(String::as_str),
                texts[i % 3],
                "row {i}"
            );
        }
    }
}
