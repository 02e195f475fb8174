//! Reading files that somebody else wrote. A name says nothing of what is behind it: opening a pipe may wait for ever, a device may never
//! end, and a file may be longer than the memory.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::units::bytes;

/// Opens a regular file, or a link to one.
///
/// # Errors
/// What the operating system refuses; a folder, a pipe, a device or a socket.
pub fn open(path: &Path) -> io::Result<File> {
    match not_regular(path)? {
        None => File::open(path),
        Some(kind) => Err(io::Error::other(format!("it is {kind}, not a file"))),
    }
}

/// What to do about a file of a model that cannot be read.
pub fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        ErrorKind::PermissionDenied => "change its permissions",
        _ => "fetch it again",
    }
}

/// What is behind a path, where that is no regular file.
///
/// # Errors
/// What the operating system refuses, such as a path behind which there is nothing.
pub fn not_regular(path: &Path) -> io::Result<Option<&'static str>> {
    let kind = fs::metadata(path)?.file_type();
    Ok(match () {
        () if kind.is_file() => None,
        () if kind.is_dir() => Some("a folder"),
        () => Some("a pipe, a device or a socket"),
    })
}

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
/// As [`open`]; a longer file is not read at all.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let too_large = || {
        let limit = bytes(usize::try_from(limit).unwrap_or(usize::MAX));
        let problem = format!("it is larger than {limit}, the most that is read");
        io::Error::new(ErrorKind::FileTooLarge, problem)
    };
    if file.metadata()?.len() > limit {
        return Err(too_large());
    }
    let mut content = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)?;
    match content.len() as u64 > limit {
        true => Err(too_large()),
        false => Ok(content),
    }
}

/// Reads a regular UTF-8 file of at most `limit` bytes.
///
/// # Errors
/// As [`read`], and what is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let problem = format!("it is not UTF-8: see its byte {at}");
        io::Error::new(ErrorKind::InvalidData, problem)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_short_regular_files_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "é123").unwrap();
        assert_eq!(read_text(&file, 5).unwrap(), "é123");
        assert_eq!(read(&file, 4).unwrap_err().kind(), ErrorKind::FileTooLarge);
        fs::write(&file, b"ab\xff").unwrap();
        let error = read_text(&file, 5).unwrap_err().to_string();
        assert!(error.contains("byte 2"), "{error}");
        let error = read(folder.path(), 5).unwrap_err().to_string();
        assert_eq!(error, "it is a folder, not a file");
        let missing = read(&folder.path().join("missing"), 5).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    }

    #[test]
    #[cfg(unix)]
    fn what_never_ends_is_not_read() {
        let error = read(Path::new("/dev/zero"), 5).unwrap_err().to_string();
        assert!(error.contains("a device"), "{error}");
    }
}
