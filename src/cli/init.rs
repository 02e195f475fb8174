//! `reachspec init`.

use super::Failure;

/// Write a commented spec to start from
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
