//! The `reachspec` binary: parse, run, say what went wrong, exit.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use clap::Parser;
use reachspec::cli::{self, Cli};

fn main() -> ExitCode {
    cli::signals::take_file_limits_as_errors();
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(message) = failure.untold() {
                cli::complain(message);
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
