//! Files that a spec names.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::context::Context;
use crate::spec::path::SpecPath;
use crate::spec::set::SETTING;
use crate::spec::source::{DATA_BYTES, Source, read_text};

/// Whether a path that a spec names leads out of the spec's folder, be it through a link: a spec of somebody else's shall not have other files
/// of the user's put into its report.
fn leads_outside(folder: &Path, written: &str) -> bool {
    let here = match folder.as_os_str().is_empty() {
        true => Path::new("."),
        false => folder,
    };
    match (here.canonicalize(), here.join(written).canonicalize()) {
        (Ok(folder), Ok(file)) => !file.starts_with(folder),
        // What is not there leads outside only by its name.
        _ => climbs(Path::new(written)),
    }
}

/// Whether a relative path goes up further than it went down; every other path does.
fn climbs(path: &Path) -> bool {
    let mut depth = 0_usize;
    path.components().any(|part| match part {
        Component::CurDir => false,
        Component::Normal(_) => {
            depth += 1;
            false
        }
        Component::ParentDir if depth > 0 => {
            depth -= 1;
            false
        }
        Component::ParentDir | Component::RootDir | Component::Prefix(_) => true,
    })
}

impl Context<'_> {
    /// Where a path of the spec leads: it is absolute, or relative to the spec's folder.
    pub fn file(&self, written: &str) -> PathBuf {
        self.written.folder.join(written)
    }

    /// Reads a UTF-8 file that the spec names at `path`.
    pub fn read(&mut self, path: &SpecPath, written: &str) -> Option<Arc<Source>> {
        let file = self.file(written);
        let by_argument = self.written.located.place(path).source.name == SETTING;
        if !by_argument && leads_outside(&self.written.folder, written) {
            let message = format!(
                "the file {} lies outside the folder of the spec",
                file.display()
            );
            let help = "put it into that folder, so that the study can be run wherever it is copied to; or name it with `--set`";
            self.reject(path, message, help);
            return None;
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_outside_by_name_or_through_a_link() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("specs");
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(place.path().join("secret"), "").unwrap();
        let inside = folder.join("data").display().to_string();
        for path in ["data", "missing", "data/../data", "./data/.", &inside] {
            assert!(!leads_outside(&folder, path), "{path}");
        }
        for path in [
            "../secret",
            "../missing",
            "data/../../secret",
            "/etc/missing",
        ] {
            assert!(leads_outside(&folder, path), "{path}");
        }
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(place.path().join("secret"), folder.join("link")).unwrap();
            assert!(leads_outside(&folder, "link"));
        }
    }
}
