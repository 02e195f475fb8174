//! A request to stop: made by whoever holds a clone, heeded by a run and by its model at their next step.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether somebody wants the work to stop. Clones share the request; it cannot be taken back.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the work to stop.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether somebody has asked.
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Goes on unless somebody has asked.
    ///
    /// # Errors
    /// [`Stopped`] when somebody has.
    pub fn check(&self) -> Result<(), Stopped> {
        match self.is_requested() {
            true => Err(Stopped),
            false => Ok(()),
        }
    }
}

/// The work stopped because somebody asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the run was asked to stop")]
pub struct Stopped;

impl Stopped {
    /// Whether this is why something failed.
    pub fn is_cause_of(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| cause.is::<Self>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ModelError;

    #[test]
    fn clones_share_the_request() {
        let stop = Stop::default();
        let other = stop.clone();
        assert_eq!(stop.check(), Ok(()));
        other.request();
        assert_eq!(stop.check(), Err(Stopped));
    }

    #[test]
    fn a_stop_is_told_from_other_failures() {
        let stopped = anyhow::Error::new(ModelError::Stopped(Stopped)).context("in the sweep");
        assert!(Stopped::is_cause_of(&stopped));
        assert!(Stopped::is_cause_of(&Stopped.into()));
        assert!(!Stopped::is_cause_of(&anyhow::anyhow!(
            "the run was asked to stop"
        )));
    }
}
