//! Where a spec's model lies: in a folder, or at the Hugging Face hub.

use std::path::{Path, PathBuf};

use super::model::ModelSpec;
use super::path::SpecPath;
use super::problem::Problem;
use super::written::Written;
use crate::hub::{HubModel, Network};

/// Where a model was asked for.
pub enum Asked<'a> {
    /// In a folder.
    Folder(PathBuf),
    /// At the hub.
    Hub(HubModel<'a>),
}

/// Why there is no model where it was asked for.
pub struct NotFound {
    /// The key of `model` to point at.
    pub key: &'static str,
    /// What is the matter.
    pub message: String,
    /// What to do.
    pub help: String,
    /// Whether it is the spec that is to blame.
    pub rejected: bool,
}

/// What the spec asks for, or what is wrong with its `model`.
pub fn asked(written: &Written) -> Result<Asked<'_>, Problem> {
    let spec = &written.spec.model;
    let path = SpecPath::root().key("model");
    let refuse = |path: &SpecPath, message: &str, help: &str| {
        Err(written.located.problem(path, message).help(help))
    };
    match (&spec.path, &spec.hub, &spec.revision) {
        (Some(_), Some(_), _) => refuse(
            &path.key("hub"),
            "`model` gives both `path` and `hub`",
            "give `path` for a folder, or `hub` and `revision` for a repository",
        ),
        (None, None, _) => refuse(
            &path,
            "`model` gives neither `path` nor `hub`",
            "give `path` for a folder, or `hub` and `revision` for a repository",
        ),
        (Some(_), None, Some(_)) => refuse(
            &path.key("revision"),
            "a model folder has no revision",
            "remove `revision`, or use `hub` instead of `path`",
        ),
        (Some(_), None, None) if spec.allow_moving_revision => refuse(
            &path.key("allow_moving_revision"),
            "a model folder has no revision",
            "remove `allow_moving_revision`, or use `hub` instead of `path`",
        ),
        (None, Some(_), None) => refuse(
            &path.key("hub"),
            "a hub model needs a `revision`",
            "give the commit hash, so that the study stays the same when the repository changes",
        ),
        (Some(folder), None, None) => Ok(Asked::Folder(written.folder.join(folder))),
        (None, Some(repository), Some(revision)) => Ok(Asked::Hub(HubModel {
            repository,
            revision,
            allow_moving: spec.allow_moving_revision,
        })),
    }
}

impl Asked<'_> {
    /// The folder on this machine; a model of the hub is downloaded first where the network is on.
    pub fn find(&self, network: Network) -> Result<PathBuf, NotFound> {
        match self {
            Asked::Folder(folder) if folder.is_dir() => Ok(folder.clone()),
            Asked::Folder(folder) => Err(NotFound {
                key: "path",
                message: format!(
                    "the model folder {} {}",
                    folder.display(),
                    why_no_folder(folder)
                ),
                help: "`model.path` is relative to the folder of the spec".into(),
                rejected: false,
            }),
            Asked::Hub(model) => model.locate(network).map_err(|error| NotFound {
                key: match error.is_moving() {
                    true => "revision",
                    false => "hub",
                },
                message: error.to_string(),
                help: error.help(),
                rejected: error.is_moving(),
            }),
        }
    }
}

fn why_no_folder(folder: &Path) -> &'static str {
    if folder.exists() {
        "is not a folder"
    } else {
        "does not exist"
    }
}

/// What the model is called in records: the folder's name, or `owner/name@commit`, since a snapshot's folder is named after its commit.
pub fn model_name(spec: &ModelSpec, folder: &Path) -> String {
    let real = match spec.hub {
        Some(_) => folder.to_owned(),
        None => folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
    };
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    let name = name.unwrap_or_else(|| "model".into());
    match &spec.hub {
        Some(repository) => format!("{repository}@{name}"),
        None => name,
    }
}
