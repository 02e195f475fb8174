//! `tojson` as transformers has it: Python's `json.dumps`, in which nothing is escaped for HTML.

use std::io::{self, Write};

use minijinja::Error;
use minijinja::value::{Kwargs, Rest, Value};
use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use super::refusal;

/// The deepest nesting, so that writing it does not exhaust the stack; serde_json reads no deeper either.
const MOST_DEPTH: usize = 127;

/// The widest indentation; a template could fill the memory with more.
const MOST_INDENT: usize = 64;
const OPTIONS: [&str; 4] = ["ensure_ascii", "indent", "separators", "sort_keys"];

/// `json.dumps(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False)`: by place or by name.
pub(super) fn to_json(value: &Value, placed: Rest<Value>, named: Kwargs) -> Result<Value, Error> {
    if placed.len() > OPTIONS.len() {
        return Err(refusal("tojson: too many arguments"));
    }
    let option = |name: &str| {
        let place = OPTIONS.iter().position(|option| *option == name);
        match place.and_then(|place| placed.get(place)) {
            Some(given) => Ok(Some(given.clone()).filter(|given| !given.is_none())),
            None => named.get::<Option<Value>>(name),
        }
    };
    let is_set = |option: Option<Value>| option.is_some_and(|option| option.is_true());
    let ascii = is_set(option("ensure_ascii")?);
    let indent = option("indent")?.map(indentation).transpose()?;
    let (between_items, after_key) = match option("separators")? {
        Some(pair) => separators_of(&pair)?,
        None if indent.is_some() => (",".into(), ": ".into()),
        None => (", ".into(), ": ".into()),
    };
    let sorted = is_set(option("sort_keys")?);
    named.assert_all_used()?;

    let layout = PythonJson {
        ascii,
        indent,
        between_items,
        after_key,
        ..PythonJson::default()
    };
    let text = match sorted {
        // By way of a text, as serde_json's mappings are sorted.
        true => serde_json::from_str::<serde_json::Value>(&written(value, PythonJson::compact())?)
            .map_err(|e| refusal(format!("tojson: {e}")))
            .and_then(|sorted| written(&sorted, layout))?,
        false => written(value, layout)?,
    };
    Ok(Value::from(text))
}

fn written(value: &impl Serialize, layout: PythonJson) -> Result<String, Error> {
    let mut text = Vec::new();
    (value.serialize(&mut Serializer::with_formatter(&mut text, layout)))
        .map_err(|e| refusal(format!("tojson: {e}")))?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// A number of spaces, or the text itself.
fn indentation(indent: Value) -> Result<String, Error> {
    let text = match indent.as_str() {
        Some(text) => text.to_owned(),
        None => {
            let spaces = i64::try_from(indent)?.max(0);
            " ".repeat(
                usize::try_from(spaces)
                    .unwrap_or(usize::MAX)
                    .min(MOST_INDENT + 1),
            )
        }
    };
    match text.len() <= MOST_INDENT {
        true => Ok(text),
        false => Err(refusal(format!("tojson: `indent` is above {MOST_INDENT}"))),
    }
}

fn separators_of(pair: &Value) -> Result<(String, String), Error> {
    let parts: Vec<Value> = pair.try_iter()?.take(3).collect();
    match parts
        .iter()
        .map(Value::as_str)
        .collect::<Option<Vec<_>>>()
        .as_deref()
    {
        Some([between_items, after_key]) => Ok(((*between_items).into(), (*after_key).into())),
        _ => Err(refusal("tojson: `separators` must be two strings")),
    }
}

/// The layout of `json.dumps`.
#[derive(Default)]
struct PythonJson {
    /// Whether other letters are written as `\u00e9`.
    ascii: bool,
    /// Everything stands on one line without.
    indent: Option<String>,
    between_items: String,
    after_key: String,
    depth: usize,
    /// Whether the list or mapping that ends has anything in it.
    filled: bool,
}

impl PythonJson {
    fn compact() -> Self {
        Self {
            between_items: ",".into(),
            after_key: ":".into(),
            ..Self::default()
        }
    }

    fn new_line<W: ?Sized + Write>(&self, to: &mut W) -> io::Result<()> {
        if let Some(indent) = &self.indent {
            to.write_all(b"\n")?;
            for _ in 0..self.depth {
                to.write_all(indent.as_bytes())?;
            }
        }
        Ok(())
    }

    fn open<W: ?Sized + Write>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        if self.depth == MOST_DEPTH {
            let problem = format!("more than {MOST_DEPTH} lists or mappings within each other");
            return Err(io::Error::other(problem));
        }
        self.depth += 1;
        self.filled = false;
        to.write_all(bracket)
    }

    fn item<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        if !first {
            to.write_all(self.between_items.as_bytes())?;
        }
        self.new_line(to)
    }

    fn close<W: ?Sized + Write>(&mut self, to: &mut W, bracket: &[u8]) -> io::Result<()> {
        self.depth -= 1;
        if self.filled {
            self.new_line(to)?;
        }
        to.write_all(bracket)
    }
}

impl Formatter for PythonJson {
    fn begin_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"[")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.item(to, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"]")
    }

    fn begin_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.open(to, b"{")
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, to: &mut W, first: bool) -> io::Result<()> {
        self.item(to, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        to.write_all(self.after_key.as_bytes())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.filled = true;
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, to: &mut W) -> io::Result<()> {
        self.close(to, b"}")
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        to: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        if !self.ascii {
            return to.write_all(fragment.as_bytes());
        }
        for unit in fragment.encode_utf16() {
            match u8::try_from(unit) {
                Ok(letter @ b' '..=b'~') => to.write_all(&[letter])?,
                _ => write!(to, "\\u{unit:04x}")?,
            }
        }
        Ok(())
    }
}
