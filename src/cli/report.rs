//! `reachspec report`.

use super::Failure;

/// Render the report of a run again
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
