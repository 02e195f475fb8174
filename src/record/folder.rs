//! Paths of a run folder, and how its files are replaced.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::error::RecordError;
use super::finite;
pub use super::layout::render as render_json;
use super::lock::{Holder, Lock};
use super::reading::{check_is_file, record_sha256};
use super::store::TrialStore;
use crate::fault;

/// A folder with the record of one run.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    lock: Option<Lock>,
}

/// Temporary files begin with this, so that those of a killed process can be told and removed.
const TEMPORARY: &str = ".reachspec-";

/// Longest path of a file, in bytes, that SQLite opens on Unix: its journal's takes 8 more, and 512 is the most.
const LONGEST_STORE_PATH: usize = 504;

/// What is wrong with a symbolic link in a run folder, and what to do.
pub const LINK: &str = "this is a symbolic link, and links are not followed here; remove it, or move what it leads to into its place";

/// The folder of the figures.
const FIGURES: &str = "figures";
/// The files that `--fresh` sets aside.
const RECORD: [&str; 7] = [
    "manifest.json",
    "predictions.json",
    "trials.sqlite",
    "verdicts.json",
    "report.md",
    "report.html",
    FIGURES,
];

impl RunFolder {
    /// Opens a folder for a run, creates it where there is none, and takes its lock.
    ///
    /// # Errors
    /// If it holds something else, its path is too long, another process is writing to it, or the operating system refuses.
    pub fn create_or_open(root: &Path) -> Result<Self, RecordError> {
        let folder = Self {
            root: root.to_owned(),
            lock: None,
        };
        folder.refuse_long_path()?;
        fs::create_dir_all(root).map_err(|e| RecordError::io("create", root, e))?;
        folder.refuse_strangers()?;
        folder.refuse_links()?;
        let lock = Lock::take(&root.join("run.lock"))?;
        folder.remove_temporary_files()?;
        Ok(Self {
            lock: Some(lock),
            ..folder
        })
    }

