//! Why the program ends without success, and with which exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::anyhow;

use crate::spec::LoadError;

/// A failure with its exit code. The table stands in `--help` and in the README.
#[derive(Debug)]
pub enum Failure {
    /// 2: wrong usage, or a spec that was rejected.
    Rejected(anyhow::Error),
    /// 3: a model or data file that cannot be used.
    Unusable(anyhow::Error),
    /// 4: the run failed.
    Failed(anyhow::Error),
    /// 5: an integrity check failed.
    Integrity(anyhow::Error),
}

impl Failure {
    /// The exit code.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Rejected(_) => 2,
            Failure::Unusable(_) => 3,
            Failure::Failed(_) => 4,
            Failure::Integrity(_) => 5,
        })
    }

    /// What went wrong, with its causes.
    pub fn error(&self) -> &anyhow::Error {
        match self {
            Failure::Rejected(error)
            | Failure::Unusable(error)
            | Failure::Failed(error)
            | Failure::Integrity(error) => error,
        }
    }
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        let report = error.render(colour_on_stderr());
        match error {
            LoadError::Spec(_) => Failure::Rejected(anyhow!("the spec is rejected\n\n{report}")),
            LoadError::Model(_) => {
                Failure::Unusable(anyhow!("the model cannot be used\n\n{report}"))
            }
        }
    }
}

/// Whether messages on stderr may be coloured: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn colour_on_stderr() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}
