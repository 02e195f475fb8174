//! `reachspec check`.

use super::Failure;

/// Say everything that is wrong with a spec
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
