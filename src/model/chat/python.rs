//! Python's methods of strings, beyond those of minijinja-contrib, which has the rest.

use minijinja::value::{Kwargs, Tuple, Value, from_args};
use minijinja::{Error, State};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::refusal;

/// The longest text that is filled up; a template could fill the memory with more.
const MOST_FILLED: usize = 100_000;

/// Calls a method of a string, list or dictionary.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let ours = match value.as_str() {
        Some(text) => string_method(text, method, args)?,
        None => None,
    };
    match ours {
        Some(result) => Ok(result),
        None => unknown_method_callback(state, value, method, args),
    }
}

/// None where the method is not one of these.
fn string_method(text: &str, method: &str, args: &[Value]) -> Result<Option<Value>, Error> {
    let result = match method {
        "title" => from_args(args).map(|()| title(text).into())?,
        "swapcase" => from_args(args).map(|()| swap_case(text).into())?,
        "casefold" => from_args(args).map(|()| text.to_lowercase().into())?,
        "split" => split(text, args, Side::Left)?,
        "rsplit" => split(text, args, Side::Right)?,
        "partition" => partition(text, args, Side::Left)?,
        "rpartition" => partition(text, args, Side::Right)?,
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(args)?;
            text.strip_prefix(prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(args)?;
            text.strip_suffix(suffix).unwrap_or(text).into()
        }
        "find" => place(text, args, Side::Left)?.map_or((-1).into(), Value::from),
        "rfind" => place(text, args, Side::Right)?.map_or((-1).into(), Value::from),
        "index" => found(place(text, args, Side::Left)?)?,
        "rindex" => found(place(text, args, Side::Right)?)?,
        "ljust" | "rjust" | "center" | "zfill" => filled(text, method, args)?.into(),
        _ => return Ok(None),
    };
    Ok(Some(result))
}

/// Where a text is searched from.
#[derive(Clone, Copy)]
enum Side {
    Left,
    Right,
}

/// Python's `str.title`: a letter is a capital unless it follows a letter, so that `it's` becomes `It'S`.
fn title(text: &str) -> String {
    let mut within_word = false;
    text.chars()
        .map(|letter| {
            let cased = match within_word {
                true => letter.to_lowercase().to_string(),
                false => letter.to_uppercase().to_string(),
            };
            within_word = letter.is_alphabetic();
            cased
        })
        .collect()
}

fn swap_case(text: &str) -> String {
    text.chars()
        .map(|letter| match letter.is_uppercase() {
            true => letter.to_lowercase().to_string(),
            false => letter.to_uppercase().to_string(),
        })
        .collect()
}

/// `split(sep=None, maxsplit=-1)`: at white space where no separator is given.
fn split(text: &str, args: &[Value], from: Side) -> Result<Value, Error> {
    let (separator, most, named): (Option<&str>, Option<i64>, Kwargs) = from_args(args)?;
    let separator = match separator {
        Some(separator) => Some(separator),
        None => named.get("sep")?,
    };
    let most = match most {
        Some(most) => Some(most),
        None => named.get("maxsplit")?,
    };
    named.assert_all_used()?;
    let most = most.and_then(|most| usize::try_from(most).ok());
    let most_pieces = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let mut pieces: Vec<&str> = match (separator, from) {
        (Some(""), _) => return Err(refusal("empty separator")),
        (Some(separator), Side::Left) => text.splitn(most_pieces, separator).collect(),
        (Some(separator), Side::Right) => text.rsplitn(most_pieces, separator).collect(),
        (None, from) => words(text, most_pieces, from),
    };
    if let Side::Right = from {
        pieces.reverse();
    }
    Ok(pieces.into_iter().map(Value::from).collect())
}

/// Words in the order in which they are met; the last of `most` is what remains.
fn words(text: &str, most: usize, from: Side) -> Vec<&str> {
    let trimmed = |rest: &'_ str| -> usize {
        match from {
            Side::Left => rest.len() - rest.trim_start().len(),
            Side::Right => rest.trim_end().len(),
        }
    };
    let mut found = Vec::new();
    let mut rest = text;
    loop {
        rest = match from {
            Side::Left => &rest[trimmed(rest)..],
            Side::Right => &rest[..trimmed(rest)],
        };
        if rest.is_empty() {
            return found;
        }
        if found.len() + 1 >= most {
            found.push(rest);
            return found;
        }
        let (word, others) = match from {
            Side::Left => rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len())),
            Side::Right => {
                let word = rest.rsplit(char::is_whitespace).next().unwrap_or(rest);
                (word, &rest[..rest.len() - word.len()])
            }
        };
        found.push(word);
        rest = others;
    }
}

fn partition(text: &str, args: &[Value], from: Side) -> Result<Value, Error> {
    let (separator,): (&str,) = from_args(args)?;
    let parts = match from {
        _ if separator.is_empty() => return Err(refusal("empty separator")),
        Side::Left => (text.split_once(separator))
            .map_or([text, "", ""], |(before, after)| [before, separator, after]),
        Side::Right => (text.rsplit_once(separator))
            .map_or(["", "", text], |(before, after)| [before, separator, after]),
    };
    Ok(Value::from(Tuple::from(parts.map(Value::from))))
}

/// `find(part, start=0, end=len)`, counted in letters.
fn place(text: &str, args: &[Value], from: Side) -> Result<Option<usize>, Error> {
    let (part, start, end): (&str, Option<i64>, Option<i64>) = from_args(args)?;
    let length = text.chars().count();
    // Python's slices: a negative place counts from the end.
    let letter = |place: i64| match usize::try_from(place.unsigned_abs()).unwrap_or(usize::MAX) {
        distance if place < 0 => length.saturating_sub(distance),
        distance => distance.min(length),
    };
    let byte = |letter: usize| {
        let at = text.char_indices().nth(letter);
        at.map_or(text.len(), |(byte, _)| byte)
    };
    let start = start.map_or(0, letter);
    let Some(within) = text.get(byte(start)..byte(end.map_or(length, letter))) else {
        return Ok(None);
    };
    let found = match from {
        Side::Left => within.find(part),
        Side::Right => within.rfind(part),
    };
    Ok(found.map(|byte| start + within[..byte].chars().count()))
}

fn found(place: Option<usize>) -> Result<Value, Error> {
    place
        .map(Value::from)
        .ok_or_else(|| refusal("substring not found"))
}

/// `ljust(width, fill=' ')` and its like.
fn filled(text: &str, method: &str, args: &[Value]) -> Result<String, Error> {
    let (width, fill): (i64, Option<char>) = from_args(args)?;
    let width = usize::try_from(width).unwrap_or(0);
    if width > MOST_FILLED {
        return Err(refusal(format!(
            "{method}: the width is above {MOST_FILLED}"
        )));
    }
    let missing = width.saturating_sub(text.chars().count());
    let by = |count: usize, fill: char| fill.to_string().repeat(count);
    let fill = fill.unwrap_or(' ');
    Ok(match method {
        "ljust" => text.to_owned() + &by(missing, fill),
        "rjust" => by(missing, fill) + text,
        "center" => {
            // Python's own rounding.
            let left = missing / 2 + (missing & width & 1);
            by(left, fill) + text + &by(missing - left, fill)
        }
        _ => {
            let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
            let sign = &text[..text.len() - digits.len()];
            sign.to_owned() + &by(missing, '0') + digits
        }
    })
}
