//! `reachspec schema`.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser as _};

use super::Failure;
use crate::schemas::{self, Generated, SCHEMAS};

/// Print a JSON schema: of study specs, or of what reachspec writes
///
/// Editors complete and check specs that name theirs in the first line:
/// `# yaml-language-server: $schema=schemas/study.schema.json`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which schema
    #[arg(default_value = "study", value_parser = named())]
    schema: &'static Generated,
    /// Write all schemas into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "schema")]
    write: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  reachspec schema > study.schema.json
  reachspec schema report-view
  reachspec schema --write schemas";

/// A schema by its name.
fn named() -> impl clap::builder::TypedValueParser<Value = &'static Generated> {
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
    let Some(folder) = args.write else {
        return super::say((args.schema.text)().trim_end());
    };
    let written = schemas::write(SCHEMAS, &folder).map_err(|(path, error)| {
        let problem = format!("cannot write {}; choose another folder", path.display());
        Failure::Failed(anyhow!(error).context(problem))
    })?;
    for path in written {
        super::complain(format_args!("wrote {}", path.display()));
    }
    Ok(())
}
