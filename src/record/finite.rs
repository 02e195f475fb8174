//! Numbers that JSON cannot hold are found before they are written: `serde_json` would put `null` in their place.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{self, Serializer};

/// Checks that every number in a value is finite, without copying the value.
///
/// # Errors
/// The path of the first number that is not, such as `neurons[3].budget`.
pub fn check<T: Serialize + ?Sized>(value: &T) -> Result<(), String> {
    let mut visitor = Visitor { path: Vec::new() };
    match value.serialize(&mut visitor) {
        Ok(()) => Ok(()),
        Err(Stop::NotFinite) => Err(visitor.place()),
        Err(Stop::Other(problem)) => Err(format!("{} ({problem})", visitor.place())),
    }
}

/// Walks through a value; on an error, `path` is where it stopped.
struct Visitor {
    path: Vec<Step>,
}

enum Step {
    Field(&'static str),
    Key,
    Item(usize),
}

/// Why a walk stopped.
#[derive(Debug)]
enum Stop {
    NotFinite,
    Other(String),
}

impl Visitor {
    fn place(&self) -> String {
        let path: String = (self.path.iter())
            .map(|step| match step {
                Step::Field(name) => format!(".{name}"),
                Step::Key => ".*".to_owned(),
                Step::Item(index) => format!("[{index}]"),
            })
            .collect();
        path.trim_start_matches('.').to_owned()
    }

    fn number(&self, finite: bool) -> Result<(), Stop> {
        if finite { Ok(()) } else { Err(Stop::NotFinite) }
    }

    fn step<T: Serialize + ?Sized>(&mut self, step: Step, value: &T) -> Result<(), Stop> {
        self.path.push(step);
        value.serialize(&mut *self)?;
        self.path.pop();
        Ok(())
    }
}

/// A sequence, map or structure under way.
struct Inside<'a> {
    visitor: &'a mut Visitor,
    items: usize,
}

impl Inside<'_> {
    fn item<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.items += 1;
        self.visitor.step(Step::Item(self.items - 1), value)
    }
}

impl<'a> Visitor {
    fn inside(&'a mut self) -> Result<Inside<'a>, Stop> {
        Ok(Inside {
            visitor: self,
            items: 0,
        })
    }
}

/// Scalars that are always finite.
macro_rules! finite {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, _: $type) -> Result<(), Stop> { Ok(()) })*
    };
}

impl<'a> Serializer for &'a mut Visitor {
    type Ok = ();
    type Error = Stop;
    type SerializeSeq = Inside<'a>;
    type SerializeTuple = Inside<'a>;
    type SerializeTupleStruct = Inside<'a>;
    type SerializeTupleVariant = Inside<'a>;
    type SerializeMap = Inside<'a>;
    type SerializeStruct = Inside<'a>;
    type SerializeStructVariant = Inside<'a>;

    finite!(
        serialize_bool: bool, serialize_char: char, serialize_str: &str, serialize_bytes: &[u8],
        serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64,
        serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64
    );

    fn serialize_f32(self, value: f32) -> Result<(), Stop> {
        self.number(value.is_finite())
    }

    fn serialize_f64(self, value: f64) -> Result<(), Stop> {
        self.number(value.is_finite())
    }

    fn serialize_none(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Stop> {
        self.step(Step::Field(variant), value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Inside<'a>, Stop> {
        self.inside()
    }

    fn serialize_tuple(self, _: usize) -> Result<Inside<'a>, Stop> {
        self.inside()
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Inside<'a>, Stop> {
        self.inside()
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Inside<'a>, Stop> {
        self.inside()
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Inside<'a>, Stop> {
        self.inside()
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Inside<'a>, Stop> {
        self.inside()
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Inside<'a>, Stop> {
        self.inside()
    }
}

/// Compounds whose parts have no names.
macro_rules! unnamed {
    ($($compound:ident: $method:ident),*) => {
        $(impl ser::$compound for Inside<'_> {
            type Ok = ();
            type Error = Stop;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
                self.item(value)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

unnamed!(
    SerializeSeq: serialize_element,
    SerializeTuple: serialize_element,
    SerializeTupleStruct: serialize_field,
    SerializeTupleVariant: serialize_field
);

/// Compounds whose parts have names.
macro_rules! named {
    ($($compound:ident),*) => {
        $(impl ser::$compound for Inside<'_> {
            type Ok = ();
            type Error = Stop;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), Stop> {
                self.visitor.step(Step::Field(name), value)
            }

            fn end(self) -> Result<(), Stop> {
                Ok(())
            }
        })*
    };
}

named!(SerializeStruct, SerializeStructVariant);

impl ser::SerializeMap for Inside<'_> {
    type Ok = ();
    type Error = Stop;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, _: &T) -> Result<(), Stop> {
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Stop> {
        self.visitor.step(Step::Key, value)
    }

    fn end(self) -> Result<(), Stop> {
        Ok(())
    }
}

impl Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Stop::NotFinite => f.write_str("a number is not finite"),
            Stop::Other(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for Stop {}

impl ser::Error for Stop {
    fn custom<T: Display>(problem: T) -> Self {
        Stop::Other(problem.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stages::verdict::Threshold;
    use std::collections::BTreeMap;

    #[test]
    fn numbers_that_json_cannot_hold_are_named() {
        let fine = Threshold::At {
            budgets: 1.0,
            coordinate: 0.5,
        };
        let lost = Threshold::Above {
            budgets: f64::NAN,
            coordinate: 0.5,
        };
        assert_eq!(check(&[fine]), Ok(()));
        assert_eq!(check(&(1, [fine, lost])), Err("[1][1].budgets".into()));
        assert_eq!(check(&Some(f32::NEG_INFINITY)), Err(String::new()));
        let map = BTreeMap::from([("a", vec![0.0]), ("b", vec![0.0, f64::INFINITY])]);
        assert_eq!(check(&map), Err("*[1]".into()));
    }
}
