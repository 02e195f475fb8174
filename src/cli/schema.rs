//! `reachspec schema`.

use std::path::PathBuf;

use anyhow::Context;
use schemars::JsonSchema;
use serde_json::Value;

use super::Failure;
use crate::events::Event;
use crate::spec::StudySpec;
use crate::spec::schema::generated;

/// A schema that is made from types of this program; all of them stand in `schemas/`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Schema {
    /// Study specs
    #[default]
    Study,
    /// Lines of the event stream of `reachspec run --events jsonl`
    Events,
}

impl Schema {
    /// All schemas.
    pub const ALL: [Schema; 2] = [Schema::Study, Schema::Events];

    /// Name of its file.
    pub fn file_name(self) -> &'static str {
        match self {
            Schema::Study => "study.schema.json",
            Schema::Events => "events.schema.json",
        }
    }

    /// The text of its file.
    pub fn text(self) -> String {
        match self {
            Schema::Study => text_of::<StudySpec>(),
            Schema::Events => text_of::<Event>(),
        }
    }
}

fn text_of<T: JsonSchema>() -> String {
    let schema: Value = generated::<T>();
    serde_json::to_string_pretty(&schema).expect("a schema is plain data") + "\n"
}

/// Print a JSON schema: of study specs, or of the event stream
///
/// Editors complete and check specs that name it in their first line:
/// `# yaml-language-server: $schema=schemas/study.schema.json`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Which one
    #[arg(value_enum, default_value_t)]
    schema: Schema,
    /// Write all schemas into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "schema")]
    write: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  reachspec schema > study.schema.json
  reachspec schema events > events.schema.json
  reachspec schema --write schemas";

/// Runs the subcommand.
pub fn run(args: Args) -> Result<(), Failure> {
    let Some(folder) = args.write else {
        print!("{}", args.schema.text());
        return Ok(());
    };
    for schema in Schema::ALL {
        let file = folder.join(schema.file_name());
        std::fs::create_dir_all(&folder)
            .and_then(|()| std::fs::write(&file, schema.text()))
            .with_context(|| format!("cannot write {}", file.display()))
            .map_err(Failure::Failed)?;
        super::complain(format_args!("wrote {}", file.display()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checked_in_schemas_are_fresh() {
        for schema in Schema::ALL {
            let name = schema.file_name();
            let path = format!("{}/schemas/{name}", env!("CARGO_MANIFEST_DIR"));
            let checked_in = std::fs::read_to_string(path).unwrap_or_default();
            assert!(
                checked_in == schema.text(),
                "schemas/{name} is stale: run `cargo run -- schema --write schemas`"
            );
        }
    }
}
