//! `reachspec schema`.

use std::path::PathBuf;

use anyhow::Context;

use super::Failure;
use crate::spec::schema::{FILE_NAME, study_text};

/// Print the JSON schema of study specs
///
/// Editors complete and check specs that name it in their first line:
/// `# yaml-language-server: $schema=schemas/study.schema.json`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Write `study.schema.json` into this folder instead
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  reachspec schema > study.schema.json
  reachspec schema --write schemas";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let Some(folder) = args.write else {
        print!("{}", study_text());
        return Ok(());
    };
    let file = folder.join(FILE_NAME);
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&file, study_text()))
        .with_context(|| format!("cannot write {}", file.display()))
        .map_err(Failure::Failed)?;
    super::complain(format_args!("wrote {}", file.display()));
    Ok(())
}
