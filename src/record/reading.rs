//! Reading the files of a record: only what is a file, and no more of it than a run's can have.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::canonical;
use super::error::RecordError;
use super::layout::render;
use crate::files;

/// A longer store is none of ours: a million rollouts take 200 MB and their texts.
const LONGEST_STORE: u64 = 256 << 30;
/// Nor is any other file that is longer: verdicts take some 5 kB for each neuron and behaviour.
const LONGEST: u64 = 1 << 30;

/// Refuses what has the name of a file of the record and is none: a pipe would be waited for, a device has no end, what is as long as a
/// disk takes hours to read, and a link leads to what may change while the record stays.
///
/// # Errors
/// An integrity error; or what the operating system refuses.
pub fn check_is_file(path: &Path) -> Result<(), RecordError> {
    let io = |e| RecordError::io("read", path, e);
    let longest = match path.extension().is_some_and(|ending| ending == "sqlite") {
        true => LONGEST_STORE,
        false => LONGEST,
    };
    let found = match files::not_regular(path).map_err(io)? {
        _ if path.is_symlink() => "is a symbolic link".to_owned(),
        None => match fs::metadata(path).map_err(io)?.len() {
            length if length <= longest => return Ok(()),
            length => format!("has {length} bytes, more than a run's"),
        },
        Some(kind) => format!("is {kind}"),
    };
    let problem = format!(
        "this {found}: not the file that reachspec wrote; restore that from a copy, or start anew with `--fresh`"
    );
    Err(RecordError::integrity(path, problem))
}

/// Opens a file of the record.
///
/// # Errors
/// As [`check_is_file`], and if it cannot be opened.
pub fn open_file(path: &Path) -> Result<File, RecordError> {
    check_is_file(path)?;
    File::open(path).map_err(|e| RecordError::io("read", path, e))
}

/// Reads a file of the record.
///
/// # Errors
/// As [`open_file`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, RecordError> {
    let mut content = Vec::new();
    let mut file = open_file(path)?;
    (file.read_to_end(&mut content)).map_err(|e| RecordError::io("read", path, e))?;
    Ok(content)
}

/// What a JSON file of the record says, or the parts of it that are wanted.
///
/// # Errors
/// An integrity error that says where it cannot be read.
pub fn parse_json<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(content).map_err(|e| {
        let problem = format!(
            "the file was changed or cut off: {e}; restore it from a copy, or start anew with `--fresh`"
        );
        RecordError::integrity(path, problem)
    })
}

/// SHA-256 of a file's bytes, lower-case hex, read piece by piece.
///
/// # Errors
/// If it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String, RecordError> {
    let error = |e| RecordError::io("read", path, e);
    let mut file = files::open(path).map_err(error)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece).map_err(error)? {
            0 => return Ok(canonical::hex(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

/// SHA-256 of a file of the record.
///
/// # Errors
/// As [`open_file`].
pub fn record_sha256(path: &Path) -> Result<String, RecordError> {
    check_is_file(path)?;
    file_sha256(path)
}

/// Reads a JSON file that [`render`] wrote, and checks that it is still the same byte for byte.
///
/// # Errors
/// An I/O error, or an integrity error that says what does not fit.
pub fn read_json<T: Serialize + DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let bytes = read_file(path)?;
    let value: T = parse_json(path, &bytes)?;
    if render(&value).as_bytes() == bytes {
        return Ok(value);
    }
    let problem =
        "the file is not as reachspec wrote it: it was edited, or written by another version";
    Err(RecordError::integrity(path, problem))
}
