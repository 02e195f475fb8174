//! `manifest.json`: what was run, on what, by what; enough to run it again from the folder alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::changes::{self, Continuation};
use super::error::RecordError;
use super::folder::{self, RunFolder};
use super::reading;
use super::run_record::unfinished;
use super::store::StoreDigest;
use super::{canonical, clock, consistency};
use crate::study::Study;

/// Version of the run folder.
const FORMAT: u32 = 3;

/// Longest manifest of another version, in bytes, that is held against its hash.
const WHOLE: usize = 4 << 20;

/// This program and its version.
pub const PROGRAM: &str = concat!("reachspec ", env!("CARGO_PKG_VERSION"));

/// What was run, on what, by what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the run folder.
    pub format: u32,
    /// Program and version that wrote it.
    pub program: String,
    /// The spec as it was written.
    pub spec: SpecText,
    /// `--set key.path=value`, in order.
    pub overrides: Vec<String>,
    /// [`Study::hash`] of `study`.
    pub study_sha256: String,
    /// Hash of each prompt set, by name.
    pub prompts_sha256: BTreeMap<String, String>,
    /// The study, resolved: every default filled in, the model with the hashes of its files.
    pub study: Study,
    /// What the run ended with; absent until then.
    pub evidence: Option<Evidence>,
    /// What may differ from run to run without changing a result.
    pub environment: Environment,
}

/// A spec file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpecText {
    /// Name of the file, without its folder.
    pub file: String,
    /// SHA-256 of `text`, lower-case hex.
    pub sha256: String,
    /// The text, word for word.
    pub text: String,
}

/// Hashes of what a finished run holds: whoever changes a file has to change this too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// SHA-256 of every file of the record but this one, lower-case hex, by its name in the run folder.
    pub files: BTreeMap<String, String>,
    /// The trials.
    pub trials: StoreDigest,
    /// Whether one of the reports was made with templates of the user's own.
    pub own_templates: bool,
}

/// What may differ from run to run without changing a result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Where the spec was found.
    pub spec_path: String,
    /// Where the model was found.
    pub model_folder: String,
    /// Number of threads.
    pub threads: usize,
    /// Operating system.
    pub os: String,
    /// Processor architecture.
    pub arch: String,
    /// When the run was started, and continued, RFC 3339 in UTC.
    pub started_at: Vec<String>,
    /// When it ended; absent until then.
    pub finished_at: Option<String>,
    /// Seconds that its stages took, over all starts that ended in order.
    pub elapsed_seconds: f64,
}

/// What was written: the spec and the overrides of the command line.
pub struct Written<'a> {
    /// The spec file.
    pub spec_path: &'a Path,
    /// Its text.
    pub spec_text: &'a str,
    /// `--set key.path=value`, in order.
    pub overrides: &'a [String],
}

impl SpecText {
    /// A spec's text with its hash.
    pub fn new(path: &Path, text: &str) -> Self {
        let file = path.file_name().unwrap_or(path.as_os_str());
        Self {
            file: file.to_string_lossy().into_owned(),
            sha256: sha256(text.as_bytes()),
            text: text.to_owned(),
        }
    }
}

impl Manifest {
    /// The manifest of a run that starts now.
    pub fn new(study: &Study, written: &Written<'_>, threads: usize) -> Self {
        Self {
            format: FORMAT,
            program: PROGRAM.into(),
            spec: SpecText::new(written.spec_path, written.spec_text),
            overrides: written.overrides.to_vec(),
            study_sha256: study.hash(),
            prompts_sha256: hash_prompts(study),
            study: study.clone(),
            evidence: None,
            environment: Environment {
                spec_path: written.spec_path.display().to_string(),
                model_folder: study.model.folder.display().to_string(),
                threads,
                os: std::env::consts::OS.into(),
                arch: std::env::consts::ARCH.into(),
                started_at: vec![clock::now()],
                finished_at: None,
                elapsed_seconds: 0.0,
            },
        }
    }

    /// The manifest of a run that goes on now, after this one: it remembers the earlier starts.
    pub fn continued(&self, study: &Study, written: &Written<'_>, threads: usize) -> Self {
        let mut next = Self::new(study, written, threads);
        let starts = self.environment.started_at.iter().cloned();
        next.environment.started_at = starts.chain(next.environment.started_at).collect();
        next.environment.elapsed_seconds = self.environment.elapsed_seconds;
        next
    }

