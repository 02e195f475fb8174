//! `reachspec schema`.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::ValueEnum;

use super::Failure;
use crate::generated::{Generated, PAGES, SCHEMAS};
use crate::record::export::schema;
use crate::spec::schema::study_text;

/// Print a JSON schema: of study specs, or of exported rows
///
/// Editors complete and check specs that name it in their first line:
/// `# yaml-language-server: $schema=schemas/study.schema.json`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which one to print
    #[arg(value_enum, default_value_t = Which::Study, conflicts_with_all = ["write", "docs"])]
    which: Which,
    /// Write all of them into this folder instead, as `study.schema.json` and `export.schema.json`
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Write the reference pages that are made from the same declarations into this folder, such as `export.md`
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

/// What a schema describes.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Which {
    /// Study specs
    Study,
    /// Rows that `reachspec export --format jsonl` writes, with a definition per table
    Export,
}

const EXAMPLES: &str = "\
Examples:
  reachspec schema > study.schema.json
  reachspec schema export > export.schema.json
  reachspec schema --write schemas --docs docs";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let folders = [(&args.write, SCHEMAS), (&args.docs, PAGES)];
    if folders.iter().all(|(folder, _)| folder.is_none()) {
        return super::say(args.which.text().trim_end());
    }
    for (folder, files) in folders {
        for file in files {
            if let Some(folder) = folder {
                write(file, folder)?;
            }
        }
    }
    Ok(())
}

impl Which {
    fn text(self) -> String {
        match self {
            Which::Study => study_text(),
            Which::Export => schema::text(),
        }
    }
}

fn write(file: &Generated, folder: &Path) -> Result<(), Failure> {
    let path = folder.join(file.name);
    file.write(folder)
        .with_context(|| format!("cannot write {}; choose another folder", path.display()))
        .map_err(Failure::Failed)?;
    super::complain(format_args!("wrote {}", path.display()));
    Ok(())
}
