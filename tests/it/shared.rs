//! Models from outside the repository, where they are.

use std::path::{Path, PathBuf};

/// A folder under `shared/models`, which lies beside the repository or where `REACHSPEC_SHARED` says. None, and a line that says so,
/// where it is absent: the caller then returns, as there is nothing to test.
pub fn model(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("REACHSPEC_SHARED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared"),
        PathBuf::from,
    );
    let folder = shared.join("models").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: there is no {}", folder.display());
    None
}
