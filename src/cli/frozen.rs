//! `--frozen` and `--accept`: a run against the result that is committed for its study.

use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::{Failure, place, say, shell};
use crate::frozen::{Committed, Difference, differences};
use crate::record::RunRecord;
use crate::record::folder::is_of_run;
use crate::report::Rendered;
use crate::report::format::counted;
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
        match self.accept {
            true => place::refuse_in_run(&folder, "--committed"),
            false => Ok(()),
        }
    }

    /// Compares a finished run with the committed result, or makes it that.
    pub fn hold(&self, run: &Path, templates: Option<&Path>) -> Result<(), Failure> {
        let record = RunRecord::load(run)?;
        record.check_trials()?;
        let rendered = render_record(&record, templates)
            .context("the report cannot be rendered")
            .map_err(Failure::Failed)?;
        self.hold_rendered(&record, &rendered)
    }

    /// The same for a report that was rendered already.
    pub fn hold_rendered(&self, record: &RunRecord, rendered: &Rendered) -> Result<(), Failure> {
        let folder = self.folder(&record.study().name);
        let now = Committed::of(record, rendered)?;
        if self.accept {
            refuse_extended(record)?;
            // The run's own folder was perhaps not there before it.
            place::refuse_in_run(&folder, "--committed")?;
            refuse_strangers(&folder, record)?;
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
            "{} is not what the study gives now; when the change is meant, accept and commit it: {} --accept",
            folder.display(),
            shell::without(std::env::args_os(), &["--frozen"])
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

/// Nobody could make that report again: a run in one go is prospective throughout, and says so.
fn refuse_extended(record: &RunRecord) -> Result<(), Failure> {
    match record.sealed.seal().trials_before {
        0 => Ok(()),
        before => Err(Failure::Rejected(anyhow!(
            "this run was not made in one go: {} of held-out or control neurons stood in its record when the predictions were sealed, which its report says, and no other run gives that report again; make it anew with `reachspec run SPEC --fresh --accept`",
            counted(before, "rollout")
        ))),
    }
}

/// Only a committed result of the same study is replaced.
fn refuse_strangers(folder: &Path, record: &RunRecord) -> Result<(), Failure> {
    let study = &record.study().name;
    let problem = match Committed::read(folder)? {
        _ if is_of_run(folder) => "is the folder of a run".to_owned(),
        None => return Ok(()),
        Some(committed) => match committed.study() {
            Some(name) if name == *study => return Ok(()),
            Some(name) => {
                format!("holds the committed result of the study {name}, and this one is {study}")
            }
            None => "holds reports that were not committed by `--accept`: there is no frozen.json"
                .to_owned(),
        },
    };
    Err(Failure::Rejected(anyhow!(
        "{} {problem}; nothing was written: choose another folder with --committed, or remove it first",
        folder.display()
    )))
}

fn accepted(folder: &Path, changed: &[String]) -> String {
    match changed {
        [] => format!("accepted: {} was that already", folder.display()),
        changed => format!(
            "accepted: {} ({}); commit it",
            folder.display(),
            counted(changed.len(), "changed file")
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