    /// Opens the folder of a run that exists, without its lock: to read it, or to render its report again.
    ///
    /// # Errors
    /// If it is no run folder, or lacks its manifest.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        let folder = Self {
            root: root.to_owned(),
            lock: None,
        };
        refuse_unreadable(&[root, &folder.manifest()])?;
        if !root.is_dir() {
            let problem = "there is no such folder; give the folder that `reachspec run` wrote, such as runs/quickstart";
            return Err(RecordError::unusable(root, problem));
        }
        if !folder.manifest().is_file() {
            folder.refuse_without_manifest()?;
            let problem = "this is no run folder: it has no file manifest.json; give the folder that `reachspec run` wrote";
            return Err(RecordError::unusable(root, problem));
        }
        Ok(folder)
    }

    /// Refuses a folder in which SQLite could not open the trials: it would only say that it cannot.
    ///
    /// # Errors
    /// [`RecordError::Unusable`] with the length of the path, and what to do.
    pub fn refuse_long_path(&self) -> Result<(), RecordError> {
        let length = resolved(&self.trials()).as_os_str().len();
        if !cfg!(unix) || length <= LONGEST_STORE_PATH {
            return Ok(());
        }
        let problem = format!(
            "the path is too long for SQLite: that of trials.sqlite in it, from the root on, has {length} bytes, of {LONGEST_STORE_PATH} at most; choose a shorter --out, or move the run to where its path is shorter"
        );
        Err(RecordError::unusable(&self.root, problem))
    }

    /// Refuses a folder with the trials of a run, and without its manifest.
    ///
    /// # Errors
    /// An integrity error with what to do.
    pub fn refuse_without_manifest(&self) -> Result<(), RecordError> {
        let path = self.manifest();
        if path.is_file() || !TrialStore::is_at(&self.trials()) {
            return Ok(());
        }
        self.refuse_links()?;
        if path.exists() {
            return check_is_file(&path);
        }
        let problem = "the manifest is gone, and the trials of its run are there; restore it from a copy, or start anew with `--fresh`";
        Err(RecordError::integrity(&path, problem))
    }

    /// The symbolic links in the folder and among its figures, sorted.
    ///
    /// # Errors
    /// If they cannot be listed.
    pub fn links(&self) -> Result<Vec<PathBuf>, RecordError> {
        let mut links = links_in(&self.root)?;
        let figures = self.figures();
        if figures.is_dir() && !figures.is_symlink() {
            links.extend(links_in(&figures)?);
        }
        links.sort();
        Ok(links)
    }

    /// Refuses a folder that holds links: what is written there would go to another place, and what is read may be anybody's.
    ///
    /// # Errors
    /// An integrity error that names the first, or what the operating system refuses.
    pub fn refuse_links(&self) -> Result<(), RecordError> {
        match self.links()?.first() {
            None => Ok(()),
            Some(link) => Err(RecordError::integrity(link, LINK)),
        }
    }

    /// The process that was killed while it wrote to this folder, if one was.
    pub fn left_by(&self) -> Option<&Holder> {
        self.lock.as_ref()?.left_by()
    }

    /// Refuses a folder that a process is writing to now.
    ///
    /// # Errors
    /// [`RecordError::Locked`] with the process, and what the operating system refuses.
    pub fn refuse_in_use(&self) -> Result<(), RecordError> {
        match Lock::held_by(&self.root.join("run.lock"))? {
            None => Ok(()),
            Some(Holder { pid, since }) => Err(RecordError::Locked {
                path: self.root.clone(),
                pid,
                since,
            }),
        }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What was run, on what, by what.
    pub fn manifest(&self) -> PathBuf {
        self.root.join("manifest.json")
    }

    /// The sealed predictions.
    pub fn predictions(&self) -> PathBuf {
        self.root.join("predictions.json")
    }

    /// Sealed predictions that later ones have replaced, counted from 1.
    pub fn superseded_predictions(&self, number: usize) -> PathBuf {
        self.root
            .join(format!("predictions.superseded-{number}.json"))
    }

    /// All sealed predictions that later ones have replaced, as far as they are there.
    pub fn all_superseded(&self) -> impl Iterator<Item = PathBuf> {
        let numbered = (1..).map(|number| self.superseded_predictions(number));
        numbered.take_while(|path| path.exists())
    }

    /// The trial store.
    pub fn trials(&self) -> PathBuf {
        self.root.join("trials.sqlite")
    }

    /// Judgements and verdicts.
    pub fn verdicts(&self) -> PathBuf {
        self.root.join("verdicts.json")
    }

    /// The Markdown report.
    pub fn report_md(&self) -> PathBuf {
        self.root.join("report.md")
    }

    /// The HTML report.
    pub fn report_html(&self) -> PathBuf {
        self.root.join("report.html")
    }

    /// Figures of the Markdown report.
    pub fn figures(&self) -> PathBuf {
        self.root.join(FIGURES)
    }

    /// The name of a file in the folder, with `/` between its parts.
    pub fn name_of(&self, path: &Path) -> String {
        let relative = path.strip_prefix(&self.root).unwrap_or(path);
        let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
        parts.join("/")
    }

    /// SHA-256 of every file of the record but the manifest and the reports, by name.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn hash_evidence(&self) -> Result<BTreeMap<String, String>, RecordError> {
        let mut files: Vec<PathBuf> = self.all_superseded().collect();
        files.extend([self.predictions(), self.trials(), self.verdicts()]);
        self.hash(files)
    }

    /// SHA-256 of the reports and their figures, by name; of those that are there.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn hash_reports(&self) -> Result<BTreeMap<String, String>, RecordError> {
        let mut files = vec![self.report_md(), self.report_html()];
        if let Ok(entries) = fs::read_dir(self.figures()) {
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        files.retain(|path| is_report(&self.name_of(path)) && path.is_file());
        self.hash(files)
    }

    fn hash(&self, files: Vec<PathBuf>) -> Result<BTreeMap<String, String>, RecordError> {
        (files.iter())
            .map(|path| Ok((self.name_of(path), record_sha256(path)?)))
            .collect()
    }

    /// Moves the record into a folder `superseded-N` beside the new one: `--fresh` destroys no evidence. `None` where there is none.
    pub fn set_record_aside(&self) -> Result<Option<PathBuf>, RecordError> {
        let mut present: Vec<PathBuf> = RECORD.iter().map(|name| self.root.join(name)).collect();
        present.push(self.root.join("trials.sqlite-journal"));
        present.extend(self.all_superseded());
        present.retain(|path| path.exists());
        if present.is_empty() {
            return Ok(None);
        }
        let aside = (1..)
            .map(|n| self.root.join(format!("superseded-{n}")))
            .find(|path| !path.exists())
            .expect("there are more numbers than folders");
        fs::create_dir(&aside).map_err(|e| RecordError::io("create", &aside, e))?;
        // The manifest goes first: without it, what remains is no run.
        for path in present {
            let name = path.file_name().expect("made of names");
            fault::point();
            fs::rename(&path, aside.join(name)).map_err(|e| RecordError::io("move", &path, e))?;
        }
        Ok(Some(aside))
    }

    /// Replaces a file of the record: after a crash it is the old one or the new one, never a part.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<(), RecordError> {
        if self.lock.as_ref().is_some_and(|lock| !lock.is_in_place()) {
            return Err(RecordError::Vanished {
                path: self.root.clone(),
            });
        }
        let folder = path.parent().unwrap_or(&self.root);
        if folder.file_name().is_some_and(|name| name == FIGURES) {
            refuse_link(folder)?;
        }
        fs::create_dir_all(folder).map_err(|e| RecordError::io("create", folder, e))?;
        replace(folder, path, |file| file.write_all(content))
            .map_err(|e| RecordError::io("write", path, e))
    }

    /// Replaces a JSON file; see [`render_json`].
    pub fn write_json<T: Serialize>(&self, path: &Path, value: &T) -> Result<(), RecordError> {
        finite::check(value).map_err(|place| {
            let problem = format!("cannot be written: {place} is not a finite number; this is a fault of the study or of the program");
            RecordError::Number { path: path.to_owned(), problem }
        })?;
        self.write(path, render_json(value).as_bytes())
    }

    fn refuse_strangers(&self) -> Result<(), RecordError> {
        // A link that leads nowhere is said to be a link; and a run that has lost its manifest can begin anew.
        let manifest = self.manifest();
        if manifest.exists() || manifest.is_symlink() || TrialStore::is_at(&self.trials()) {
            return Ok(());
        }
        let io = |e| RecordError::io("list", &self.root, e);
        for entry in fs::read_dir(&self.root).map_err(io)? {
            let name = entry.map_err(io)?.file_name();
            let name = name.to_string_lossy();
            if !(name == "run.lock"
                || name.starts_with(TEMPORARY)
                || name.starts_with("superseded-"))
            {
                let problem = format!(
                    "this is no run folder, and it holds {name}; choose an empty or a new folder with --out"
                );
                return Err(RecordError::unusable(&self.root, problem));
            }
        }
        Ok(())
    }

    /// Removes what a killed process left half written. Only under the lock.
    fn remove_temporary_files(&self) -> Result<(), RecordError> {
        for folder in [self.root.clone(), self.figures()] {
            let Ok(entries) = fs::read_dir(&folder) else {
                continue;
            };
            for entry in entries.flatten() {
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    fs::remove_file(entry.path())
                        .map_err(|e| RecordError::io("remove", &entry.path(), e))?;
                }
            }
        }
        Ok(())
    }
}

