//! `reachspec export`.

use super::Failure;

/// Write a table of a run
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
