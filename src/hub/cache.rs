//! The hub's cache on this machine, as Hugging Face's tools lay it out:
//! `models--OWNER--NAME/{refs/BRANCH, snapshots/COMMIT/FILE → ../../blobs/ETAG, .no_exist/COMMIT/FILE}`.

use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};

use super::error::Problem;
use super::files::{OPTIONAL, REQUIRED};
use super::is_commit;
use crate::model::checkpoint::{INDEX, SINGLE, read_index};

/// What a snapshot holds.
#[derive(Debug, PartialEq)]
pub enum Kept {
    /// Everything that the hub has.
    All,
    /// A model, but nobody noted whether the hub has further files that would change results.
    Enough,
    /// Not even a model: what is missing.
    TooLittle(Vec<String>),
}

/// One repository's part of the cache.
#[derive(Debug)]
pub struct RepositoryCache {
    /// The cache of all repositories.
    pub root: PathBuf,
    folder: PathBuf,
}

impl RepositoryCache {
    /// Where the environment says.
    ///
    /// # Errors
    /// There is no cache folder and no home folder.
    pub fn from_environment(repository: &str) -> Result<Self, Problem> {
        let root = cache_folder(|name| std::env::var_os(name)).ok_or(Problem::NoCacheFolder)?;
        // A relative folder is one of the current folder.
        let root = std::path::absolute(&root).map_err(|e| Problem::io(&root, e))?;
        Ok(Self::new(root, repository))
    }

    fn new(root: PathBuf, repository: &str) -> Self {
        let folder = root.join(format!("models--{}", repository.replace('/', "--")));
        Self { root, folder }
    }

    /// The folder of a commit's files.
    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// Where a file's bytes lie.
    pub fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// What a tag or branch pointed to when it was last asked for.
    pub fn reference(&self, revision: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.reference_file(revision)?).ok()?;
        let commit = text.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Notes what a tag or branch points to. A cache that cannot be written, as one that many share, goes without.
    pub fn set_reference(&self, revision: &str, commit: &str) {
        if let Some(file) = self.reference_file(revision) {
            write(&file, commit).ok();
        }
    }

    fn reference_file(&self, revision: &str) -> Option<PathBuf> {
        is_inside(revision).then(|| self.folder.join("refs").join(revision))
    }

    /// Notes that the hub has no such file at a commit, where the cache can be written.
    pub fn set_absent(&self, commit: &str, name: &str) {
        write(&self.absent(commit, name), "").ok();
    }

    fn absent(&self, commit: &str, name: &str) -> PathBuf {
        self.folder.join(".no_exist").join(commit).join(name)
    }

    /// What the snapshot of a commit holds.
    pub fn kept(&self, commit: &str) -> Kept {
        let folder = self.snapshot(commit);
        let mut missing: Vec<String> = (REQUIRED.iter())
            .filter(|name| !folder.join(name).is_file())
            .map(|name| (*name).to_owned())
            .collect();
        missing.extend(missing_weights(&folder));
        if !missing.is_empty() {
            return Kept::TooLittle(missing);
        }
        let known =
            |name: &&str| folder.join(name).is_file() || self.absent(commit, name).is_file();
        match OPTIONAL.iter().all(known) {
            true => Kept::All,
            false => Kept::Enough,
        }
    }

    /// Gives a blob that is already there its name in a snapshot. False where links are not to be had.
    pub fn link(&self, commit: &str, name: &str, etag: &str) -> Result<bool, Problem> {
        let link = self.snapshot(commit).join(name);
        #[cfg(unix)]
        {
            let folder = self.snapshot(commit);
            std::fs::create_dir_all(&folder).map_err(|e| Problem::io(&folder, e))?;
            let target = Path::new("../../blobs").join(etag);
            match std::os::unix::fs::symlink(target, &link) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(Problem::io(&link, e));
                }
                _ => {}
            }
        }
        Ok(link.is_file())
    }
}