/// Refuses what may not be looked at: it is there, and says nothing of what it holds.
fn refuse_unreadable(paths: &[&Path]) -> Result<(), RecordError> {
    let refused = paths.iter().find_map(|path| {
        let error = fs::metadata(path).err()?;
        (error.kind() == io::ErrorKind::PermissionDenied).then_some((path, error))
    });
    match refused {
        None => Ok(()),
        Some((path, error)) => Err(RecordError::io("read", path, error)),
    }
}

/// Refuses a symbolic link where a file, or the folder of figures, is written.
///
/// # Errors
/// If the path is a link, wherever it leads.
pub fn refuse_link(path: &Path) -> Result<(), RecordError> {
    match path.is_symlink() {
        false => Ok(()),
        true => Err(RecordError::unusable(path, LINK)),
    }
}

/// The symbolic links right in a folder.
fn links_in(folder: &Path) -> Result<Vec<PathBuf>, RecordError> {
    let io = |e| RecordError::io("list", folder, e);
    let mut links = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_symlink() {
            links.push(path);
        }
    }
    Ok(links)
}

/// A path from the root on, without the links in as much of it as is there.
fn resolved(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let there = (path.ancestors()).find_map(|part| Some((part, part.canonicalize().ok()?)));
    match there.and_then(|(part, real)| Some((path.strip_prefix(part).ok()?, real))) {
        Some((rest, real)) if !rest.as_os_str().is_empty() => real.join(rest),
        Some((_, real)) => real,
        None => path,
    }
}

/// Whether a folder holds the record of a run, finished or not. Many folders have a `manifest.json`.
pub fn is_of_run(folder: &Path) -> bool {
    folder.join("trials.sqlite").is_file()
}

/// The run folder in which a place lies, however deep; a run folder itself lies in none.
pub fn run_around(place: &Path) -> Option<PathBuf> {
    let place = resolved(place);
    let mut above = place.ancestors().skip(1);
    // Farther up, trials alone may be anything.
    let run = above.find(|folder| is_of_run(folder) && folder.join("manifest.json").is_file());
    run.map(Path::to_owned)
}

/// Whether a file of the record, by its name in the folder, is a report or a figure of one.
pub fn is_report(name: &str) -> bool {
    let figure = name.strip_prefix("figures/");
    ["report.md", "report.html"].contains(&name) || figure.is_some_and(|f| f.ends_with(".svg"))
}

/// Replaces a file with what `write` writes: after a failure or a crash it is the old one or the new one, never a part. What is no file,
/// such as a pipe, is written to; of a link, the file that it leads to is replaced.
///
/// # Errors
/// Those of `write`, and what the operating system refuses.
pub fn replace_with<E: From<io::Error>>(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    if path.exists() && !path.is_file() {
        return write(&mut File::options().write(true).open(path)?);
    }
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => replace(folder, &path, write),
        _ => replace(Path::new("."), &path, write),
    }
}

/// Writes to a temporary file in the same folder, and renames it when it is on disk.
fn replace<E: From<io::Error>>(
    folder: &Path,
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), E>,
) -> Result<(), E> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(TEMPORARY);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As any new file: the user's mask decides, rather than the privacy of temporary files.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    fault::point();
    write(file.as_file_mut())?;
    file.as_file().sync_all()?;
    fault::point();
    file.persist(path).map_err(|failed| failed.error)?;
    fault::point();
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    Ok(())
}
