//! What a column is, and how its value is read from a row. A value can only be written through the column that declares it.

use super::ExportError;
use crate::units::TokenId;

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Cell<'r> {
    Null,
    Integer(usize),
    Number(f64),
    Boolean(bool),
    Text(&'r str),
    Integers(&'r [TokenId]),
}

/// The type of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A whole number, never negative.
    Integer,
    /// A finite number.
    Number,
    /// True or false.
    Boolean,
    /// Any text.
    Text,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A list of integers.
    Integers,
}

/// What is declared of a column.
#[derive(Clone, Copy, Debug)]
pub struct About {
    /// Its name, in every format.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// The unit of its numbers.
    pub unit: Option<&'static str>,
    /// What it says, in a sentence.
    pub meaning: &'static str,
    /// When there is no value; never, if absent.
    pub null_when: Option<&'static str>,
    /// Whether `report: {redact: true}` takes its values away.
    pub redacted: bool,
}

impl About {
    /// Whether a value may be missing.
    pub fn nullable(&self) -> bool {
        self.null_when.is_some() || self.redacted
    }

    /// The cell, if the declaration allows it.
    fn check<'r>(&self, cell: Cell<'r>) -> Result<Cell<'r>, ExportError> {
        let problem = match (cell, self.kind) {
            (Cell::Null, _) if !self.nullable() => "there is no value, and it is never null",
            (Cell::Number(value), _) if !value.is_finite() => "the number is not finite",
            (Cell::Text(text), Kind::Word(words)) if !words.contains(&text) => {
                "the word is none of those that are declared"
            }
            _ => return Ok(cell),
        };
        Err(ExportError::Undeclared {
            column: self.name,
            problem,
        })
    }
}

/// A column of a table whose rows are made from an `R`.
pub struct Column<R> {
    /// What is declared.
    pub about: About,
    read: Read<R>,
}

/// How a value is read: this is what makes its type hold.
enum Read<R> {
    Integer(fn(&R) -> Option<usize>),
    Number(fn(&R) -> Option<f64>),
    Boolean(fn(&R) -> Option<bool>),
    Text(fn(&R) -> Option<&str>),
    Integers(fn(&R) -> Option<&[TokenId]>),
}

impl<R> Column<R> {
    pub fn integer(
        name: &'static str,
        meaning: &'static str,
        read: fn(&R) -> Option<usize>,
    ) -> Self {
        Self::new(name, Kind::Integer, meaning, Read::Integer(read))
    }

    pub fn number(name: &'static str, meaning: &'static str, read: fn(&R) -> Option<f64>) -> Self {
        Self::new(name, Kind::Number, meaning, Read::Number(read))
    }

    pub fn boolean(
        name: &'static str,
        meaning: &'static str,
        read: fn(&R) -> Option<bool>,
    ) -> Self {
        Self::new(name, Kind::Boolean, meaning, Read::Boolean(read))
    }

    pub fn text(name: &'static str, meaning: &'static str, read: fn(&R) -> Option<&str>) -> Self {
        Self::new(name, Kind::Text, meaning, Read::Text(read))
    }

    pub fn word(
        name: &'static str,
        words: &'static [&'static str],
        meaning: &'static str,
        read: fn(&R) -> Option<&str>,
    ) -> Self {
        Self::new(name, Kind::Word(words), meaning, Read::Text(read))
    }

    pub fn integers(
        name: &'static str,
        meaning: &'static str,
        read: fn(&R) -> Option<&[TokenId]>,
    ) -> Self {
        Self::new(name, Kind::Integers, meaning, Read::Integers(read))
    }

    fn new(name: &'static str, kind: Kind, meaning: &'static str, read: Read<R>) -> Self {
        let about = About {
            name,
            kind,
            unit: None,
            meaning,
            null_when: None,
            redacted: false,
        };
        Self { about, read }
    }

    /// The unit of its numbers.
    pub fn unit(mut self, unit: &'static str) -> Self {
        self.about.unit = Some(unit);
        self
    }

    /// When there is no value.
    pub fn null_when(mut self, when: &'static str) -> Self {
        self.about.null_when = Some(when);
        self
    }

    /// Redaction takes its values away.
    pub fn redacted(mut self) -> Self {
        self.about.redacted = true;
        self
    }

    /// The value in a row.
    ///
    /// # Errors
    /// If the declaration does not allow it.
    pub fn cell<'r>(&self, row: &'r R, redact: bool) -> Result<Cell<'r>, ExportError> {
        if redact && self.about.redacted {
            return Ok(Cell::Null);
        }
        let cell = match self.read {
            Read::Integer(read) => read(row).map(Cell::Integer),
            Read::Number(read) => read(row).map(Cell::Number),
            Read::Boolean(read) => read(row).map(Cell::Boolean),
            Read::Text(read) => read(row).map(Cell::Text),
            Read::Integers(read) => read(row).map(Cell::Integers),
        };
        self.about.check(cell.unwrap_or(Cell::Null))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Of = Column<Option<f64>>;

    fn refused(column: &Of, row: Option<f64>) -> String {
        column.cell(&row, false).unwrap_err().to_string()
    }

    #[test]
    fn a_value_that_does_not_fit_its_declaration_is_an_error() {
        let column = Of::number("dose", "", |row| *row);
        assert_eq!(column.cell(&Some(0.5), true).unwrap(), Cell::Number(0.5));
        assert!(refused(&column, None).contains("`dose`: there is no value"));
        assert!(refused(&column, Some(f64::NAN)).contains("not finite"));
        let word = Of::word("sign", &["positive"], "", |_| Some("sideways"));
        assert!(refused(&word, None).contains("`sign`: the word"));
    }

    #[test]
    fn only_what_is_redacted_goes() {
        let open = Of::number("dose", "", |row| *row);
        let hidden = Of::number("dose", "", |row| *row).redacted();
        for (column, redact, expected) in [
            (&open, true, Cell::Number(0.5)),
            (&hidden, false, Cell::Number(0.5)),
            (&hidden, true, Cell::Null),
        ] {
            assert_eq!(column.cell(&Some(0.5), redact).unwrap(), expected);
        }
        assert!(!open.about.nullable() && hidden.about.nullable());
        assert!(open.null_when("").about.nullable());
    }
}