/// The weight files that a snapshot lacks. An index that cannot be read is for the checkpoint to complain about.
fn missing_weights(folder: &Path) -> Vec<String> {
    if folder.join(SINGLE).is_file() {
        return Vec::new();
    }
    let index = folder.join(INDEX);
    if !index.is_file() {
        return vec![SINGLE.to_owned()];
    }
    let mut shards: Vec<String> = read_index(&index)
        .map(|map| map.into_values().collect())
        .unwrap_or_default();
    shards.sort();
    shards.dedup();
    shards.retain(|shard| !folder.join(shard).is_file());
    shards
}

/// Writes a small file, with its folder.
fn write(file: &Path, text: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(file.parent().unwrap_or(Path::new("")))?;
    std::fs::write(file, text)
}

/// The hub's cache, as huggingface_hub finds it.
fn cache_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    set(&variable, "HF_HUB_CACHE")
        .or_else(|| set(&variable, "HUGGINGFACE_HUB_CACHE"))
        .or_else(|| Some(home_folder(variable)?.join("hub")))
}

/// The folder of Hugging Face's tools: the cache and the token lie there.
pub fn home_folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    set(&variable, "HF_HOME")
        .or_else(|| Some(set(&variable, "XDG_CACHE_HOME")?.join("huggingface")))
        .or_else(|| Some(set(&variable, "HOME")?.join(".cache/huggingface")))
        .or_else(|| Some(set(&variable, "USERPROFILE")?.join(".cache/huggingface")))
}

fn set(variable: impl Fn(&str) -> Option<OsString>, name: &str) -> Option<PathBuf> {
    variable(name)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Whether a relative path stays inside the folder it is joined to.
pub fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && Path::new(path)
            .components()
            .all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn the_cache_is_where_the_environment_says() {
        let home = |name: &str| (name == "HOME").then(|| "/home/a".into());
        assert_eq!(
            cache_folder(home).unwrap(),
            Path::new("/home/a/.cache/huggingface/hub")
        );
        let hf_home = |name: &str| (name == "HF_HOME" || name == "HOME").then(|| "/x".into());
        assert_eq!(cache_folder(hf_home).unwrap(), Path::new("/x/hub"));
        assert_eq!(
            cache_folder(|_| Some("/y".into())).unwrap(),
            Path::new("/y")
        );
        assert_eq!(cache_folder(|_| None), None);
    }

    #[test]
    fn references_lead_to_commits_and_nowhere_else() {
        let root = tempfile::tempdir().unwrap();
        let cache = RepositoryCache::new(root.path().to_owned(), "a/b");
        let refs = root.path().join("models--a--b/refs");
        cache.set_reference("pr/1", COMMIT);
        std::fs::write(refs.join("main"), format!("{COMMIT}\n")).unwrap();
        std::fs::write(refs.join("evil"), "../../..").unwrap();
        for (revision, found) in [
            ("main", true),
            ("pr/1", true),
            ("gone", false),
            ("evil", false),
            ("a/../main", false),
        ] {
            assert_eq!(cache.reference(revision).is_some(), found, "{revision}");
        }
        cache.set_reference("../../outside", COMMIT);
        assert!(!root.path().join("outside").exists());
    }

    #[test]
    fn a_snapshot_is_complete_when_every_file_is_there_or_known_to_be_nowhere() {
        let root = tempfile::tempdir().unwrap();
        let cache = RepositoryCache::new(root.path().to_owned(), "a/b");
        let write = |name: &str, text: &str| write(&cache.snapshot(COMMIT).join(name), text);
        let missing =
            |names: &[&str]| Kept::TooLittle(names.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(
            cache.kept(COMMIT),
            missing(&["config.json", "tokenizer.json", SINGLE])
        );
        write("config.json", "").unwrap();
        write("tokenizer.json", "").unwrap();
        write(INDEX, r#"{"weight_map": {"a": "1", "b": "2", "c": "1"}}"#).unwrap();
        write("2", "").unwrap();
        assert_eq!(cache.kept(COMMIT), missing(&["1"]));
        write("1", "").unwrap();
        write("tokenizer_config.json", "").unwrap();
        assert_eq!(cache.kept(COMMIT), Kept::Enough);
        for name in OPTIONAL {
            cache.set_absent(COMMIT, name);
        }
        assert_eq!(cache.kept(COMMIT), Kept::All);
    }
}
