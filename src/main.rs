//! The `reachspec` binary: parse, run, say what went wrong, exit.

use std::process::ExitCode;

use clap::Parser;
use reachspec::cli::{self, Cli};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(error) = failure.error() {
                cli::complain(format_args!("error: {error:#}"));
            }
            failure.code()
        }
    }
}
