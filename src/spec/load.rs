//! The one way from a spec file to a study: what `check` accepts is what `run` runs.

use std::path::Path;

use super::hub::{self, Asked};
use super::path::SpecPath;
use super::problem::{Problem, SpecError};
use super::resolve::resolve;
use super::target::SpecTarget;
use super::written::Written;
use crate::hub::Network;
use crate::model::{ModelError, ModelHeader};
use crate::study::Study;

/// A study with the spec and the model it was made from.
#[derive(Debug)]
pub struct Loaded<T = ModelHeader> {
    /// The study.
    pub study: Study,
    /// What is perhaps not meant so.
    pub warnings: Vec<Problem>,
    /// The model, without its weights.
    pub header: T,
    /// The text of the spec file.
    pub spec_text: String,
    /// SHA-256 of the spec file's bytes, lower-case hex.
    pub spec_sha256: String,
}

/// Why a spec cannot be run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The spec is rejected.
    #[error("{0}")]
    Spec(SpecError),
    /// The spec is well-formed, but its model cannot be used.
    #[error("{0}")]
    Model(SpecError),
}

impl From<SpecError> for LoadError {
    fn from(error: SpecError) -> Self {
        match error.of_model {
            true => Self::Model(error),
            false => Self::Spec(error),
        }
    }
}

impl LoadError {
    /// The report for a person; `colour` for a terminal.
    pub fn render(&self, colour: bool) -> String {
        match self {
            LoadError::Spec(error) | LoadError::Model(error) => error.render(colour),
        }
    }
}

/// Reads a spec, changes it by `--set` arguments (`key.path=value`), finds its model, downloading it from the hub where
/// it is not in the cache (unless `HF_HUB_OFFLINE` is set), and resolves it.
///
/// # Errors
/// Every problem of the spec at once, each with its place; or why the model cannot be used.
pub fn load_study(path: &Path, settings: &[String]) -> Result<Loaded, LoadError> {
    let network = Network::from_environment();
    load_with(path, settings, network, ModelHeader::read)
}

/// The same with another way to read the model's folder, and perhaps without the network, so that tests need no model.
pub fn load_with<T: SpecTarget>(
    path: &Path,
    settings: &[String],
    network: Network,
    read: impl FnOnce(&Path) -> Result<T, ModelError>,
) -> Result<Loaded<T>, LoadError> {
    let written = Written::read(path, settings).map_err(LoadError::Spec)?;
    let asked = hub::asked(&written).map_err(|p| LoadError::Spec(written.error(vec![p])))?;
    let error = |key: &str, message: String, help: String| {
        let path = SpecPath::root().key("model").key(key);
        written.error(vec![written.located.problem(&path, message).help(help)])
    };
    let folder = asked.find(network).map_err(|problem| {
        let error = error(problem.key, problem.message, problem.help);
        match problem.rejected {
            true => LoadError::Spec(error),
            false => LoadError::Model(error),
        }
    })?;
    let header = read(&folder).map_err(|problem| {
        let key = match asked {
            Asked::Folder(_) => "path",
            Asked::Hub(_) => "hub",
        };
        let message = format!(
            "the model in {} cannot be used: {problem}",
            folder.display()
        );
        let help = "`reachspec inspect` says more about a model folder";
        LoadError::Model(error(key, message, help.into()))
    })?;
    let (study, warnings) = resolve(&written, &folder, &header)?;
    Ok(Loaded {
        study,
        warnings,
        header,
        spec_text: written.text().to_owned(),
        spec_sha256: written.sha256,
    })
}
