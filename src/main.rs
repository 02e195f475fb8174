//! The `reachspec` binary: parse, run, say what went wrong, exit.

use std::process::ExitCode;

use clap::Parser;
use reachspec::cli::{self, Cli};

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::complain(format_args!("error: {:#}", failure.error()));
            failure.code()
        }
    }
}
