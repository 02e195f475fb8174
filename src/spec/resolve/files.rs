//! Files that a spec names.

use std::path::PathBuf;
use std::sync::Arc;

use super::context::Context;
use crate::spec::path::SpecPath;
use crate::spec::source::{DATA_BYTES, Source, read_text};

impl Context<'_> {
    /// Where a path of the spec leads: it is absolute, or relative to the spec's folder.
    pub fn file(&self, written: &str) -> PathBuf {
        self.written.folder.join(written)
    }

    /// Reads a UTF-8 file that the spec names at `path`.
    pub fn read(&mut self, path: &SpecPath, written: &str) -> Option<Arc<Source>> {
        let file = self.file(written);
        match read_text(&file, DATA_BYTES) {
            Ok(text) => Some(Arc::new(Source {
                name: file.display().to_string(),
                text,
            })),
            Err(reason) => {
                let message = format!("the file {} {reason}", file.display());
                self.reject(
                    path,
                    message,
                    "paths are relative to the folder of the spec",
                );
                None
            }
        }
    }
}
