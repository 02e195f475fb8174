//! The files against their hashes.

use std::fs;

use super::{Check, Outcome};
use crate::record::consistency;
use crate::record::error::{ErrorKind, RecordError};
use crate::record::folder::{LINK, RunFolder, render_json};
use crate::record::manifest::{self, Manifest, ManifestFile};
use crate::record::reading::{parse_json, read_file, record_sha256};
use crate::record::run_record::unfinished;
use crate::record::store::TrialStore;
use crate::report::format::{counted, thousands};
use crate::stages::predict::SealedPredictions;
use crate::units::bytes;

/// The manifest, as far as it can be read.
///
/// # Errors
/// If it is of another version, cannot be read, or says that the run has not finished.
pub fn manifest(run: &RunFolder) -> Result<(Check, Option<Manifest>), RecordError> {
    let mut check = Check::new("manifest");
    let file = match read_manifest(run, &mut check) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::Integrity => {
            check.failure(run, &error);
            return Ok((check.of("a manifest"), None));
        }
        Err(error) => return Err(error),
    };
    for problem in file.problems() {
        check.problem("manifest.json", problem);
    }
    let manifest = file.into_manifest();
    if manifest.evidence.is_none() && check.result == Outcome::Ok {
        return Err(unfinished(&run.manifest()));
    }
    let compared = format!(
        "study {}, its spec and {} under their hashes; made by {}",
        short(&manifest.study_sha256),
        counted(manifest.study.prompts.len(), "prompt set"),
        manifest.program
    );
    // A study that does not fit its hash, or itself, is nothing to derive from.
    let intact = manifest.study.hash() == manifest.study_sha256
        && consistency::of_study(&manifest.study).is_ok();
    Ok((check.of(compared), intact.then_some(manifest)))
}

fn read_manifest(run: &RunFolder, check: &mut Check) -> Result<ManifestFile, RecordError> {
    let path = run.manifest();
    manifest::check_format(&path)?;
    let content = read_file(&path)?;
    let file: ManifestFile = parse_json(&path, &content)?;
    if render_json(&file).as_bytes() != content {
        check.problem("manifest.json", "the file is not as reachspec wrote it");
    }
    Ok(file)
}

/// Every other file of the record.
///
/// # Errors
/// If one cannot be read.
pub fn files(run: &RunFolder, manifest: Option<&Manifest>) -> Result<Check, RecordError> {
    let Some(evidence) = manifest.and_then(|manifest| manifest.evidence.as_ref()) else {
        return Ok(Check::not_compared(
            "files",
            "their hashes stand in the manifest",
        ));
    };
    let mut check = Check::new("files");
    for link in run.links()? {
        check.problem(run.name_of(&link), LINK);
    }
    let mut size = 0;
    for (name, recorded) in &evidence.files {
        let path = run.root().join(name);
        if path.is_symlink() {
            continue;
        }
        match fs::metadata(&path) {
            Ok(found) => {
                size += found.len();
                match record_sha256(&path) {
                    Ok(hash) if hash == *recorded => {}
                    Ok(_) => check.problem(name, "the file was changed after the run ended"),
                    Err(error @ RecordError::Io { .. }) => return Err(error),
                    Err(error) => check.failure(run, &error),
                }
            }
            _ => check.problem(name, "the file is gone since the run ended"),
        }
    }
    for path in run.all_superseded() {
        let name = run.name_of(&path);
        if !evidence.files.contains_key(&name) {
            check.problem(name, "the file was added after the run ended");
        }
    }
    if journal(run) {
        let problem = "a transaction was left half done after the run ended: a process that was killed, or a file that was added";
        check.problem("trials.sqlite-journal", problem);
    }
    for name in ["trials.sqlite-wal", "trials.sqlite-shm"] {
        if run.root().join(name).exists() {
            let problem = "reachspec keeps no write-ahead log: another program has opened the trials for writing";
            check.problem(name, problem);
        }
    }
    let compared = format!(
        "{}, {}, byte for byte what the run ended with",
        counted(evidence.files.len(), "file"),
        bytes(size as usize)
    );
    Ok(check.of(compared))
}

/// The predictions behind their seal, if they are those that were sealed for this study.
///
/// # Errors
/// If the file cannot be read.
pub fn seal(
    run: &RunFolder,
    manifest: Option<&Manifest>,
) -> Result<(Check, Option<SealedPredictions>), RecordError> {
    let mut check = Check::new("seal");
    let sealed = match SealedPredictions::load(run) {
        Ok(sealed) => sealed,
        Err(error @ RecordError::Io { .. }) => return Err(error),
        Err(error) => {
            check.failure(run, &error);
            return Ok((check.of("predictions"), None));
        }
    };
    let seal = sealed.seal();
    let compared = format!(
        "{} of {}; by the run's own word sealed {} after {} of other than calibration neurons",
        short(&seal.sha256),
        counted(sealed.predictions().forecasts.len(), "forecast"),
        seal.sealed_at,
        counted(seal.trials_before, "rollout"),
    );
    let of_study = manifest.is_none_or(|m| m.study.question_hash() == sealed.predictions().study);
    if !of_study {
        check.problem("predictions.json", "the predictions are of another study");
    }
    let unfit = manifest.filter(|_| of_study).and_then(|manifest| {
        consistency::of_predictions(&manifest.study, sealed.predictions()).err()
    });
    if let Some(problem) = &unfit {
        check.problem(
            "predictions.json",
            format!("the predictions do not fit their study: {problem}"),
        );
    }
    let intact = of_study && unfit.is_none();
    Ok((check.of(compared), intact.then_some(sealed)))
}

/// The trials; the store is handed on where it can be opened.
///
/// # Errors
/// If the file cannot be read.
pub fn trials(
    run: &RunFolder,
    manifest: Option<&Manifest>,
) -> Result<(Check, Option<TrialStore>), RecordError> {
    let mut check = Check::new("trials");
    if journal(run) {
        // Opening the store would put it right, and change it.
        return Ok((Check::not_compared("trials", "see files"), None));
    }
    let store = match TrialStore::open_read_only(&run.trials()) {
        Ok(store) => store,
        Err(error) => {
            check.failure(run, &error);
            return Ok((check.of("rollouts"), None));
        }
    };
    let compared = match store.check() {
        Err(error) => {
            check.failure(run, &error);
            "rollouts under their keys".to_owned()
        }
        Ok(found) => {
            let evidence = manifest.and_then(|manifest| manifest.evidence.as_ref());
            if let Some(ended) = evidence.map(|evidence| &evidence.trials)
                && *ended != found
            {
                let problem = format!(
                    "the trials or their judgements were changed after the run ended: {} then, digest {}; {} now, digest {}",
                    thousands(ended.trials),
                    short(&ended.sha256),
                    thousands(found.trials),
                    short(&found.sha256)
                );
                check.problem("trials.sqlite", problem);
            }
            format!(
                "{} under their keys, digest {}",
                counted(found.trials, "rollout"),
                short(&found.sha256)
            )
        }
    };
    Ok((check.of(compared), Some(store)))
}

fn journal(run: &RunFolder) -> bool {
    run.root().join("trials.sqlite-journal").exists()
}

/// The first digits of a hash.
fn short(sha256: &str) -> String {
    sha256.chars().take(12).chain(['…']).collect()
}
