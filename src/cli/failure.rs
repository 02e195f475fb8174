//! Why the program ends without success, and with which exit code.

use std::process::ExitCode;

use crate::record::{ErrorKind, RecordError};

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
