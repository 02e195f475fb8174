//! `--frozen` and `--accept`: a run against the result that is committed for its study.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Failure, say};
use crate::frozen::{Committed, Difference, differences};
use crate::record::RunRecord;
use crate::report::Rendered;
use crate::report::from_record::render_record;

/// What to do with the committed result.
#[derive(clap::Args)]
pub struct FrozenArgs {
    /// Compare report, verdicts and seal with those that are committed, and fail (5) with what differs.
    #[arg(long, conflicts_with = "accept")]
    frozen: bool,
    /// Make the result the committed one.
    #[arg(long)]
    accept: bool,
    /// Folder of the committed result [default: reports/<name of the study>].
    #[arg(long, value_name = "DIR")]
    committed: Option<PathBuf>,
}

impl FrozenArgs {
    /// Whether there is anything to do.
    pub fn wanted(&self) -> bool {
        self.frozen || self.accept
    }

    /// Refuses before a long run what would be refused after it.
    pub fn check(&self, study: &str) -> Result<(), Failure> {
        let folder = self.folder(study);
        if self.committed.is_some() && !self.wanted() {
            let error = anyhow!(
                "--committed names the folder that --frozen compares with, or --accept writes to: add one of them"
            );
            return Err(Failure::Rejected(error));
        }
        if self.frozen {
            self.read(&folder)?;
        }
        Ok(())
    }

    /// Compares a finished run with the committed result, or makes it that. `command` is what to run again to accept it.
    pub fn hold(&self, run: &Path, templates: Option<&Path>, command: &str) -> Result<(), Failure> {
        let record = RunRecord::load(run)?;
        record.check_trials()?;
        let rendered = render_record(&record, templates)
            .context("the report cannot be rendered")
            .map_err(Failure::Failed)?;
        self.hold_rendered(&record, &rendered, command)
    }

    /// The same for a report that was rendered already.
    pub fn hold_rendered(
        &self,
        record: &RunRecord,
        rendered: &Rendered,
        command: &str,
    ) -> Result<(), Failure> {
        let folder = self.folder(&record.study().name);
        let now = Committed::of(record, rendered)?;
        if self.accept {
            let changed = now.write(record, &folder)?;
            return say(accepted(&folder, &changed));
        }
        let found = differences(&self.read(&folder)?, &now);
        if found.is_empty() {
            return say(format_args!(
                "frozen: {} is what the study gives, byte for byte",
                folder.display()
            ));
        }
        found
            .iter()
            .try_for_each(|difference| say(lines(difference)))?;
        Err(Failure::Integrity(anyhow!(
            "{} is not what the study gives now; when the change is meant, accept and commit it: reachspec {command} --accept",
            folder.display()
        )))
    }

    fn read(&self, folder: &Path) -> Result<Committed, Failure> {
        Committed::read(folder)?.ok_or_else(|| {
            Failure::Rejected(anyhow!(
                "nothing is committed in {}; the same command with --accept in the place of --frozen writes it there, or say with --committed where it is",
                folder.display()
            ))
        })
    }

    fn folder(&self, study: &str) -> PathBuf {
        let usual = || Path::new("reports").join(study);
        self.committed.clone().unwrap_or_else(usual)
    }
}

fn accepted(folder: &Path, changed: &[String]) -> String {
    match changed {
        [] => format!("accepted: {} was that already", folder.display()),
        changed => format!(
            "accepted: {} ({}); commit it",
            folder.display(),
            crate::report::format::counted(changed.len(), "changed file")
        ),
    }
}

fn lines(difference: &Difference) -> String {
    let mut text = format!("{:14} {}", difference.what, difference.summary);
    for line in &difference.details {
        text += &format!("\n    {line}");
    }
    text
}
