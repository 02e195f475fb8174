//! Why the program ends without success, and with which exit code.

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::anyhow;

use crate::pipeline::OpenError;
use crate::record::{ErrorKind, RecordError};
use crate::report::ReportError;
use crate::spec::LoadError;

/// A failure with its exit code. The table stands in `--help` and in the README.
#[derive(Debug)]
pub enum Failure {
    /// 1: two runs were compared, and differ. What differs was said: there is no error.
    Different,
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
            Failure::Different => 1,
            Failure::Rejected(_) => 2,
            Failure::Unusable(_) => 3,
            Failure::Failed(_) => 4,
            Failure::Integrity(_) => 5,
        })
    }

    /// What went wrong, with its causes; none where nothing did.
    pub fn error(&self) -> Option<&anyhow::Error> {
        match self {
            Failure::Different => None,
            Failure::Rejected(error)
            | Failure::Unusable(error)
            | Failure::Failed(error)
            | Failure::Integrity(error) => Some(error),
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

impl From<RecordError> for Failure {
    fn from(error: RecordError) -> Self {
        let kind = error.kind();
        let error = anyhow::Error::new(error);
        match kind {
            ErrorKind::Usage => Failure::Rejected(error),
            ErrorKind::Failed => Failure::Failed(error),
            ErrorKind::Integrity => Failure::Integrity(error),
        }
    }
}

impl From<ReportError> for Failure {
    /// The user's templates cannot be used.
    fn from(error: ReportError) -> Self {
        Failure::Rejected(error.into())
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Record(error) => error.into(),
            OpenError::Changed { .. } => Failure::Rejected(error.into()),
        }
    }
}

impl Failure {
    /// A run that stopped: an integrity failure when its record says so.
    pub fn from_run(error: anyhow::Error) -> Self {
        match error.downcast::<RecordError>() {
            Ok(error) => error.into(),
            Err(error) => Failure::Failed(error),
        }
    }
}

/// Whether messages on stderr may be coloured: on a terminal, unless `NO_COLOR` is set (<https://no-color.org>).
pub fn colour_on_stderr() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}
