//! The runs in a folder, at a glance: from manifests and counts. Nothing is written, no rollout is read, and whether a record holds is for
//! `verify` to say.

use std::fs::{self, File};
use std::io::ErrorKind::PermissionDenied;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::error::{ErrorKind, RecordError};
use super::folder::RunFolder;
use super::lock::Lock;
use super::manifest::Manifest;
use super::reading;
use super::store::TrialStore;
use crate::events::BehaviorCounts;
use crate::report::summary::counts_of;
use crate::spec::summary;
use crate::stages::verdict::NeuronVerdict;

/// A manifest names its program within so many bytes.
const BEGINNING: u64 = 4096;

/// One run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedRun {
    /// The run folder.
    pub folder: PathBuf,
    /// What is known of its end.
    pub state: State,
    /// The process that writes to it now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<String>,
    /// What its manifest says; absent when it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ListedManifest>,
    /// Rollouts in its store; absent when they cannot be counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored: Option<usize>,
    /// Held-out neurons by behaviour, of a finished run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub behaviors: Vec<BehaviorCounts>,
    /// SHA-256 of the sealed predictions, once there are any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seal: Option<String>,
    /// What is wrong with it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What is known of the end of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It has come to its end.
    Finished,
    /// It has not, and nobody is at it.
    Interrupted,
    /// A process is at it now.
    Running,
    /// Another version of the program wrote it.
    OtherVersion,
    /// A file is not what was written.
    Damaged,
    /// A file may not be read.
    Unreadable,
}

/// What a manifest says, as far as a list shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ListedManifest {
    /// Name of the study.
    pub study: String,
    /// Program and version.
    pub program: String,
    /// When the run was started, and continued, RFC 3339 in UTC.
    pub started_at: Vec<String>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Rollouts that the study needs, at most.
    pub planned: usize,
}

/// Every run right under a folder, or the folder itself where it is a run; the one that was started last comes first. What is no run is left
/// out.
///
/// # Errors
/// If the folder cannot be listed.
pub fn list(folder: &Path) -> Result<Vec<ListedRun>, RecordError> {
    if is_run(folder) {
        return Ok(vec![look_at(folder)]);
    }
    let io = |e| RecordError::io("list", folder, e);
    let mut runs = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if is_run(&path) {
            runs.push(look_at(&path));
        }
    }
    runs.sort_by(|a, b| {
        (b.last_start().cmp(&a.last_start())).then_with(|| a.folder.cmp(&b.folder))
    });
    Ok(runs)
}

impl ListedRun {
    fn last_start(&self) -> Option<&str> {
        self.manifest
            .as_ref()?
            .started_at
            .last()
            .map(String::as_str)
    }
}

/// Whether reachspec wrote a folder, even if its manifest is damaged or gone.
fn is_run(folder: &Path) -> bool {
    let manifest = folder.join("manifest.json");
    if !manifest.is_file() {
        return TrialStore::is_at(&folder.join("trials.sqlite"));
    }
    let mut beginning = Vec::new();
    let read = File::open(&manifest).and_then(|f| f.take(BEGINNING).read_to_end(&mut beginning));
    let named = String::from_utf8_lossy(&beginning).contains("reachspec ");
    (read.is_ok() && named) || folder.join("trials.sqlite").is_file()
}

fn look_at(path: &Path) -> ListedRun {
    let mut run = ListedRun {
        folder: path.to_owned(),
        state: State::Interrupted,
        pid: None,
        manifest: None,
        stored: None,
        behaviors: Vec::new(),
        seal: None,
        problem: None,
    };
    if let Err(error) = fill(&mut run) {
        run.state = match (error.kind(), &error) {
            (ErrorKind::Usage, _) => State::OtherVersion,
            (_, RecordError::Io { source, .. }) if source.kind() == PermissionDenied => {
                State::Unreadable
            }
            _ => State::Damaged,
        };
        let mut problem = error.to_string();
        if run.state == State::Damaged && !problem.contains("--fresh") {
            problem += "; restore it from a copy, or run its spec again with --fresh";
        }
        run.problem = Some(problem);
    }
    run
}

fn fill(run: &mut ListedRun) -> Result<(), RecordError> {
    let folder = RunFolder::open(&run.folder)?;
    let holder = Lock::held_by(&run.folder.join("run.lock"))?;
    run.pid = holder.map(|holder| holder.pid);
    let manifest = Manifest::load(&folder)?;
    let Some(manifest) = manifest else {
        return Err(RecordError::unusable(
            &run.folder,
            "it has no manifest.json",
        ));
    };
    run.manifest = Some(ListedManifest {
        study: manifest.study.name.clone(),
        program: manifest.program.clone(),
        started_at: manifest.environment.started_at.clone(),
        finished_at: manifest.environment.finished_at.clone(),
        planned: summary::size(&manifest.study).trials,
    });
    match (&run.pid, &manifest.evidence) {
        (Some(_), _) => {
            run.state = State::Running;
            run.stored = TrialStore::glimpse(&folder.trials());
            run.seal = seal_of(&folder);
        }
        (None, None) => {
            run.stored = TrialStore::glimpse(&folder.trials());
            run.seal = seal_of(&folder);
        }
        (None, Some(evidence)) => {
            run.stored = Some(evidence.trials.trials);
            let verdicts = read::<VerdictsFile>(&folder.verdicts())?.verdicts;
            let names = manifest.study.behaviors.iter().map(|b| &b.name);
            run.behaviors = names
                .map(|name| counts_of(name, &verdicts.neurons))
                .collect();
            run.seal = Some(verdicts.seal);
            run.state = State::Finished;
        }
    }
    Ok(())
}

/// The seal of a run that has not ended; none before it is sealed.
fn seal_of(folder: &RunFolder) -> Option<String> {
    let path = folder.predictions();
    let file = path.is_file().then(|| read::<PredictionsFile>(&path))?;
    Some(file.ok()?.seal.sha256)
}

/// The parts of a JSON file that are wanted; the rest is passed over.
fn read<T: DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    reading::parse_json(path, &reading::read_file(path)?)
}

#[derive(Deserialize)]
struct VerdictsFile {
    verdicts: VerdictsPart,
}

#[derive(Deserialize)]
struct VerdictsPart {
    seal: String,
    neurons: Vec<NeuronVerdict>,
}

#[derive(Deserialize)]
struct PredictionsFile {
    seal: SealPart,
}

#[derive(Deserialize)]
struct SealPart {
    sha256: String,
}

#[cfg(test)]
mod tests;