    /// Notes the end of a run, and what it ended with. All its files but the reports must be written, and the store closed.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn finish(
        &mut self,
        run: &RunFolder,
        trials: StoreDigest,
        seconds: f64,
    ) -> Result<(), RecordError> {
        self.evidence = Some(Evidence {
            files: run.hash_evidence()?,
            trials,
            own_templates: false,
        });
        self.environment.finished_at = Some(clock::now());
        self.environment.elapsed_seconds += seconds;
        Ok(())
    }

    /// Notes the reports of a finished run as they are now in its folder: those that were `written`, by name. The others stay what they were.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn note_reports(
        &mut self,
        run: &RunFolder,
        own_templates: bool,
        written: &dyn Fn(&str) -> bool,
    ) -> Result<(), RecordError> {
        let reports = run.hash_reports()?;
        if let Some(evidence) = &mut self.evidence {
            (evidence.files).retain(|name, _| !folder::is_report(name) || !written(name));
            let reports = reports.into_iter().filter(|(name, _)| written(name));
            evidence.files.extend(reports);
            evidence.own_templates = own_templates;
        }
        Ok(())
    }

    /// Whether another start of the same study would leave nothing to be said otherwise: by the same program, from the same spec and model.
    pub fn is_made_like(&self, other: &Manifest) -> bool {
        self.program == other.program
            && self.spec == other.spec
            && self.overrides == other.overrides
            && self.environment.model_folder == other.environment.model_folder
    }

    /// What the run ended with.
    ///
    /// # Errors
    /// If it has not finished.
    pub fn finished_evidence(&self, run: &RunFolder) -> Result<&Evidence, RecordError> {
        (self.evidence.as_ref()).ok_or_else(|| unfinished(&run.manifest()))
    }

    /// Whether one of the reports was made with templates of the user's own.
    pub fn has_own_templates(&self) -> bool {
        (self.evidence.as_ref()).is_some_and(|evidence| evidence.own_templates)
    }

    /// Writes `manifest.json`.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, run: &RunFolder) -> Result<(), RecordError> {
        let file = ManifestFile {
            sha256: canonical::hash(self),
            manifest: self.clone(),
        };
        run.write_json(&run.manifest(), &file)
    }

    /// Reads `manifest.json`; `None` when there is none.
    ///
    /// # Errors
    /// If it was written by another version of the run folder, or is not what was written.
    pub fn load(run: &RunFolder) -> Result<Option<Self>, RecordError> {
        let path = run.manifest();
        if !path.exists() {
            return Ok(None);
        }
        check_format(&path)?;
        let file: ManifestFile = reading::read_json(&path)?;
        match file.problems().first() {
            None => Ok(Some(file.into_manifest())),
            Some(problem) => Err(RecordError::integrity(&path, problem)),
        }
    }

    /// How a study relates to this one.
    pub fn compare(&self, study: &Study) -> Continuation {
        changes::compare(&self.study, study)
    }

    /// Checks the small files of a finished run against the hashes it ended with.
    ///
    /// # Errors
    /// An integrity error that names the file that was changed.
    pub fn check_files(&self, run: &RunFolder) -> Result<(), RecordError> {
        let Some(evidence) = &self.evidence else {
            return Ok(());
        };
        let gone = |path: &Path| {
            let problem =
                "the file is gone since the run ended; restore it, or start anew with `--fresh`";
            Err(RecordError::integrity(path, problem))
        };
        if !run.trials().exists() {
            return gone(&run.trials());
        }
        // Predictions that were superseded as well: nothing derives them again.
        let names = evidence.files.keys();
        let recorded = names.filter(|name| name.ends_with(".json"));
        let mut files: BTreeSet<PathBuf> = recorded.map(|name| run.root().join(name)).collect();
        files.extend(run.all_superseded());
        files.extend([run.predictions(), run.verdicts()]);
        for path in files {
            if !path.exists() {
                return gone(&path);
            }
            let now = reading::record_sha256(&path)?;
            let problem = match evidence.files.get(&run.name_of(&path)) {
                Some(recorded) if *recorded == now => continue,
                Some(_) => {
                    "the file was changed after the run ended; restore it from a copy, or start anew with `--fresh`"
                }
                None => "the file was added after the run ended; remove it",
            };
            return Err(RecordError::integrity(&path, problem));
        }
        Ok(())
    }
}

/// What `manifest.json` holds.
#[derive(Serialize, Deserialize)]
pub(super) struct ManifestFile {
    /// SHA-256 of the canonical JSON of `manifest`.
    sha256: String,
    manifest: Manifest,
}

