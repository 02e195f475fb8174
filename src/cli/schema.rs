//! `reachspec schema`.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::Failure;
use crate::generated::{self, Generated, PAGES, SCHEMAS};
use crate::report::text::visible;

/// Print a JSON schema: of study specs, or of what reachspec writes
///
/// Editors complete and check specs that name theirs in the first line:
/// `# yaml-language-server: $schema=schemas/study.schema.json`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which schema
    #[arg(default_value = "study", value_parser = named(), conflicts_with_all = ["write", "docs"])]
    schema: &'static Generated,
    /// Write all schemas into this folder instead
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
    /// Write the reference pages that are made from the same declarations into this folder
    #[arg(long, value_name = "DIR")]
    docs: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  reachspec schema > study.schema.json
  reachspec schema report-view
  reachspec schema --write schemas --docs docs";

/// A schema by its name.
fn named() -> impl TypedValueParser<Value = &'static Generated> {
    let names = SCHEMAS
        .iter()
        .map(|schema| PossibleValue::new(schema.name).help(schema.about));
    PossibleValuesParser::new(names).map(|name| {
        let found = SCHEMAS.iter().find(|schema| schema.name == name);
        found.expect("only these names are possible")
    })
}

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    if args.write.is_none() && args.docs.is_none() {
        return super::print((args.schema.text)().trim_end());
    }
    for (folder, files) in [(args.write, SCHEMAS), (args.docs, PAGES)] {
        let Some(folder) = folder else { continue };
        let written = generated::write(files, &folder).map_err(|(path, error)| {
            let problem = format!("cannot write {}; choose another folder", path.display());
            Failure::Failed(anyhow!(error).context(problem))
        })?;
        for path in written {
            super::complain(format_args!(
                "wrote {}",
                visible(&path.display().to_string())
            ));
        }
    }
    Ok(())
}
