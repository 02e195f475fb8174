//! Derives a finished run again, from its folder and the files of its model, and compares: nothing is written, and weights are loaded only
//! to make rollouts again.
//!
//! | check | what is compared | needs |
//! |---|---|---|
//! | `manifest` | the manifest, its study, spec and prompt sets with their hashes | |
//! | `files` | the bytes of every other file with the manifest | manifest |
//! | `seal` | the predictions with the hash that was sealed, and with the study | |
//! | `trials` | every rollout with its key, all of them with their digest | |
//! | `model` | the model's files with their hashes | manifest |
//! | `texts` | every rollout's text with its tokens | tokenizer |
//! | `calibration`, `predictions` | what the calibration rollouts, and the predictors on them, give | everything above |
//! | `judgements` | every rollout judged again; none is missing, none belongs to nothing | everything above |
//! | `verdicts` | `verdicts.json`, byte for byte | judgements |
//! | `reports` | the reports and figures, rendered again | verdicts |
//! | `rerun` | where it is asked for: rollouts, made again | manifest, predictions, weights |

mod derived;
pub mod difference;
mod evidence;
mod judged;
mod model;
mod reports;
mod rerun;

use std::path::{Path, PathBuf};

use serde::Serialize;

pub use rerun::Rerun;

use super::error::RecordError;
use super::folder::RunFolder;
use super::manifest::Manifest;
use super::store::TrialStore;
use crate::model::ModelError;
use crate::model::tokenizer::TextCodec;
use crate::stages::predict::SealedPredictions;
use rerun::Made;

/// What was compared, and what does not hold.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verification {
    /// In the order of the table above.
    pub checks: Vec<Check>,
}

/// One comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name, one word.
    pub name: &'static str,
    /// What came of it.
    pub result: Outcome,
    /// What was compared, with counts; or why nothing was.
    pub compared: String,
    /// What does not hold: the first few.
    pub problems: Vec<Problem>,
    /// How many more problems there are.
    pub more_problems: usize,
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that was compared is the same.
    Ok,
    /// Something is not.
    Failed,
    /// It could not be compared.
    NotCompared,
}

/// One thing that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file: its name in the run folder, or the path of a model file.
    pub file: String,
    /// What differs, with both values where there are two.
    pub problem: String,
}

/// Why a run cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// It is no finished run, is in use, or cannot be read.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The model's folder is not where it was.
    #[error(
        "{}: there is no tokenizer.json, and judging the rollouts again needs it; say with `--model DIR` where the model is",
        folder.display()
    )]
    NoTokenizer {
        /// Where it was looked for.
        folder: PathBuf,
    },
    /// The tokenizer is the one of the run, and cannot be read; or the model cannot be loaded to make rollouts again.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// Rollouts were to be made again, and there is no whole model.
    #[error(
        "rollouts cannot be made again; say with `--model DIR` where the model is, or leave out `--rerun`"
    )]
    Weights(#[source] ModelError),
    /// The model failed on a rollout.
    #[error("a rollout could not be made again")]
    Rerun(#[source] anyhow::Error),
}

impl Verification {
    /// Whether nothing was found that does not hold.
    pub fn holds(&self) -> bool {
        self.count(Outcome::Failed) == 0
    }

    /// How many checks ended so.
    pub fn count(&self, result: Outcome) -> usize {
        let checks = self.checks.iter();
        checks.filter(|check| check.result == result).count()
    }

    /// Adds a check, and hands on what it gave.
    fn add<T>(&mut self, (check, value): (Check, T)) -> T {
        self.checks.push(check);
        value
    }
}

impl Check {
    /// Most problems of a check that are told.
    const MOST: usize = 5;

    fn new(name: &'static str) -> Self {
        Self {
            name,
            result: Outcome::Ok,
            compared: String::new(),
            problems: Vec::new(),
            more_problems: 0,
        }
    }

    fn not_compared(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            result: Outcome::NotCompared,
            ..Self::new(name).of(why)
        }
    }

    /// Says what was compared.
    fn of(self, compared: impl Into<String>) -> Self {
        let compared = compared.into();
        Self { compared, ..self }
    }

    fn problem(&mut self, file: impl Into<String>, problem: impl Into<String>) {
        self.result = Outcome::Failed;
        if self.problems.len() == Self::MOST {
            self.more_problems += 1;
            return;
        }
        self.problems.push(Problem {
            file: file.into(),
            problem: problem.into(),
        });
    }

    /// Takes down a failure of the record's files.
    fn failure(&mut self, run: &RunFolder, error: &RecordError) {
        let (file, problem) = match error {
            RecordError::Integrity { path, problem } | RecordError::Unusable { path, problem } => {
                (run.name_of(path), problem.clone())
            }
            RecordError::Store { path, .. } | RecordError::Io { path, .. } => {
                (run.name_of(path), whole(error))
            }
            other => (run.name_of(run.root()), whole(other)),
        };
        self.problem(file, problem);
    }
}