impl ManifestFile {
    /// Everything in it that does not fit its own hashes, or the rest of it.
    pub(super) fn problems(&self) -> Vec<String> {
        let manifest = &self.manifest;
        let prompts = hash_prompts(&manifest.study);
        let parts = [
            ("the study", manifest.study.hash() == manifest.study_sha256),
            (
                "the spec",
                sha256(manifest.spec.text.as_bytes()) == manifest.spec.sha256,
            ),
            ("a prompt set", prompts == manifest.prompts_sha256),
            ("the manifest", canonical::hash(manifest) == self.sha256),
        ];
        let changed = (parts.iter())
            .filter(|(_, fits)| !fits)
            .map(|(what, _)| format!("{what} is not what was written: the file was changed"));
        let unfit = consistency::of_study(&manifest.study).err();
        let unfit = unfit.map(|problem| format!("no spec makes the study: {problem}"));
        changed.chain(unfit).collect()
    }

    /// The manifest, with its model where it was found.
    pub(super) fn into_manifest(self) -> Manifest {
        let mut manifest = self.manifest;
        manifest.study.model.folder = PathBuf::from(&manifest.environment.model_folder);
        manifest
    }
}

/// Says which version wrote the file before anything else can be wrong with it.
///
/// # Errors
/// Another version is [`RecordError::Unusable`], a changed file an integrity error.
pub(super) fn check_format(path: &Path) -> Result<(), RecordError> {
    /// Only this: of a manifest that was tampered with the rest may be anything.
    #[derive(Deserialize)]
    #[serde(rename = "manifest")]
    struct File {
        manifest: Formatted,
    }
    #[derive(Deserialize)]
    #[serde(rename = "manifest")]
    struct Formatted {
        format: u32,
        program: Option<String>,
    }
    let text = reading::read_file(path)?;
    let File { manifest } = reading::parse_json(path, &text)?;
    if manifest.format == FORMAT {
        return Ok(());
    }
    // Another version hashes itself as well; without that, the number itself was changed. As a value, a file takes many times its length.
    if text.len() <= WHOLE && !fits_its_hash(&reading::parse_json(path, &text)?) {
        let problem = "the manifest is not what was written: the file was changed";
        return Err(RecordError::integrity(path, problem));
    }
    let problem = format!(
        "this run folder has format {} and was written by {}; this program reads format {FORMAT}; use the program that wrote it, or run the spec again with --fresh",
        manifest.format,
        manifest.program.as_deref().unwrap_or("another program")
    );
    Err(RecordError::unusable(path, problem))
}

/// Whether a manifest of another version is what was written.
fn fits_its_hash(file: &serde_json::Value) -> bool {
    file["sha256"] == canonical::hash(&file["manifest"])
}

/// Hash of each prompt set, by name.
fn hash_prompts(study: &Study) -> BTreeMap<String, String> {
    (study.prompts.iter())
        .map(|(name, set)| (name.clone(), canonical::hash(set)))
        .collect()
}

fn sha256(content: &[u8]) -> String {
    canonical::hex(&Sha256::digest(content))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::error::ErrorKind;
    use crate::record::fixture::{study, written};
    use std::fs;
    use tempfile::TempDir;

    fn recorded() -> (TempDir, RunFolder) {
        let parent = TempDir::new().unwrap();
        let run = RunFolder::create_or_open(parent.path()).unwrap();
        assert!(Manifest::load(&run).unwrap().is_none());
        Manifest::new(&study(), &written(), 2).write(&run).unwrap();
        (parent, run)
    }

    #[test]
    fn the_study_comes_back_whole() {
        let (_parent, run) = recorded();
        let manifest = Manifest::load(&run).unwrap().unwrap();
        assert_eq!(manifest.study.hash(), study().hash());
        assert_eq!(manifest.study.model.folder, study().model.folder);
        assert_eq!(manifest.compare(&study()), Continuation::Same);
        assert_eq!(manifest.spec.text, written().spec_text);
        assert_eq!(manifest.spec.file, "fixture.yaml");
        assert_eq!(manifest.environment.started_at.len(), 1);
        let next = manifest.continued(&study(), &written(), 1);
        assert_eq!(next.environment.started_at.len(), 2);
    }

    #[test]
    fn tampering_is_found_wherever_a_byte_changes() {
        let (_parent, run) = recorded();
        let bytes = fs::read(run.manifest()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            fs::write(run.manifest(), &changed).unwrap();
            let error = Manifest::load(&run).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Integrity, "byte {at}: {error}");
        }
    }

    #[test]
    fn other_versions_are_named() {
        let (_parent, run) = recorded();
        let mut other = Manifest::load(&run).unwrap().unwrap();
        other.format = 9;
        other.write(&run).unwrap();
        let error = Manifest::load(&run).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(
            error.to_string().contains("format 9") && error.to_string().contains("reachspec 0"),
            "{error}"
        );
    }
}
