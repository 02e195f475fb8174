//! `reachspec plan`.

use super::Failure;

/// Say what a run would do, and what it would cost
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
