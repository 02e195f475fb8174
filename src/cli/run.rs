//! `reachspec run`.

use super::Failure;

/// Run a study: screen, calibrate, predict and seal, sweep, judge, report
#[derive(clap::Args)]
pub struct Args {}

/// Runs the subcommand.
pub fn run(_: Args) -> Result<(), Failure> {
    Ok(())
}
