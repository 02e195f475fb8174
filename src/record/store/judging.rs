//! Writing judgements: they are derived, and replaced as a whole while the rollouts are read from the same store.

use rusqlite::{Connection, Transaction, params};

use super::TrialStore;
use super::judged::StoredOutcome;
use super::write::{Table, intern};
use crate::fault;
use crate::oracles::Span;
use crate::record::canonical;
use crate::record::error::RecordError;
use crate::record::key::TrialKey;
use crate::record::packing::{integers, pack_measurements, push_integer};
use crate::stages::judge::RolloutJudgement;

/// Replaces all judgements of a store in one transaction, one rollout in memory at a time; the store can be read meanwhile. Call
/// [`JudgementWriter::finish`] at the end: on drop, the earlier judgements stay.
pub struct JudgementWriter<'a> {
    store: &'a TrialStore,
    transaction: Transaction<'a>,
    /// Judgements of one rollout under one behaviour, still without the one at its last horizon.
    group: Vec<RolloutJudgement>,
}

impl TrialStore {
    /// Begins to replace all judgements. Behaviours and prompts are later read in the order in which they first appear here.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn replace_judgements(&self) -> Result<JudgementWriter<'_>, RecordError> {
        let error = |source| self.error("record judgements", source);
        // Unchecked: the writer never begins a second one, and only reading goes on beside it.
        let transaction = self.connection.unchecked_transaction().map_err(error)?;
        transaction
            .execute_batch("DELETE FROM judgements; DELETE FROM outcomes; DELETE FROM names;")
            .and_then(|()| self.renew_views())
            .map_err(error)?;
        Ok(JudgementWriter {
            store: self,
            transaction,
            group: Vec::new(),
        })
    }
}

impl JudgementWriter<'_> {
    /// Takes a judgement. Those of one trial under one behaviour must follow each other, horizons increasing.
    ///
    /// # Errors
    /// If it is of a trial that is not recorded, or its likelihood is not finite.
    pub fn push(&mut self, judgement: RolloutJudgement) -> Result<(), RecordError> {
        check(&judgement)?;
        if (self.group.last()).is_some_and(|last| !last.is_of_same_rollout(&judgement)) {
            self.insert()?;
        }
        self.group.push(judgement);
        Ok(())
    }

    /// Replaces the earlier judgements by those that were taken.
    ///
    /// # Errors
    /// Those of [`JudgementWriter::push`], and if the file cannot be written.
    pub fn finish(mut self) -> Result<(), RecordError> {
        self.insert()?;
        let store = self.store;
        fault::point();
        (self.transaction.commit()).map_err(|source| store.error("record judgements", source))?;
        fault::point();
        Ok(())
    }

    fn insert(&mut self) -> Result<(), RecordError> {
        let Some(first) = self.group.first() else {
            return Ok(());
        };
        insert_group(&self.transaction, &self.group)
            .map_err(|source| self.store.error("record judgements", source))?
            .ok_or_else(|| unknown(first))?;
        self.group.clear();
        Ok(())
    }
}

/// Records the judgements of one trial under one behaviour; `None` when the trial is not recorded.
fn insert_group(
    connection: &Connection,
    group: &[RolloutJudgement],
) -> rusqlite::Result<Option<()>> {
    let first = &group[0];
    let Ok(key) = first.trial.parse::<TrialKey>() else {
        return Ok(None);
    };
    let mut find = connection.prepare_cached("SELECT trial FROM keys WHERE key = ?1")?;
    let mut found = find.query([key.bytes()])?;
    let Some(row) = found.next()? else {
        return Ok(None);
    };
    let trial: i64 = row.get(0)?;
    let stored: Vec<StoredOutcome> = group.iter().map(StoredOutcome::of).collect();
    let mean_nll: Vec<f32> = group.iter().map(|at| at.mean_nll as f32).collect();
    let spans: Vec<Option<Span>> = group.iter().map(|at| at.span).collect();
    connection
        .prepare_cached(
            "INSERT INTO judgements (behavior, trial, prompt_id, outcome, mean_nll, spans) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![
            intern(connection, Table::Names, &first.behavior)?,
            trial,
            intern(connection, Table::Names, &first.prompt_id)?,
            intern(connection, Table::Outcomes, &canonical::json(&stored))?,
            pack_measurements(&mean_nll, false),
            pack_spans(&spans),
        ])?;
    Ok(Some(()))
}

/// Start and end of each span plus 1, and 0 twice for none; absent when there is none at all.
fn pack_spans(spans: &[Option<Span>]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(2 * spans.len());
    for span in spans {
        let [start, end] = span.map_or([0, 0], |span| [span.start + 1, span.end + 1]);
        push_integer(&mut bytes, start as u64);
        push_integer(&mut bytes, end as u64);
    }
    spans.iter().any(Option::is_some).then_some(bytes)
}

/// The inverse of [`pack_spans`] for so many horizons; `None` when the bytes are none.
pub(super) fn unpack_spans(bytes: Option<&[u8]>, horizons: usize) -> Option<Vec<Option<Span>>> {
    let Some(bytes) = bytes else {
        return Some(vec![None; horizons]);
    };
    let values = integers(bytes)?;
    let (pairs, []) = values.as_chunks::<2>() else {
        return None;
    };
    let span = |&[start, end]: &[u64; 2]| match (start.checked_sub(1), end.checked_sub(1)) {
        (None, None) => Some(None),
        (Some(start), Some(end)) if start <= end => Some(Some(Span {
            start: start.try_into().ok()?,
            end: end.try_into().ok()?,
        })),
        _ => None,
    };
    let spans = pairs.iter().map(span).collect::<Option<Vec<_>>>()?;
    (spans.len() == horizons).then_some(spans)
}

fn check(judgement: &RolloutJudgement) -> Result<(), RecordError> {
    if judgement.mean_nll.abs() <= 1e6 {
        return Ok(());
    }
    Err(RecordError::Unrecordable {
        trial: judgement.trial.clone(),
        problem: format!(
            "its mean negative log-likelihood at horizon {} is {}",
            judgement.horizon, judgement.mean_nll
        ),
    })
}

fn unknown(judgement: &RolloutJudgement) -> RecordError {
    RecordError::Unrecordable {
        trial: judgement.trial.clone(),
        problem: "it was judged, and is not in the store".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn damaged_spans_are_none() {
        for bytes in [&[1][..], &[1, 0], &[0, 1], &[2, 1], &[0x80], &[1, 1, 1, 1]] {
            assert_eq!(unpack_spans(Some(bytes), 1), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn spans_come_back(pairs in proptest::collection::vec(proptest::option::of((0_usize..500, 0_usize..500)), 0..6)) {
            let spans: Vec<Option<Span>> = (pairs.iter())
                .map(|pair| pair.map(|(start, length)| Span { start, end: start + length }))
                .collect();
            let packed = pack_spans(&spans);
            prop_assert_eq!(unpack_spans(packed.as_deref(), spans.len()), Some(spans));
        }
    }
}
