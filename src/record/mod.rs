//! The run folder: everything that is known about one run, readable without the model and by other tools.
//!
//! | file | what it holds | module |
//! |---|---|---|
//! | `manifest.json` | what was run, on what, by what | [`manifest`] |
//! | `predictions.json` | the predictions behind their seal | [`seal`] |
//! | `trials.sqlite` | every rollout under a content-derived [`key`], and its judgements | [`store`] |
//! | `verdicts.json` | dose–response curves and verdicts | [`run_record`] |
//!
//! [`verify`] derives everything again from the manifest, the trials and the model's tokenizer; [`diff`] compares two runs.
//!
//! Files are replaced atomically ([`folder`]), and one process at a time may write ([`lock`]).

pub mod by_key;
pub mod canonical;
pub mod changes;
pub mod clock;
pub mod consistency;
pub mod diff;
pub mod error;
pub mod export;
pub mod finite;
#[cfg(test)]
pub(crate) mod fixture;
pub mod folder;
pub mod key;
pub mod layout;
pub mod listing;
pub mod lock;
pub mod manifest;
pub mod packing;
pub mod reading;
pub mod run_record;
pub mod seal;
pub mod store;
pub mod trial;
pub mod verify;

pub use changes::Continuation;
pub use error::{ErrorKind, RecordError};
pub use folder::RunFolder;
pub use key::{ModelFingerprint, TrialKey, rollout_seed};
pub use manifest::Manifest;
pub use run_record::RunRecord;
pub use store::TrialStore;
pub use trial::Trial;
