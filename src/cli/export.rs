//! `reachspec export`.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};

use super::Failure;
use crate::record::export::{ExportError, Format, Table, export};
use crate::record::{RecordError, RunRecord};

/// Write a table of a finished run for other tools
#[derive(clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Folder of the run, such as runs/quickstart
    run: PathBuf,
    /// Which table
    #[arg(long, value_enum, default_value_t = Table::Trials)]
    table: Table,
    /// In which format
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// File to write; standard output when absent
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec export runs/quickstart | head -1
  reachspec export runs/quickstart --table verdicts --format csv --out verdicts.csv

The same trials can be read with SQL: sqlite3 runs/quickstart/trials.sqlite 'SELECT * FROM trial_view LIMIT 3'
With `report: {redact: true}` in the spec, prompts and rollouts are left out.";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let record = RunRecord::load(&args.run)?;
    record.check_trials()?;
    let result = match &args.out {
        None => export(&record, args.table, args.format, io::stdout().lock()),
        Some(path) => {
            refuse_inside(&args.run, path)?;
            let file = File::create(path).map_err(|e| RecordError::io("write", path, e))?;
            export(&record, args.table, args.format, file)
        }
    };
    match result {
        Ok(()) => Ok(()),
        // Whoever reads has seen enough, as with `| head`.
        Err(ExportError::Write(e)) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(ExportError::Record(error)) => Err(error.into()),
        Err(ExportError::Write(error)) => {
            let place = args
                .out
                .map_or("standard output".into(), |path| path.display().to_string());
            let error =
                Err::<(), _>(error).with_context(|| format!("cannot write the table to {place}"));
            error.map_err(Failure::Failed)
        }
    }
}

/// A table must not replace a file of the record that it is read from.
fn refuse_inside(run: &Path, out: &Path) -> Result<(), Failure> {
    let folder = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let (Ok(run), Ok(folder)) = (run.canonicalize(), folder.canonicalize()) else {
        // Creating the file will say what is wrong.
        return Ok(());
    };
    if folder.starts_with(&run) {
        return Err(Failure::Rejected(anyhow!(
            "{} lies in the run folder, whose files are evidence; choose another place for the table",
            out.display()
        )));
    }
    Ok(())
}