/// An error with its causes.
fn whole(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// What the checks of derived figures start from: the parts of a record that are as they were written.
struct Intact {
    manifest: Manifest,
    sealed: SealedPredictions,
    store: TrialStore,
    text: TextCodec,
}

/// Verifies a run. `model` is the folder of its model, where that is not where the run found it. With `rerun`, rollouts are made again.
///
/// # Errors
/// Only where nothing can be said: no finished run, one in use, no tokenizer, or no weights to make rollouts again. What does not hold
/// stands in the result.
pub fn verify(
    root: &Path,
    model: Option<&Path>,
    rerun: Option<Rerun<'_>>,
) -> Result<Verification, VerifyError> {
    let run = RunFolder::open(root)?;
    run.refuse_long_path()?;
    run.refuse_in_use()?;
    let mut found = Verification::default();
    let manifest = found.add(evidence::manifest(&run)?);
    found.checks.push(evidence::files(&run, manifest.as_ref())?);
    let sealed = found.add(evidence::seal(&run, manifest.as_ref())?);
    let store = found.add(evidence::trials(&run, manifest.as_ref())?);
    let text = match &manifest {
        None => {
            let why = "which model it was stands in the manifest";
            found.add((Check::not_compared("model", why), None))
        }
        Some(manifest) => {
            let folder = model.unwrap_or(&manifest.study.model.folder);
            match model::files(&manifest.study, folder) {
                // Without a model there is enough to say where something was changed.
                Err(error) if !found.holds() => {
                    found.add((Check::not_compared("model", error.to_string()), None))
                }
                checked => found.add(checked?),
            }
        }
    };
    let made = made(manifest.as_ref(), sealed.as_ref(), store.as_ref());
    let parts = (manifest, sealed, store, text);
    let intact = match parts {
        (Some(manifest), Some(sealed), Some(store), Some(text)) => Some(Intact {
            manifest,
            sealed,
            store,
            text,
        }),
        _ => None,
    };
    found.checks.extend(derive(&run, intact));
    if let Some(mut rerun) = rerun {
        let check = make_again(&run, model, made, &mut rerun, found.holds())?;
        found.checks.push(check);
    }
    Ok(found)
}

/// What is needed to make rollouts again, where it is as it was written.
fn made(
    manifest: Option<&Manifest>,
    sealed: Option<&SealedPredictions>,
    store: Option<&TrialStore>,
) -> Option<Made> {
    store?;
    Some(Made {
        study: manifest?.study.clone(),
        groups: sealed?.predictions().screening.groups.clone(),
    })
}

/// Makes rollouts again. Where something else does not hold, a failure to do so is no reason to keep that back.
fn make_again(
    run: &RunFolder,
    model: Option<&Path>,
    made: Option<Made>,
    asked: &mut Rerun<'_>,
    holds: bool,
) -> Result<Check, VerifyError> {
    let Some(made) = made else {
        let why = "what the rollouts were made from is not as it was written";
        return Ok(Check::not_compared("rerun", why));
    };
    let folder = model.unwrap_or(&made.study.model.folder);
    match rerun::rerun(run, &made, folder, asked) {
        Err(error) if !holds => Ok(Check::not_compared("rerun", whole(&error))),
        checked => checked,
    }
}

/// The checks of what was derived, as far as its foundations go.
fn derive(run: &RunFolder, intact: Option<Intact>) -> Vec<Check> {
    const NAMES: [&str; 6] = [
        "texts",
        "calibration",
        "predictions",
        "judgements",
        "verdicts",
        "reports",
    ];
    let Some(intact) = intact else {
        let why = "what it is derived from is not as it was written";
        return NAMES.map(|name| Check::not_compared(name, why)).into();
    };
    let mut checks = vec![
        derived::texts(run, &intact),
        derived::calibration(run, &intact),
        derived::predictions(&intact),
    ];
    let (check, judgements) = judged::judgements(run, &intact);
    checks.push(check);
    let (check, answer) = derived::verdicts(run, &intact, judgements);
    checks.push(check);
    checks.push(reports::reports(run, intact, answer));
    checks
}
