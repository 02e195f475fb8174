//! A finished run, read back: everything that a report or an export needs, without the model.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::RecordError;
use super::folder::{self, RunFolder};
use super::manifest::Manifest;
use super::store::TrialStore;
use crate::stages::judge::Judgements;
use crate::stages::predict::SealedPredictions;
use crate::stages::verdict::Verdicts;
use crate::study::Study;

/// A finished run.
pub struct RunRecord {
    /// The folder.
    pub folder: RunFolder,
    /// What was run, on what, by what.
    pub manifest: Manifest,
    /// What was predicted, behind its seal.
    pub sealed: SealedPredictions,
    /// Dose–response curves.
    pub judgements: Judgements,
    /// The study's answer.
    pub verdicts: Verdicts,
    /// The trials, with the judgement of each.
    pub store: TrialStore,
}

/// What `verdicts.json` holds.
#[derive(Serialize, Deserialize)]
struct VerdictsFile {
    judgements: Judgements,
    verdicts: Verdicts,
}

impl RunRecord {
    /// Reads a run folder, and checks that its files belong together.
    ///
    /// # Errors
    /// If it is no run folder, the run has not finished, or a file does not fit the others.
    pub fn load(path: &Path) -> Result<Self, RecordError> {
        let folder = RunFolder::open(path)?;
        let manifest = Manifest::load(&folder)?.ok_or_else(|| {
            RecordError::unusable(path, "this is no run folder: it has no manifest.json")
        })?;
        manifest.check_files(&folder)?;
        let sealed = SealedPredictions::load(&folder)?;
        let (judgements, verdicts) = read_verdicts(&folder)?;
        let store = TrialStore::open_read_only(&folder.trials())?;
        let record = Self {
            folder,
            manifest,
            sealed,
            judgements,
            verdicts,
            store,
        };
        record.check_links()?;
        Ok(record)
    }

    /// The resolved study.
    pub fn study(&self) -> &Study {
        &self.manifest.study
    }

    /// Reads every trial, and compares them with what the run ended with. (Loading has checked everything else.)
    ///
    /// # Errors
    /// An integrity error that says what was changed; or that the run has not finished.
    pub fn check_trials(&self) -> Result<(), RecordError> {
        let now = self.store.check()?;
        let Some(evidence) = &self.manifest.evidence else {
            return Err(unfinished(&self.folder.manifest()));
        };
        if now == evidence.trials {
            return Ok(());
        }
        let then = evidence.trials.trials;
        let problem = format!(
            "the trials were changed after the run ended: {then} then, {} now",
            now.trials
        );
        Err(RecordError::integrity(self.store.path(), problem))
    }

    /// Study, predictions and verdicts name each other by hash.
    fn check_links(&self) -> Result<(), RecordError> {
        let study = &self.manifest.study_sha256;
        let predictions = self.sealed.predictions();
        if predictions.study != *study {
            return Err(other_study(&self.folder.predictions()));
        }
        if self.verdicts.study != *study || self.verdicts.seal != self.sealed.seal().sha256 {
            return Err(other_study(&self.folder.verdicts()));
        }
        Ok(())
    }
}

/// Writes `verdicts.json`: the same bytes for the same results.
///
/// # Errors
/// If it cannot be written, or a number is not finite.
pub fn write_verdicts(
    run: &RunFolder,
    judgements: &Judgements,
    verdicts: &Verdicts,
) -> Result<(), RecordError> {
    let file = VerdictsFile {
        judgements: judgements.clone(),
        verdicts: verdicts.clone(),
    };
    run.write_json(&run.verdicts(), &file)
}

fn read_verdicts(run: &RunFolder) -> Result<(Judgements, Verdicts), RecordError> {
    let path = run.verdicts();
    if !path.exists() {
        return Err(unfinished(&path));
    }
    let file: VerdictsFile = folder::read_json(&path)?;
    Ok((file.judgements, file.verdicts))
}

fn unfinished(path: &Path) -> RecordError {
    RecordError::unusable(
        path,
        "the run has not finished; run its spec again to continue it",
    )
}

fn other_study(path: &Path) -> RecordError {
    let problem = "the file belongs to an earlier state of this run, or to another one; run the spec again to bring the folder up to date";
    RecordError::unusable(path, problem)
}
