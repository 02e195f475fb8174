//! `reachspec diff`.

use std::path::{Path, PathBuf};

use super::Failure;
use crate::record::RunRecord;
use crate::record::diff::{Difference, markdown};

/// Say what differs between two finished runs: spec, inputs, predictions, thresholds, verdicts, scores
///
/// Begins with one sentence, then has a section for each part that differs, largest changes first, as Markdown. What was measured is compared on
/// the behaviours, neurons, branches and horizons that both runs have; what only one of them has is listed. Results are deterministic, so that the
/// smallest change counts; the program's version, times, threads and places make no difference. Trials are compared by the digests in the
/// manifests, not one by one: so it says whether they differ, not which.
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Folder of the first run, such as runs/quickstart
    first: PathBuf,
    /// Folder of the second run
    second: PathBuf,
    /// Show every change instead of the largest few of each kind
    #[arg(long)]
    all: bool,
    /// Leave out changes of thresholds and predictions by no more than this, in cosθ
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = tolerance)]
    tolerance: f64,
    /// Print one JSON object with every change instead of Markdown
    #[arg(long, conflicts_with = "all")]
    json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec diff runs/quickstart runs/quickstart-2
  reachspec diff runs/before runs/after --all > difference.md
  reachspec diff runs/before runs/after --json | jq '.verdicts.neurons'

Exit codes:
  0  the runs are the same
  1  they differ
  2  wrong usage, or no finished run
  4  a folder is in use, or cannot be read
  5  a record is damaged";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let (first, second) = (load(&args.first)?, load(&args.second)?);
    let difference = Difference::between(&first, &second, args.tolerance)?;
    if args.json {
        let value = serde_json::to_value(&difference).expect("differences are plain data");
        super::print_json(&value)?;
    } else {
        let limit = (!args.all).then_some(markdown::FEW);
        super::say(markdown::markdown(&difference, limit).trim_end())?;
    }
    match difference.same {
        true => Ok(()),
        false => Err(Failure::Different),
    }
}

/// A finished run whose files are those that it ended with.
fn load(folder: &Path) -> Result<RunRecord, Failure> {
    let record = RunRecord::load_at_rest(folder)?;
    record.check_trials_file()?;
    Ok(record)
}

/// A distance in cosθ.
fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=2.0).contains(&number) => Ok(number),
        _ => Err("a distance in cosθ is a number from 0 to 2, such as 0.01".into()),
    }
}
