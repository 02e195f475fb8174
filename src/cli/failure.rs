//! Why the program ends without success, and with which exit code.

use std::fmt;
use std::io::IsTerminal;

use crate::events::Stage;
use crate::monitor::Reached;
use crate::pipeline::OpenError;
use crate::record::{ErrorKind, RecordError};
use crate::report::ReportError;
use crate::report::format::{counted, thousands};
use crate::report::text::visible;
use crate::spec::LoadError;

/// A failure with its exit code. The table stands in `--help` and in the README.
#[derive(Debug)]
pub enum Failure {
    /// 1: two runs were compared, and differ. What differs was said: there is no error.
    Different,
    /// 2: wrong usage, or something that was rejected.
    Rejected(anyhow::Error),
    /// 2 or 3: a spec that was rejected, or whose model cannot be used.
    Spec(LoadError),
    /// 3: a model or data file that cannot be used.
    Unusable(anyhow::Error),
    /// 4: the run failed.
    Failed(anyhow::Error),
    /// 5: an integrity check failed.
    Integrity(anyhow::Error),
    /// 130 or 143: the run was stopped.
    Stopped(Stopped),
    /// A failure with this exit code that was said already, in the event stream.
    Told(u8),
}

/// A run that was stopped by Ctrl-C or SIGTERM.
#[derive(Debug)]
pub struct Stopped {
    /// How far it was.
    pub reached: Reached,
    /// 130 after Ctrl-C, 143 after SIGTERM.
    pub exit_code: u8,
    /// The command that continues it, for a shell.
    pub continue_with: String,
}

impl Failure {
    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Different => 1,
            Failure::Rejected(_) | Failure::Spec(LoadError::Spec(_)) => 2,
            Failure::Unusable(_) | Failure::Spec(LoadError::Model(_)) => 3,
            Failure::Failed(_) => 4,
            Failure::Integrity(_) => 5,
            Failure::Stopped(stopped) => stopped.exit_code,
            Failure::Told(code) => *code,
        }
    }

    /// What there is still to say on standard error. Names in it may be a stranger's: nothing of it disturbs a terminal.
    pub fn untold(&self) -> Option<String> {
        match self {
            Failure::Different | Failure::Told(_) => None,
            Failure::Stopped(_) => Some(visible(&self.to_string())),
            // Reports are drawn, perhaps in colour, from text that was made harmless before.
            Failure::Spec(error) => Some(format!("error: {}", in_full(error, colour_on_stderr()))),
            _ => Some(format!("error: {}", visible(&self.to_string()))),
        }
    }
}

impl fmt::Display for Failure {
    /// What went wrong, with its causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Different => f.write_str("the runs differ"),
            Failure::Rejected(error)
            | Failure::Unusable(error)
            | Failure::Failed(error)
            | Failure::Integrity(error) => write!(f, "{error:#}"),
            Failure::Spec(error) => f.write_str(&in_full(error, false)),
            Failure::Stopped(stopped) => stopped.fmt(f),
            Failure::Told(_) => f.write_str("the failure was said already"),
        }
    }
}

impl fmt::Display for Stopped {
    /// What is kept, and how to go on.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Reached {
            stage,
            kept,
            planned,
            ..
        } = self.reached;
        match stage.map(Stage::name) {
            None => f.write_str("stopped before the first stage")?,
            Some(name) if planned == 0 => {
                write!(f, "stopped in {name}; what was recorded before is kept")?;
            }
            Some(name) => write!(
                f,
                "stopped in {name}; {} of its {} are kept, and all of the stages before",
                thousands(kept),
                counted(planned, "rollout")
            )?,
        }
        write!(f, "\ncontinue with: {}", self.continue_with)
    }
}

/// What is wrong with a spec, with its report; `colour` for a terminal.
fn in_full(error: &LoadError, colour: bool) -> String {
    let what = match error {
        LoadError::Spec(_) => "the spec is rejected",
        LoadError::Model(_) => "the model cannot be used",
    };
    format!("{what}\n\n{}", error.render(colour))
}

impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        Failure::Spec(error)
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
