//! `reachspec inspect`.

use super::Failure;

/// Describe a model
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
