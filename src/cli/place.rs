//! Where a command may write what the user names: not over evidence, nor over what is something else.

use std::path::Path;

use anyhow::anyhow;

use super::Failure;
use crate::record::folder::{is_of_run, run_around};

/// Refuses what lies within the folder of a run; `what` is to be chosen anew.
///
/// # Errors
/// [`Failure::Rejected`].
pub fn refuse_in_run(place: &Path, what: &str) -> Result<(), Failure> {
    match run_around(place) {
        None => Ok(()),
        Some(run) => Err(Failure::Rejected(anyhow!(
            "{} lies in the run folder {}, whose files are evidence; choose another {what}",
            place.display(),
            run.display()
        ))),
    }
}

/// Refuses a place in the folder of `run` or of any other one, and a file that is there unless it is one `of_kind`; `other` says what it is
/// then, and what to do.
///
/// # Errors
/// [`Failure::Rejected`].
pub fn refuse(
    out: &Path,
    run: Option<&Path>,
    of_kind: impl Fn(&Path) -> bool,
    other: &str,
) -> Result<(), Failure> {
    // A link leads on to its file.
    let place = out.canonicalize().unwrap_or_else(|_| out.to_owned());
    let folder = match place.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let Ok(folder) = folder.canonicalize() else {
        // Creating the file will say what is wrong.
        return Ok(());
    };
    let of_this_run = run
        .and_then(|run| run.canonicalize().ok())
        .is_some_and(|run| folder.starts_with(run));
    if of_this_run || folder.ancestors().take(2).any(is_of_run) || run_around(&place).is_some() {
        return Err(Failure::Rejected(anyhow!(
            "{} lies in the folder of a run, whose files are evidence; choose another place",
            out.display()
        )));
    }
    if place.is_file() && !of_kind(&place) {
        return Err(Failure::Rejected(anyhow!(
            "{} is there already, and {other}, or remove the file",
            out.display()
        )));
    }
    Ok(())
}
