//! Putting the shards of a study together.

use std::path::Path;

use super::{TrialStore, TrialWriter};
use crate::record::error::RecordError;

impl TrialStore {
    /// Records every trial of another store here. Judgements are not taken over: they are derived again. Safe to repeat.
    ///
    /// # Errors
    /// If either store cannot be used, or both hold different rollouts under one key.
    pub fn merge_from(&mut self, other: &Path) -> Result<(), RecordError> {
        let other = TrialStore::open_read_only(other)?;
        let mut batch = Vec::with_capacity(TrialWriter::BATCH);
        other.for_each(|_, trial| {
            batch.push(trial);
            if batch.len() == TrialWriter::BATCH {
                self.insert(&batch)?;
                batch.clear();
            }
            Ok::<(), RecordError>(())
        })?;
        self.insert(&batch)
    }
}
