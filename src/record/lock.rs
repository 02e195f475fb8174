//! One process at a time writes to a run folder.
//!
//! The operating system's advisory lock decides; it vanishes with its process, so that a lock left by a killed one is simply taken
//! over. The lock file says who holds it, for the message to the second process.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::clock;
use super::error::RecordError;
use crate::files;

/// The exclusive right to write to a run folder; given back on drop.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
    /// What the file says.
    mine: String,
    left_by: Option<Holder>,
}

/// Who holds, or held, a lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Process number.
    pub pid: String,
    /// When the lock was taken.
    pub since: String,
}

impl Lock {
    /// Takes the lock of a run folder.
    ///
    /// # Errors
    /// [`RecordError::Locked`] when another process holds it, and what the operating system refuses.
    pub fn take(path: &Path) -> Result<Self, RecordError> {
        loop {
            refuse_what_is_no_file(path)?;
            let io = |source| RecordError::io("lock", path, source);
            let mut options = OpenOptions::new();
            let mut file = options
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(path)
                .map_err(io)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(refusal(path, &mut file)),
                Err(TryLockError::Error(source)) => return Err(io(source)),
            }
            let left_by = Holder::read(&mut file);
            let mine = format!("pid {}\nsince {}\n", std::process::id(), clock::now());
            file.set_len(0).and_then(|()| file.rewind()).map_err(io)?;
            file.write_all(mine.as_bytes())
                .and_then(|()| file.sync_all())
                .map_err(io)?;
            // Its last holder may have removed the file between our opening and our locking it: then this lock guards nothing.
            match fs::read(path) {
                Ok(found) if found == mine.as_bytes() => {
                    let path = path.to_owned();
                    return Ok(Self {
                        file,
                        path,
                        mine,
                        left_by,
                    });
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(io(error)),
            }
        }
    }

    /// Who holds the lock of a run folder now; nothing is written, and no lock is taken for longer than it takes to look.
    ///
    /// # Errors
    /// What the operating system refuses.
    pub fn held_by(path: &Path) -> Result<Option<Holder>, RecordError> {
        refuse_what_is_no_file(path)?;
        let io = |source| RecordError::io("look at", path, source);
        let mut file = match File::open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.map_err(io)?,
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(None),
            Err(TryLockError::WouldBlock) => Ok(Some(Holder::read_or_unknown(&mut file))),
            Err(TryLockError::Error(source)) => Err(io(source)),
        }
    }

    /// Whether the folder is still the one that was locked: its disk may have vanished, or somebody moved or removed it.
    pub fn is_in_place(&self) -> bool {
        fs::read(&self.path).is_ok_and(|found| found == self.mine.as_bytes())
    }

    /// The process that held the lock and ended without giving it back.
    pub fn left_by(&self) -> Option<&Holder> {
        self.left_by.as_ref()
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is still locked. What fails here is put right by the next holder.
        if self.is_in_place() {
            let _ = fs::remove_file(&self.path);
        }
        let _ = self.file.unlock();
    }
}

impl Holder {
    fn read_or_unknown(file: &mut File) -> Self {
        Self::read(file).unwrap_or_else(|| Self {
            pid: "unknown".into(),
            since: "unknown".into(),
        })
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.rewind()
            .and_then(|()| file.take(200).read_to_string(&mut text))
            .ok()?;
        let field = |name| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::to_owned)
        };
        Some(Self {
            pid: field("pid ")?,
            since: field("since ")?,
        })
    }
}

/// Opening a pipe would wait for somebody at its other end, and a link leads to another folder's lock.
fn refuse_what_is_no_file(path: &Path) -> Result<(), RecordError> {
    let kind = match files::not_regular(path) {
        _ if path.is_symlink() => "a symbolic link",
        Ok(Some(kind)) => kind,
        // What cannot be looked at cannot be opened either, which says why.
        _ => return Ok(()),
    };
    let problem = format!(
        "this is {kind}, not the lock of a run; remove it: the record needs neither a copy nor --fresh"
    );
    Err(RecordError::integrity(path, problem))
}

fn refusal(path: &Path, file: &mut File) -> RecordError {
    let Holder { pid, since } = Holder::read_or_unknown(file);
    let path = path.parent().unwrap_or(path).to_owned();
    RecordError::Locked { path, pid, since }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::error::ErrorKind;
    use tempfile::TempDir;

    #[test]
    fn the_second_holder_is_refused_by_name() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("run.lock");
        assert_eq!(Lock::held_by(&path).unwrap(), None);
        let first = Lock::take(&path).unwrap();
        assert_eq!(first.left_by(), None);
        let holder = Lock::held_by(&path).unwrap().unwrap();
        assert_eq!(holder.pid, std::process::id().to_string());
        let error = Lock::take(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Failed);
        let message = error.to_string();
        assert!(
            message.contains(&format!("process {}", std::process::id())),
            "{message}"
        );
        assert!(message.contains("started 20"), "{message}");
        drop(first);
        assert!(!path.exists());
        Lock::take(&path).unwrap();
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("run.lock");
        fs::write(&path, "pid 4194999\nsince 2026-01-01T00:00:00Z\n").unwrap();
        let lock = Lock::take(&path).unwrap();
        assert_eq!(lock.left_by().unwrap().pid, "4194999");
        assert!(
            fs::read_to_string(&path)
                .unwrap()
                .contains(&std::process::id().to_string())
        );
    }

    #[test]
    fn a_damaged_lock_file_is_no_obstacle() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("run.lock");
        fs::write(&path, [0xff; 500]).unwrap();
        assert_eq!(Lock::take(&path).unwrap().left_by(), None);
    }

    #[test]
    fn of_many_threads_one_holds_at_a_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("run.lock");
        let (inside, taken) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let Ok(_lock) = Lock::take(&path) else {
                            continue;
                        };
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                        taken.fetch_add(1, Ordering::SeqCst);
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert!(taken.load(Ordering::SeqCst) > 0);
    }
}
