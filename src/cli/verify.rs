//! `reachspec verify`.

use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::json;

use super::Failure;
use crate::record::verify::{Check, Outcome, Verification, VerifyError, verify};

/// Derive a finished run again from its trials, and compare every figure, hash and file
///
/// Seal, predictions, judgements, verdicts and reports are computed anew from what the run folder holds, with the tokenizer of the model;
/// its weights are hashed where they are, and not loaded. Nothing is written.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Folder of the run, such as runs/quickstart
    run: PathBuf,
    /// Folder of the model, when it is no longer where the run found it
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Print one JSON object instead of lines
    #[arg(long)]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec verify runs/quickstart
  reachspec verify runs/quickstart --model specs/models/bilingual --json

Exit codes:
  0  everything that was compared is the same
  2  no finished run
  3  the tokenizer of the model was not found, or cannot be used
  4  the folder is in use, or cannot be read
  5  something is not the same; each difference names its file";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let found = verify(&args.run, args.model.as_deref())?;
    if args.json {
        let run = args.run.display().to_string();
        let value = json!({"run": run, "holds": found.holds(), "checks": found.checks});
        super::say(format_args!("{value:#}"))?;
    } else {
        found
            .checks
            .iter()
            .try_for_each(|check| super::say(lines(check)))?;
    }
    let failed = found.count(Outcome::Failed);
    if failed > 0 {
        return Err(Failure::Integrity(anyhow!(
            "{} does not hold: {failed} of {} checks failed",
            args.run.display(),
            found.checks.len()
        )));
    }
    if args.json {
        return Ok(());
    }
    super::say(conclusion(&found))
}

/// One line, and one for each problem.
fn lines(check: &Check) -> String {
    let word = match check.result {
        Outcome::Ok => "ok",
        Outcome::Failed => "FAIL",
        Outcome::NotCompared => "--",
    };
    let mut text = format!("{word:4} {:11} {}", check.name, check.compared);
    for problem in &check.problems {
        text += &format!("\n       {}: {}", problem.file, problem.problem);
    }
    if check.more_problems > 0 {
        text += &format!("\n       and {} more", check.more_problems);
    }
    text
}

fn conclusion(found: &Verification) -> String {
    let held = format!("{} checks hold", found.count(Outcome::Ok));
    match found.count(Outcome::NotCompared) {
        0 => format!("the record holds: all {held}"),
        skipped => format!("the record holds: {held}, {skipped} could not be made"),
    }
}

impl From<VerifyError> for Failure {
    fn from(error: VerifyError) -> Self {
        match error {
            VerifyError::Record(error) => error.into(),
            VerifyError::NoTokenizer { .. } | VerifyError::Model(_) => {
                Failure::Unusable(error.into())
            }
        }
    }
}
