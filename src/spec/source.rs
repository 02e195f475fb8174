//! Reading the text files that make up a spec, with a limit on everything.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::suggest;

/// Largest spec file.
pub const SPEC_BYTES: u64 = 1 << 20;
/// Largest prompt or word-list file: read, checked and shown, it takes some ten times its length.
pub const DATA_BYTES: u64 = 16 << 20;

/// A text that problems point into: a file, or a `--set` argument.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is called in messages: the path as the user gave it, or `--set`.
    pub name: String,
    /// The text, without a byte-order mark.
    pub text: String,
}

/// A place in a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The text.
    pub source: Arc<Source>,
    /// The bytes in it; absent when the whole file is meant.
    pub span: Option<Range<usize>>,
}

impl Place {
    /// The whole of a source.
    pub fn whole(source: &Arc<Source>) -> Self {
        let (source, span) = (source.clone(), None);
        Self { source, span }
    }

    /// Some bytes of a source.
    pub fn span(source: &Arc<Source>, span: Range<usize>) -> Self {
        let (source, span) = (source.clone(), Some(span));
        Self { source, span }
    }

    /// Line and column of the first character, both counted from 1; columns count characters.
    pub fn line_column(&self) -> Option<(usize, usize)> {
        let before = self.source.text.get(..self.span.as_ref()?.start)?;
        let line = before.matches('\n').count() + 1;
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        Some((line, before[line_start..].chars().count() + 1))
    }
}

/// Why a file could not be read, in words that follow its name: "does not exist".
pub type Reason = String;

/// Reads a regular file of at most `limit` bytes.
pub fn read_bytes(path: &Path, limit: u64) -> Result<Vec<u8>, Reason> {
    let metadata = std::fs::metadata(path).map_err(|error| cannot_open(path, &error))?;
    if metadata.is_dir() {
        return Err("is a folder, not a file".into());
    }
    if !metadata.is_file() {
        return Err("is not a regular file".into());
    }
    let too_large = || format!("is larger than the limit of {}", size(limit));
    if metadata.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| cannot_open(path, &error))?;
    (file.take(limit + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() as u64 > limit {
        return Err(too_large());
    }
    Ok(bytes)
}

/// UTF-8 text without its byte-order mark.
pub fn decode(bytes: &[u8]) -> Result<String, Reason> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        return Err("is UTF-16; save it as UTF-8".into());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let valid = &bytes[..error.valid_up_to()];
            let line = valid.iter().filter(|&&byte| byte == b'\n').count() + 1;
            let byte = bytes.get(valid.len()).copied().unwrap_or_default();
            Err(format!(
                "is not UTF-8: line {line} holds the byte 0x{byte:02x}; save it as UTF-8"
            ))
        }
    }
}

/// Reads a regular UTF-8 file of at most `limit` bytes.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Reason> {
    decode(&read_bytes(path, limit)?)
}

fn cannot_open(path: &Path, error: &std::io::Error) -> Reason {
    match error.kind() {
        std::io::ErrorKind::NotFound => match similar_file(path) {
            Some(name) => format!("does not exist; did you mean `{name}`?"),
            None => "does not exist".into(),
        },
        std::io::ErrorKind::PermissionDenied => "may not be read: permission denied".into(),
        _ => format!("cannot be read: {error}"),
    }
}

/// The name in the same folder that is most like the missing one.
fn similar_file(path: &Path) -> Option<String> {
    let wanted = path.file_name()?.to_str()?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let entries = std::fs::read_dir(folder.unwrap_or(Path::new("."))).ok()?;
    let mut names: Vec<String> = (entries.flatten().take(1000))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort();
    suggest::nearest(wanted, names.iter().map(String::as_str)).map(str::to_owned)
}

fn size(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_refused_with_their_line() {
        let reason = decode(b"name: a\nx: \xe9\n").unwrap_err();
        assert!(reason.contains("line 2 holds the byte 0xe9"), "{reason}");
        assert!(decode(b"\xff\xfea\0").unwrap_err().contains("UTF-16"));
        assert_eq!(decode(b"\xef\xbb\xbfname: a").unwrap(), "name: a");
    }

    #[test]
    fn files_that_are_none_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("study.yaml");
        std::fs::write(&file, "0123456789").unwrap();
        assert_eq!(read_bytes(&file, 10).unwrap().len(), 10);
        assert!(read_bytes(&file, 9).unwrap_err().contains("larger"));
        assert!(read_bytes(folder.path(), 9).unwrap_err().contains("folder"));
        let missing = read_bytes(&folder.path().join("studdy.yaml"), 9).unwrap_err();
        assert_eq!(missing, "does not exist; did you mean `study.yaml`?");
    }

    #[test]
    fn places_count_characters_from_one() {
        let source = Arc::new(Source {
            name: "a".into(),
            text: "é: 1\nü: 22\n".into(),
        });
        let at = source.text.find("22").unwrap();
        assert_eq!(Place::span(&source, at..at + 2).line_column(), Some((2, 4)));
        assert_eq!(Place::whole(&source).line_column(), None);
    }
}
