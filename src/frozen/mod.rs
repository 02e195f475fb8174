//! Committed results: what a study gave when it was last accepted, kept beside its spec in git, and whether it still gives that.
//!
//! ```text
//! reports/<study>/frozen.json     hashes of study, model, prompts, seal, trials and verdicts
//!                 verdicts.csv    every branch in a line: what a reviewer compares
//!                 report.md, report.html, figures/
//! ```
//!
//! All of it is the same bytes whenever the study is run again: a folder that differs in one byte is not what the study gives.

mod branches;
mod difference;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::record::layout::render;
use crate::record::store::StoreDigest;
use crate::record::{RecordError, RunRecord};
use crate::report::Rendered;
use crate::report::files;

pub use difference::{Difference, differences};

/// Name of the file that makes a folder a committed result.
const FACTS: &str = "frozen.json";
/// Longer files are no committed results.
const LARGEST: u64 = 1 << 30;
/// Name of the table of branches.
const BRANCHES: &str = "verdicts.csv";

/// What `frozen.json` holds: all SHA-256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Name of the study.
    pub study: String,
    /// Hash of the resolved study.
    pub study_sha256: String,
    /// Hash of each file of the model.
    pub model: BTreeMap<String, String>,
    /// Hash of each prompt set.
    pub prompts: BTreeMap<String, String>,
    /// The seal of the predictions.
    pub seal: String,
    /// How many trials there are, and the hash of all of them with their judgements.
    pub trials: StoreDigest,
    /// Hash of `verdicts.json`.
    pub verdicts_sha256: String,
}

/// The files of a committed result by their names, such as `figures/saturation.svg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed(BTreeMap<String, Vec<u8>>);

impl Committed {
    /// What a finished run would commit.
    ///
    /// # Errors
    /// If the run has not finished.
    pub fn of(record: &RunRecord, rendered: &Rendered) -> Result<Self, RecordError> {
        let facts = facts(record)?;
        let mut files: BTreeMap<String, Vec<u8>> = (rendered.figures.iter())
            .map(|(name, svg)| (format!("figures/{name}"), svg.clone().into_bytes()))
            .collect();
        files.insert("report.md".into(), rendered.markdown.clone().into_bytes());
        files.insert("report.html".into(), rendered.html.clone().into_bytes());
        files.insert(FACTS.into(), render(&facts).into_bytes());
        files.insert(BRANCHES.into(), branches::table(record).into_bytes());
        Ok(Self(files))
    }

    /// Reads a folder; `None` when nothing was ever committed there. Files that are not of a committed result are not looked at.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(folder: &Path) -> Result<Option<Self>, RecordError> {
        let mut files = BTreeMap::new();
        let mut take = |name: String| match crate::files::read(&folder.join(&name), LARGEST) {
            Ok(bytes) => {
                files.insert(name, bytes);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(RecordError::io("read", &folder.join(&name), error)),
        };
        for name in [FACTS, BRANCHES, "report.md", "report.html"] {
            take(name.into())?;
        }
        for name in files::our_figures(&folder.join("figures"))? {
            take(format!("figures/{name}"))?;
        }
        Ok((!files.is_empty()).then_some(Self(files)))
    }

    /// Writes the files into a folder, and removes figures of ours that are no more. Returns the names of those that changed.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, record: &RunRecord, folder: &Path) -> Result<Vec<String>, RecordError> {
        let mut before = Self::read(folder)?.map_or_else(BTreeMap::new, |before| before.0);
        let mut changed = Vec::new();
        for (name, bytes) in &self.0 {
            if before.get(name) != Some(bytes) {
                record.folder.write(&folder.join(name), bytes)?;
                changed.push(name.clone());
            }
        }
        let replaced = before.remove("report.md").unwrap_or_default();
        let replaced = String::from_utf8_lossy(&replaced);
        let gone = |name: &&String| !self.0.contains_key(*name) && files::shows(&replaced, name);
        for name in before.keys().filter(gone) {
            let path: PathBuf = folder.join(name);
            fs::remove_file(&path).map_err(|error| RecordError::io("remove", &path, error))?;
            changed.push(name.clone());
        }
        Ok(changed)
    }

    /// The file of this name as text.
    fn text(&self, name: &str) -> Option<String> {
        let bytes = self.0.get(name)?;
        Some(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Name of the study whose result it is; `None` where `frozen.json` is not there or cannot be read.
    pub fn study(&self) -> Option<String> {
        Some(self.facts()?.study)
    }

    /// `frozen.json`, where it is there and can be read.
    fn facts(&self) -> Option<Facts> {
        serde_json::from_slice(self.0.get(FACTS)?).ok()
    }
}

fn facts(record: &RunRecord) -> Result<Facts, RecordError> {
    let manifest = &record.manifest;
    let evidence = manifest.finished_evidence(&record.folder)?;
    let verdicts = record.folder.name_of(&record.folder.verdicts());
    Ok(Facts {
        study: record.study().name.clone(),
        study_sha256: manifest.study_sha256.clone(),
        model: record.study().model.files.clone(),
        prompts: manifest.prompts_sha256.clone(),
        seal: record.sealed.seal().sha256.clone(),
        trials: evidence.trials.clone(),
        verdicts_sha256: evidence.files.get(&verdicts).cloned().unwrap_or_default(),
    })
}
