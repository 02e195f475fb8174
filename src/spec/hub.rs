//! Where a spec's model lies: a folder, or a repository in the local cache of the Hugging Face hub.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::model::ModelSpec;
use super::path::SpecPath;
use super::problem::Problem;
use super::written::Written;

/// Where a model was asked for.
pub enum Asked<'a> {
    /// In a folder.
    Folder(PathBuf),
    /// In the hub.
    Hub {
        /// `owner/name`.
        repository: &'a str,
        /// Commit, tag or branch.
        revision: &'a str,
    },
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
        (None, Some(_), None) => refuse(
            &path.key("hub"),
            "a hub model needs a `revision`",
            "give the commit hash, so that the study stays the same when the repository changes",
        ),
        (Some(folder), None, None) => Ok(Asked::Folder(written.folder.join(folder))),
        (None, Some(repository), Some(revision)) => Ok(Asked::Hub {
            repository,
            revision,
        }),
    }
}

impl Asked<'_> {
    /// The folder on this machine, or why there is none, with what to do.
    pub fn find(&self) -> Result<PathBuf, (String, String)> {
        match self {
            Asked::Folder(folder) if folder.is_dir() => Ok(folder.clone()),
            Asked::Folder(folder) => Err((
                format!(
                    "the model folder {} {}",
                    folder.display(),
                    why_no_folder(folder)
                ),
                "`model.path` is relative to the folder of the spec".into(),
            )),
            Asked::Hub {
                repository,
                revision,
            } => {
                let cache = cache_folder(|name| std::env::var_os(name));
                let snapshot = cache
                    .as_deref()
                    .and_then(|c| snapshot(c, repository, revision));
                snapshot.ok_or_else(|| {
                    (
                        format!("{repository} at revision {revision} is not in this machine's Hugging Face cache"),
                        format!("download it first: hf download {repository} --revision {revision}"),
                    )
                })
            }
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

/// What the model is called in records: the folder's name, or `owner/name@revision`.
pub fn model_name(spec: &ModelSpec, folder: &Path) -> String {
    if let (Some(repository), Some(revision)) = (&spec.hub, &spec.revision) {
        return format!("{repository}@{revision}");
    }
    let real = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = real
        .file_name()
        .map(|name| name.to_string_lossy().into_owned());
    name.unwrap_or_else(|| "model".into())
}

/// The hub's cache, as huggingface_hub finds it.
fn cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let set = |name: &str| {
        variable(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("HF_HUB_CACHE")
        .or_else(|| Some(set("HF_HOME")?.join("hub")))
        .or_else(|| Some(set("XDG_CACHE_HOME")?.join("huggingface/hub")))
        .or_else(|| Some(set("HOME")?.join(".cache/huggingface/hub")))
}

/// The folder of a repository's snapshot: of a commit, or of what a tag or branch pointed to when it was downloaded.
fn snapshot(cache: &Path, repository: &str, revision: &str) -> Option<PathBuf> {
    let folder = cache.join(format!("models--{}", repository.replace('/', "--")));
    let commit = |commit: &str| {
        let snapshot = folder.join("snapshots").join(commit);
        (is_inside(commit) && snapshot.is_dir()).then_some(snapshot)
    };
    commit(revision).or_else(|| {
        is_inside(revision).then_some(())?;
        let reference = std::fs::read_to_string(folder.join("refs").join(revision)).ok()?;
        commit(reference.trim())
    })
}

/// Whether a relative path stays inside the folder it is joined to.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let home = |name: &str| (name == "HOME").then(|| "/home/a".into());
        assert_eq!(
            cache_folder(home).unwrap(),
            Path::new("/home/a/.cache/huggingface/hub")
        );
        let hf_home =
            |name: &str| (name != "HF_HUB_CACHE" && name != "XDG_CACHE_HOME").then(|| "/x".into());
        assert_eq!(cache_folder(hf_home).unwrap(), Path::new("/x/hub"));
        assert_eq!(
            cache_folder(|_| Some("/y".into())).unwrap(),
            Path::new("/y")
        );
        assert_eq!(cache_folder(|_| None), None);
    }

    #[test]
    fn snapshots_are_found_by_commit_and_by_reference() {
        let cache = tempfile::tempdir().unwrap();
        let folder = cache.path().join("models--a--b");
        std::fs::create_dir_all(folder.join("snapshots/c0ffee")).unwrap();
        std::fs::create_dir_all(folder.join("refs/pr")).unwrap();
        std::fs::write(folder.join("refs/main"), "c0ffee\n").unwrap();
        std::fs::write(folder.join("refs/pr/1"), "c0ffee").unwrap();
        std::fs::write(folder.join("refs/evil"), "../../..").unwrap();
        let found = Some(folder.join("snapshots/c0ffee"));
        for (revision, expected) in [
            ("c0ffee", &found),
            ("main", &found),
            ("pr/1", &found),
            ("gone", &None),
            ("evil", &None),
            ("a/../../..", &None),
        ] {
            assert_eq!(
                &snapshot(cache.path(), "a/b", revision),
                expected,
                "{revision}"
            );
        }
    }
}
