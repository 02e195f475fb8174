//! Paths of a run folder, and how its files are replaced.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::canonical;
use super::error::RecordError;
use super::finite;
pub use super::layout::render as render_json;
use super::lock::{Holder, Lock};
use crate::{fault, files};

/// A folder with the record of one run.
#[derive(Debug)]
pub struct RunFolder {
    root: PathBuf,
    lock: Option<Lock>,
}

/// Temporary files begin with this, so that those of a killed process can be told and removed.
const TEMPORARY: &str = ".reachspec-";

/// The folder of the figures.
const FIGURES: &str = "figures";
/// Longer files are none of ours: a million rollouts take 200 MB and their texts, verdicts some 5 kB for each neuron and behaviour.
const LONGEST: u64 = 256 << 30;

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
    /// If it holds something else, another process is writing to it, or the operating system refuses.
    pub fn create_or_open(root: &Path) -> Result<Self, RecordError> {
        fs::create_dir_all(root).map_err(|e| RecordError::io("create", root, e))?;
        let folder = Self {
            root: root.to_owned(),
            lock: None,
        };
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
    /// If it is no run folder.
    pub fn open(root: &Path) -> Result<Self, RecordError> {
        let folder = Self {
            root: root.to_owned(),
            lock: None,
        };
        if !root.is_dir() {
            let problem = "there is no such folder; give the folder that `reachspec run` wrote, such as runs/quickstart";
            return Err(RecordError::unusable(root, problem));
        }
        if !folder.manifest().is_file() {
            let problem = "this is no run folder: it has no file manifest.json; give the folder that `reachspec run` wrote";
            return Err(RecordError::unusable(root, problem));
        }
        Ok(folder)
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
        let superseded = (1..).map(|number| self.superseded_predictions(number));
        let mut files: Vec<PathBuf> = superseded.take_while(|path| path.exists()).collect();
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
        present.extend(
            (1..)
                .map(|n| self.superseded_predictions(n))
                .take_while(|path| path.exists()),
        );
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
        if self.manifest().exists() {
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

    /// A link in the place of a file of the record would take what is written there to another place.
    fn refuse_links(&self) -> Result<(), RecordError> {
        const STORE: [&str; 4] = [
            "run.lock",
            "trials.sqlite-journal",
            "trials.sqlite-wal",
            "trials.sqlite-shm",
        ];
        let names = RECORD.iter().chain(&STORE);
        names
            .map(|name| self.root.join(name))
            .try_for_each(|path| refuse_link(&path))
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

/// Refuses a symbolic link where a file, or the folder of figures, is written.
///
/// # Errors
/// If the path is a link, wherever it leads.
pub fn refuse_link(path: &Path) -> Result<(), RecordError> {
    match path.is_symlink() {
        false => Ok(()),
        true => Err(RecordError::unusable(
            path,
            "this is a symbolic link, which leads out of the folder; remove it, or move what it leads to into its place",
        )),
    }
}

/// Whether a folder holds the record of a run, finished or not. Many folders have a `manifest.json`.
pub fn is_of_run(folder: &Path) -> bool {
    folder.join("trials.sqlite").is_file()
}

/// Whether a file of the record, by its name in the folder, is a report or a figure of one.
pub fn is_report(name: &str) -> bool {
    let figure = name.strip_prefix("figures/");
    ["report.md", "report.html"].contains(&name) || figure.is_some_and(|f| f.ends_with(".svg"))
}

/// Refuses what has the name of a file of the record and is none: a pipe would be waited for, a device has no end, and what is as long as a
/// disk takes hours to read.
///
/// # Errors
/// An integrity error; or what the operating system refuses.
pub fn check_is_file(path: &Path) -> Result<(), RecordError> {
    let io = |e| RecordError::io("read", path, e);
    let found = match files::not_regular(path).map_err(io)? {
        None => match fs::metadata(path).map_err(io)?.len() {
            0..=LONGEST => return Ok(()),
            length => format!("has {length} bytes, more than a run's"),
        },
        Some(kind) => format!("is {kind}"),
    };
    let problem = format!(
        "this {found}: not the file that reachspec wrote; restore that from a copy, or start anew with `--fresh`"
    );
    Err(RecordError::integrity(path, problem))
}

/// Opens a file of the record.
///
/// # Errors
/// As [`check_is_file`], and if it cannot be opened.
pub fn open_file(path: &Path) -> Result<File, RecordError> {
    check_is_file(path)?;
    File::open(path).map_err(|e| RecordError::io("read", path, e))
}

/// Reads a file of the record.
///
/// # Errors
/// As [`open_file`].
pub fn read_file(path: &Path) -> Result<Vec<u8>, RecordError> {
    let mut content = Vec::new();
    let mut file = open_file(path)?;
    (file.read_to_end(&mut content)).map_err(|e| RecordError::io("read", path, e))?;
    Ok(content)
}

/// What a JSON file of the record says, or the parts of it that are wanted.
///
/// # Errors
/// An integrity error that says where it cannot be read.
pub fn parse_json<T: DeserializeOwned>(path: &Path, content: &[u8]) -> Result<T, RecordError> {
    serde_json::from_slice(content).map_err(|e| {
        let problem = format!(
            "the file was changed or cut off: {e}; restore it from a copy, or start anew with `--fresh`"
        );
        RecordError::integrity(path, problem)
    })
}

/// SHA-256 of a file's bytes, lower-case hex, read piece by piece.
///
/// # Errors
/// If it cannot be read.
pub fn file_sha256(path: &Path) -> Result<String, RecordError> {
    let error = |e| RecordError::io("read", path, e);
    let mut file = files::open(path).map_err(error)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0; 1 << 18];
    loop {
        match file.read(&mut piece).map_err(error)? {
            0 => return Ok(canonical::hex(&hasher.finalize())),
            length => hasher.update(&piece[..length]),
        }
    }
}

/// SHA-256 of a file of the record.
///
/// # Errors
/// As [`open_file`].
pub fn record_sha256(path: &Path) -> Result<String, RecordError> {
    check_is_file(path)?;
    file_sha256(path)
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

/// Reads a JSON file that [`render_json`] wrote, and checks that it is still the same byte for byte.
///
/// # Errors
/// An I/O error, or an integrity error that says what does not fit.
pub fn read_json<T: Serialize + DeserializeOwned>(path: &Path) -> Result<T, RecordError> {
    let bytes = read_file(path)?;
    let value: T = parse_json(path, &bytes)?;
    if render_json(&value).as_bytes() == bytes {
        return Ok(value);
    }
    let problem =
        "the file is not as reachspec wrote it: it was edited, or written by another version";
    Err(RecordError::integrity(path, problem))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::error::ErrorKind;
    use tempfile::TempDir;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_new_folder_is_made_locked_and_left_clean() {
        let parent = TempDir::new().unwrap();
        let root = parent.path().join("runs/a");
        let folder = RunFolder::create_or_open(&root).unwrap();
        let second = RunFolder::create_or_open(&root).unwrap_err();
        assert!(matches!(second, RecordError::Locked { .. }), "{second}");
        folder.write(&folder.manifest(), b"{}").unwrap();
        folder
            .write(&folder.figures().join("a.svg"), b"<svg/>")
            .unwrap();
        drop(folder);
        assert_eq!(names(&root), ["figures", "manifest.json"]);
        RunFolder::create_or_open(&root).unwrap();
    }

    #[test]
    fn files_are_replaced_whole_with_ordinary_permissions() {
        let parent = TempDir::new().unwrap();
        let folder = RunFolder::create_or_open(parent.path()).unwrap();
        let path = folder.report_md();
        folder.write(&path, b"long old content").unwrap();
        folder.write(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let plain = parent.path().join("plain");
            fs::write(&plain, "").unwrap();
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode(&path), mode(&plain));
        }
    }

    #[test]
    fn a_file_is_replaced_when_it_is_whole_and_not_before() {
        let parent = TempDir::new().unwrap();
        let path = parent.path().join("table.csv");
        let failed = replace_with(&path, |file| {
            file.write_all(b"half")?;
            Err(io::Error::other("stop"))
        });
        assert_eq!(failed.unwrap_err().to_string(), "stop");
        assert!(names(parent.path()).is_empty());
        for content in [b"old", b"new"] {
            replace_with(&path, |file| file.write_all(content)).unwrap();
            assert_eq!(fs::read(&path).unwrap(), content);
        }
        assert_eq!(names(parent.path()), ["table.csv"]);
        let folder = replace_with(parent.path(), |file| file.write_all(b"x"));
        folder.unwrap_err();
    }

    #[cfg(unix)]
    #[test]
    fn links_and_devices_stay_what_they_are() {
        let parent = TempDir::new().unwrap();
        let [file, link] = ["file", "link"].map(|name| parent.path().join(name));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        replace_with(&link, |file| file.write_all(b"new")).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        replace_with(Path::new("/dev/null"), |file| file.write_all(b"x")).unwrap();
        assert!(!Path::new("/dev/null").is_file());
    }

    #[cfg(unix)]
    #[test]
    fn links_in_a_run_folder_are_not_followed() {
        let parent = TempDir::new().unwrap();
        let elsewhere = parent.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        for name in ["precious", "windows-1-x.svg", ".reachspec-old"] {
            fs::write(elsewhere.join(name), "mine").unwrap();
        }
        for name in RECORD
            .into_iter()
            .chain(["run.lock", "trials.sqlite-journal"])
        {
            for target in ["precious", "nothing", ""] {
                let root = parent.path().join("run");
                fs::create_dir(&root).unwrap();
                fs::write(root.join("manifest.json"), "{}").unwrap();
                let link = root.join(name);
                let _ = fs::remove_file(&link);
                std::os::unix::fs::symlink(elsewhere.join(target), &link).unwrap();
                let refused = RunFolder::create_or_open(&root).unwrap_err().to_string();
                // A dangling or a wrong manifest is said to be no manifest.
                let said = refused.contains("symbolic link") || name == "manifest.json";
                assert!(
                    said && refused.contains(&root.display().to_string()),
                    "{name}: {refused}"
                );
                if name == FIGURES {
                    let folder = RunFolder::open(&root).unwrap();
                    folder
                        .write(&folder.figures().join("windows-1-x.svg"), b"x")
                        .unwrap_err();
                }
                fs::remove_dir_all(&root).unwrap();
            }
        }
        assert_eq!(
            names(&elsewhere),
            [".reachspec-old", "precious", "windows-1-x.svg"]
        );
        for name in names(&elsewhere) {
            assert_eq!(fs::read(elsewhere.join(name)).unwrap(), b"mine");
        }
        // A file that is a link is replaced, not what it leads to.
        let folder = RunFolder::create_or_open(&parent.path().join("other")).unwrap();
        std::os::unix::fs::symlink(elsewhere.join("precious"), folder.report_md()).unwrap();
        folder.write(&folder.report_md(), b"report").unwrap();
        assert!(!folder.report_md().is_symlink());
        assert_eq!(fs::read(elsewhere.join("precious")).unwrap(), b"mine");
    }

    #[test]
    fn what_a_killed_process_left_is_cleaned_up() {
        let parent = TempDir::new().unwrap();
        fs::write(parent.path().join(".reachspec-x1y2"), "half").unwrap();
        fs::write(parent.path().join("run.lock"), "pid 1\nsince then\n").unwrap();
        let folder = RunFolder::create_or_open(parent.path()).unwrap();
        assert_eq!(folder.left_by().unwrap().pid, "1");
        assert_eq!(names(parent.path()), ["run.lock"]);
    }

    #[test]
    fn folders_of_something_else_are_left_alone() {
        let parent = TempDir::new().unwrap();
        fs::write(parent.path().join("thesis.tex"), "").unwrap();
        let error = RunFolder::create_or_open(parent.path()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("thesis.tex"), "{error}");
        assert_eq!(names(parent.path()), ["thesis.tex"]);
        assert_eq!(
            RunFolder::open(parent.path()).unwrap_err().kind(),
            ErrorKind::Usage
        );
        let missing = RunFolder::open(&parent.path().join("nothing")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::Usage);
        let file = RunFolder::create_or_open(&parent.path().join("thesis.tex")).unwrap_err();
        assert_eq!(file.kind(), ErrorKind::Failed);
    }

    #[test]
    fn fresh_sets_the_record_aside() {
        let parent = TempDir::new().unwrap();
        let folder = RunFolder::create_or_open(parent.path()).unwrap();
        assert_eq!(folder.set_record_aside().unwrap(), None);
        for round in 1..=2 {
            folder.write(&folder.manifest(), b"{}").unwrap();
            folder
                .write(&folder.superseded_predictions(1), b"{}")
                .unwrap();
            let aside = folder.set_record_aside().unwrap().unwrap();
            assert_eq!(aside, parent.path().join(format!("superseded-{round}")));
            assert_eq!(
                names(&aside),
                ["manifest.json", "predictions.superseded-1.json"]
            );
        }
        drop(folder);
        RunFolder::create_or_open(parent.path()).unwrap();
    }

    #[test]
    fn json_comes_back_only_as_it_was_written() {
        let parent = TempDir::new().unwrap();
        let folder = RunFolder::create_or_open(parent.path()).unwrap();
        let path = folder.verdicts();
        let value = vec![0.1, 1e-300, 2.0 / 3.0, -0.0];
        folder.write_json(&path, &value).unwrap();
        assert_eq!(read_json::<Vec<f64>>(&path).unwrap(), value);
        let text = fs::read_to_string(&path).unwrap();
        for changed in [
            text.replace("0.1", "0.10"),
            text.replace("0.1", "x"),
            format!("{text} "),
            String::new(),
        ] {
            fs::write(&path, changed).unwrap();
            assert_eq!(
                read_json::<Vec<f64>>(&path).unwrap_err().kind(),
                ErrorKind::Integrity
            );
        }
        let error = folder.write_json(&path, &[Some(f64::NAN)]).unwrap_err();
        assert!(
            error.to_string().contains("[0] is not a finite number"),
            "{error}"
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_full_disk_is_said_to_be_full() {
        // Writing to this device always fails as on a full disk.
        let error = fs::write("/dev/full", "x").unwrap_err();
        let error = RecordError::io("write", Path::new("/dev/full"), error);
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert!(error.to_string().contains("free some space"), "{error}");
    }
}
