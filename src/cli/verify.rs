//! `reachspec verify`.

use std::path::PathBuf;

use anyhow::anyhow;
use serde_json::json;

use super::Failure;
use super::progress::{self, Events};
use super::resources::ResourceArgs;
use crate::record::verify::{Check, Outcome, Rerun, Verification, VerifyError, verify};
use crate::report::text::visible;

/// Derive a finished run again from its trials, and compare every figure, hash and file
///
/// Seal, predictions, judgements, verdicts and reports are computed anew from what the run folder holds, with the tokenizer of the model;
/// its weights are hashed where they are, and not loaded. Nothing is written.
///
/// With --rerun the weights are loaded too, and rollouts are made again: all of them, which takes about as long as the run did, or a sample. In f32
/// on a processor tokens, likelihoods and cosθ have to be the same to the bit; elsewhere, where the last bits may depend on the batch, the
/// tokens.
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
    /// Load the model's weights, make the rollouts again, and compare them with those of the run
    #[arg(long)]
    rerun: bool,
    /// Make only N rollouts again, spread over calibration, held-out and control neurons and the unsteered model; always the same ones
    #[arg(long, value_name = "N", requires = "rerun", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
    #[command(flatten)]
    resources: ResourceArgs,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec verify runs/quickstart
  reachspec verify runs/quickstart --model specs/models/bilingual --json
  reachspec verify runs/quickstart --rerun --sample 200

Exit codes:
  0  everything that was compared is the same
  2  no finished run
  3  the tokenizer of the model, or with --rerun its weights, were not found or cannot be used
  4  the folder is in use, or cannot be read; or the model failed
  5  something is not the same; each difference names its file";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let found = verified(&args)?;
    if args.json {
        let run = args.run.display().to_string();
        let value = json!({"run": run, "holds": found.holds(), "checks": found.checks});
        super::print_json(&value)?;
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

fn verified(args: &Args) -> Result<Verification, Failure> {
    let model = args.model.as_deref();
    if !args.rerun {
        if args.resources.is_given() {
            let problem = "--threads and --memory are for making rollouts; add --rerun";
            return Err(Failure::Rejected(anyhow!(problem)));
        }
        return Ok(verify(&args.run, model, None)?);
    }
    let (mut listener, _) = progress::listener(Events::Human);
    let rerun = Rerun {
        sample: args.sample.map(|count| count as usize),
        resources: args.resources.get(),
        listener: &mut *listener,
    };
    Ok(verify(&args.run, model, Some(rerun))?)
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
        let (file, problem) = (visible(&problem.file), visible(&problem.problem));
        text += &format!("\n       {file}: {problem}");
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
            VerifyError::NoTokenizer { .. } | VerifyError::Model(_) | VerifyError::Weights(_) => {
                Failure::Unusable(error.into())
            }
            VerifyError::Rerun(_) => Failure::Failed(error.into()),
        }
    }
}
