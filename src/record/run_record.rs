//! A finished run, read back: everything that a report or an export needs, without the model.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::consistency;
use super::error::RecordError;
use super::folder::RunFolder;
use super::manifest::Manifest;
use super::reading;
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
pub(super) struct VerdictsFile {
    pub judgements: Judgements,
    pub verdicts: Verdicts,
}

impl RunRecord {
    /// Reads a run folder to which nobody writes; see [`Self::load`].
    ///
    /// # Errors
    /// The same, and [`RecordError::Locked`] with the process that writes to it.
    pub fn load_at_rest(path: &Path) -> Result<Self, RecordError> {
        RunFolder::open(path)?.refuse_in_use()?;
        Self::load(path)
    }

    /// Reads a run folder, and checks that its files belong together.
    ///
    /// # Errors
    /// If it is no run folder, the run has not finished, or a file does not fit the others.
    pub fn load(path: &Path) -> Result<Self, RecordError> {
        let folder = RunFolder::open(path)?;
        folder.refuse_long_path()?;
        folder.refuse_links()?;
        let manifest = Manifest::load(&folder)?.ok_or_else(|| {
            RecordError::unusable(path, "this is no run folder: it has no manifest.json")
        })?;
        manifest.check_files(&folder)?;
        let sealed = SealedPredictions::load(&folder)?;
        let (judgements, verdicts) = read_verdicts(&folder)?;
        refuse_remains(&folder)?;
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

    /// Reads every trial, and compares them and the bytes of their file with what the run ended with. (Loading has checked everything else.)
    ///
    /// # Errors
    /// An integrity error that says what was changed; or that the run has not finished.
    pub fn check_trials(&self) -> Result<(), RecordError> {
        let now = self.store.check()?;
        let evidence = self.manifest.finished_evidence(&self.folder)?;
        if now == evidence.trials {
            return self.check_trials_file();
        }
        let then = evidence.trials.trials;
        let problem = format!(
            "the trials or their judgements were changed after the run ended: {then} trials then, {} now",
            now.trials
        );
        Err(RecordError::integrity(self.store.path(), problem))
    }

    /// Compares the bytes of the trial store with those that the run ended with: quicker than to read every trial.
    ///
    /// # Errors
    /// An integrity error if they are others; or that the run has not finished.
    pub fn check_trials_file(&self) -> Result<(), RecordError> {
        let path = self.store.path();
        let Some(evidence) = &self.manifest.evidence else {
            return Err(unfinished(&self.folder.manifest()));
        };
        if evidence.files.get(&self.folder.name_of(path)) == Some(&reading::record_sha256(path)?) {
            return Ok(());
        }
        let problem = "the file was changed after the run ended; `reachspec verify` says more";
        Err(RecordError::integrity(path, problem))
    }

    /// Study, predictions and verdicts name each other by hash, and fit each other.
    fn check_links(&self) -> Result<(), RecordError> {
        let study = &self.manifest.study_sha256;
        let predictions = self.sealed.predictions();
        if predictions.study != self.study().question_hash() {
            return Err(other_study(&self.folder.predictions()));
        }
        if self.verdicts.study != *study || self.verdicts.seal != self.sealed.seal().sha256 {
            return Err(other_study(&self.folder.verdicts()));
        }
        consistency::of_predictions(self.study(), predictions)
            .map_err(|problem| unfit(&self.folder.predictions(), &problem))?;
        consistency::of_results(self.study(), predictions, &self.judgements, &self.verdicts)
            .map_err(|problem| unfit(&self.folder.verdicts(), &problem))
    }
}

/// Opening the store of a finished run would put right, and so change, what was left beside it after the end.
pub fn refuse_remains(run: &RunFolder) -> Result<(), RecordError> {
    let mut remains = ["trials.sqlite-journal", "trials.sqlite-wal"]
        .map(|name| run.root().join(name))
        .into_iter();
    match remains.find(|path| path.exists()) {
        None => Ok(()),
        Some(path) => Err(RecordError::integrity(
            &path,
            "this was added or left after the run ended; remove it where the trials are as they were: `reachspec verify` says so then",
        )),
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
    let file: VerdictsFile = reading::read_json(&path)?;
    Ok((file.judgements, file.verdicts))
}

/// A run that has not come to its end.
pub(super) fn unfinished(path: &Path) -> RecordError {
    RecordError::unusable(
        path,
        "the run has not finished; run its spec again to continue it",
    )
}

fn unfit(path: &Path, problem: &str) -> RecordError {
    let problem = format!(
        "the file does not fit the rest of the record: {problem}; restore it from a copy, or start anew with `--fresh`"
    );
    RecordError::integrity(path, problem)
}

fn other_study(path: &Path) -> RecordError {
    let problem = "the file belongs to an earlier state of this run, or to another one; run the spec again to bring the folder up to date";
    RecordError::unusable(path, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::error::ErrorKind;
    use crate::record::fixture;
    use std::fs;
    use tempfile::TempDir;

    #[test]
    fn a_finished_run_is_read_back_and_checked() {
        let parent = TempDir::new().unwrap();
        fixture::finish(parent.path(), &fixture::study());
        let record = RunRecord::load(parent.path()).unwrap();
        assert_eq!(record.study().hash(), fixture::study().hash());
        assert_eq!(record.verdicts.neurons.len(), 1);
        assert_eq!(record.store.count().unwrap(), 6);
        record.check_trials().unwrap();
        assert!(!record.folder.root().join("trials.sqlite-journal").exists());
    }

    #[test]
    fn verdicts_have_the_same_bytes_on_every_run() {
        let parents = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let [one, other] = parents.each_ref().map(|parent| {
            fixture::finish(parent.path(), &fixture::study());
            fs::read(parent.path().join("verdicts.json")).unwrap()
        });
        assert_eq!(one, other);
    }

    #[test]
    fn every_changed_byte_of_the_small_files_is_found() {
        let parent = TempDir::new().unwrap();
        fixture::finish(parent.path(), &fixture::study());
        for name in ["predictions.json", "verdicts.json"] {
            let path = parent.path().join(name);
            let bytes = fs::read(&path).unwrap();
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                fs::write(&path, &changed).unwrap();
                let error = RunRecord::load(parent.path()).err().unwrap();
                assert_eq!(
                    error.kind(),
                    ErrorKind::Integrity,
                    "{name} byte {at}: {error}"
                );
                assert!(error.to_string().contains(name), "{error}");
            }
            fs::write(&path, &bytes).unwrap();
        }
        RunRecord::load(parent.path()).unwrap();
    }

    #[test]
    fn a_trial_more_or_less_is_found() {
        let parent = TempDir::new().unwrap();
        fixture::finish(parent.path(), &fixture::study());
        let mut store = TrialStore::open_or_create(&parent.path().join("trials.sqlite")).unwrap();
        store
            .insert(&[crate::record::trial::tests::trial(77, None, "stranger")])
            .unwrap();
        drop(store);
        let error = RunRecord::load(parent.path())
            .unwrap()
            .check_trials()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        assert!(
            error.to_string().contains("6 trials then, 7 now"),
            "{error}"
        );
    }

    #[test]
    fn unfinished_runs_say_so() {
        let parent = TempDir::new().unwrap();
        fixture::finish(parent.path(), &fixture::study());
        // As after an interruption: the manifest of the new start, before its verdicts.
        let folder = RunFolder::create_or_open(parent.path()).unwrap();
        Manifest::new(&fixture::study(), &fixture::written(), 1)
            .write(&folder)
            .unwrap();
        fs::remove_file(folder.verdicts()).unwrap();
        let error = RunRecord::load(parent.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("has not finished"), "{error}");
    }

    #[test]
    fn predictions_that_were_sealed_again_without_a_neuron_are_found() {
        let parent = TempDir::new().unwrap();
        let mut predictions = fixture::predictions(&fixture::study());
        predictions.calibration.neurons.clear();
        fixture::finish_with(parent.path(), &fixture::study(), predictions);
        let error = RunRecord::load(parent.path()).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Integrity);
        let error = error.to_string();
        assert!(error.contains("L0.3 of the group"), "{error}");
        assert!(error.contains("predictions.json"), "{error}");
    }
}
