//! `reachspec schema`.

use super::Failure;

/// Print the JSON schema of study specs
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
