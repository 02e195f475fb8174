//! The command line: one file per subcommand, no logic of the domain.

pub mod check;
pub mod diff;
pub mod export;
pub mod failure;
mod frozen;
pub mod init;
pub mod inspect;
mod place;
pub mod plan;
pub mod progress;
pub mod report;
mod resources;
pub mod run;
pub mod runs;
pub mod schema;
mod shell;
pub mod signals;
pub mod study;
pub mod verify;

use std::io::{self, Write};

use clap::{Parser, Subcommand};

pub use failure::Failure;

use crate::report::text::{is_unseen, visible};

/// Specify, run and report studies of single-neuron steering in language models.
#[derive(Parser)]
#[command(name = "reachspec", version, max_term_width = 110, after_help = AFTER_HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Examples:
  reachspec init my-study.yaml              write a commented spec to start from
  reachspec check my-study.yaml             say everything that is wrong with it
  reachspec run my-study.yaml               run it; run again to continue or extend it
  reachspec report runs/my-study            render its report again
  reachspec verify runs/my-study            derive every result again, and compare
  reachspec diff runs/my-study runs/other   say what differs between two runs
  reachspec runs                            list the runs under runs/

Exit codes:
  0    done (an unfavourable verdict is a result, not an error)
  1    two runs differ (`diff` only)
  2    wrong usage, or a spec that was rejected
  3    a model or data file that cannot be used
  4    the run failed
  5    an integrity check failed
  130  stopped by Ctrl-C, 143 by SIGTERM; what was finished is kept, and the same command continues";

#[derive(Subcommand)]
enum Command {
    Init(init::Args),
    Check(check::Args),
    Plan(plan::Args),
    Run(run::Args),
    #[command(visible_alias = "list")]
    Runs(runs::Args),
    Report(report::Args),
    Verify(verify::Args),
    Diff(diff::Args),
    Export(export::Args),
    Schema(schema::Args),
    Inspect(inspect::Args),
}

impl Cli {
    /// Runs the chosen subcommand.
    pub fn run(self) -> Result<(), Failure> {
        match self.command {
            Command::Init(args) => init::run(args),
            Command::Check(args) => check::run(args),
            Command::Plan(args) => plan::run(args),
            Command::Run(args) => run::run(args),
            Command::Runs(args) => runs::run(args),
            Command::Report(args) => report::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Diff(args) => diff::run(args),
            Command::Export(args) => export::run(args),
            Command::Schema(args) => schema::run(args),
            Command::Inspect(args) => inspect::run(args),
        }
    }
}

/// Says something to a person, on standard output. Names in it may be a stranger's: nothing of it disturbs a terminal.
fn say(text: impl std::fmt::Display) -> Result<(), Failure> {
    print(visible(&text.to_string()))
}

/// Prints a value for a program, without characters that could disturb the terminal of a person who looks at it.
fn print_json(value: &impl serde::Serialize) -> Result<(), Failure> {
    let json = serde_json::to_string_pretty(value).expect("what is printed is plain data");
    // JSON escapes other control characters itself; these can only stand within its strings.
    let escaped = json.chars().fold(String::new(), |mut text, c| {
        match is_unseen(c) {
            false => text.push(c),
            true => (c.encode_utf16(&mut [0; 2]).iter())
                .for_each(|unit| text.push_str(&format!("\\u{unit:04x}"))),
        }
        text
    });
    print(escaped)
}

/// Prints what a program reads, as it is, and a line end, on standard output. A reader that has seen enough, as with `| head`, is no failure.
fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let error = anyhow::Error::new(error).context("cannot write to standard output");
            Err(Failure::Failed(error))
        }
        _ => Ok(()),
    }
}

/// Prints a line on standard error. Nobody is left to tell when that fails.
pub fn complain(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr(), "{line}");
}
