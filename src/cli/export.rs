//! `reachspec export`.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::ValueEnum;

use super::{Failure, place};
use crate::record::RunRecord;
use crate::record::export::{ExportError, Format, Table, export};
use crate::record::folder::replace_with;

/// Write a table of a finished run for other tools
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Folder of the run, such as runs/quickstart
    run: PathBuf,
    /// Which table
    #[arg(long, value_enum, default_value_t = Table::Trials)]
    table: Table,
    /// In which format; when absent, what the ending of --out says, else jsonl
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// File to write; standard output when absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec export runs/quickstart | head -1
  reachspec export runs/quickstart --out trials.parquet
  reachspec export runs/quickstart --table verdicts --format csv --out verdicts.csv

docs/export.md in reachspec's repository lists every column with its type, unit and meaning; `reachspec schema export` prints a JSON
schema of the rows. The same trials can be read with SQL: sqlite3 runs/quickstart/trials.sqlite 'SELECT * FROM trial_view LIMIT 3'
With `report: {redact: true}` in the spec, prompts and rollouts are left out.";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let format = format(args.format, args.out.as_deref());
    if args.out.is_none() {
        refuse_terminal(format, io::stdout().is_terminal())?;
    }
    let record = RunRecord::load_at_rest(&args.run)?;
    record.check_trials()?;
    let result = match &args.out {
        None => export(&record, args.table, format, io::stdout()),
        Some(path) => {
            let other = "by its name no table; choose a name that ends in .jsonl, .csv or .parquet";
            place::refuse(path, Some(&args.run), is_table, other)?;
            replace_with(path, |file| export(&record, args.table, format, file))
        }
    };
    match result {
        Ok(()) => Ok(()),
        // Whoever reads has seen enough, as with `| head`.
        Err(ExportError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(ExportError::Record(error)) => Err(error.into()),
        Err(ExportError::Write(error)) => {
            let place = match args.out {
                Some(path) => format!("{}; choose another place with --out", path.display()),
                None => "standard output".into(),
            };
            let error =
                Err::<(), _>(error).with_context(|| format!("cannot write the table to {place}"));
            error.map_err(Failure::Failed)
        }
        Err(error @ ExportError::Undeclared { .. }) => Err(Failure::Failed(error.into())),
    }
}

/// The format that is asked for, or that the file's ending says.
fn format(asked: Option<Format>, out: Option<&Path>) -> Format {
    let ending = out.and_then(Path::extension).and_then(OsStr::to_str);
    let said = || Format::from_str(ending?, true).ok();
    asked.or_else(said).unwrap_or(Format::Jsonl)
}

/// Parquet is nothing to look at.
fn refuse_terminal(format: Format, terminal: bool) -> Result<(), Failure> {
    if format != Format::Parquet || !terminal {
        return Ok(());
    }
    Err(Failure::Rejected(anyhow!(
        "Parquet is a binary format, and standard output is a terminal; name a file with `--out trials.parquet`, or choose `--format csv`"
    )))
}

/// Whether a file that is there may be replaced by a table: by its name it is one.
fn is_table(path: &Path) -> bool {
    let ending = path.extension().and_then(OsStr::to_str);
    ending.is_some_and(|ending| {
        ["jsonl", "ndjson", "csv", "parquet"].contains(&ending.to_lowercase().as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_says_the_format_unless_it_is_asked_for() {
        for (asked, out, expected) in [
            (None, None, Format::Jsonl),
            (None, Some("a/trials.parquet"), Format::Parquet),
            (None, Some("trials.CSV"), Format::Csv),
            (None, Some("trials.txt"), Format::Jsonl),
            (Some(Format::Csv), Some("trials.parquet"), Format::Csv),
        ] {
            assert_eq!(format(asked, out.map(Path::new)), expected, "{out:?}");
        }
    }

    #[test]
    fn only_parquet_is_kept_from_a_terminal() {
        let refused = refuse_terminal(Format::Parquet, true).unwrap_err();
        assert!(refused.to_string().contains("--out"));
        for (format, terminal) in [
            (Format::Parquet, false),
            (Format::Csv, true),
            (Format::Jsonl, true),
        ] {
            refuse_terminal(format, terminal).unwrap();
        }
    }
}
