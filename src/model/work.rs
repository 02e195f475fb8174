//! What the lanes share: the cells that wait, and the prompts that they begin with.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::decoder::{Batch, Decoder};
use super::kv_cache::{KvCache, Sequence};
use super::lanes::{BATCH_ROWS, Lanes};
use super::parts::{Observer, Row, Scratch};
use super::{Cell, ModelError, Rollout, Steering, check};
use crate::coherence;
use crate::spec::doses::Apply;
use crate::stop::Stop;
use crate::units::TokenId;

/// What is done with each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A whole rollout, with the likelihood of its tokens.
    Rollout,
    /// The tokens of a rollout, and its coordinates.
    Tokens,
    /// One forward step, which ends at the last prompt token.
    FirstStep,
}

/// What a finished cell leaves.
pub enum Outcome {
    /// Of a rollout.
    Rollout(Rollout),
    /// Of a single step, see [`super::FirstStep`].
    FirstStep {
        /// `[vocab]`
        logits: Vec<f32>,
        /// `[d_model]`
        residual: Vec<f32>,
    },
}

/// The cells of one call, and what their rollouts share.
pub struct Work<'a> {
    /// The model.
    pub decoder: &'a Decoder,
    /// Its end-of-text tokens.
    pub end_of_text: &'a [TokenId],
    /// What is done with each cell.
    pub task: Task,
    /// Rollouts in flight.
    pub lanes: Lanes,
    cells: &'a [Cell<'a>],
    /// Cells that have not started, the next one last. Those whose texts are likely to begin alike are neighbours.
    waiting: Mutex<Vec<usize>>,
    stopped: AtomicBool,
    /// From outside.
    stop: &'a Stop,
    prefixes: Mutex<HashMap<&'a [TokenId], Weak<KvCache>>>,
}

impl<'a> Work<'a> {
    /// Nothing is started yet.
    pub fn new(
        decoder: &'a Decoder,
        end_of_text: &'a [TokenId],
        cells: &'a [Cell<'a>],
        task: Task,
        lanes: Lanes,
        stop: &'a Stop,
    ) -> Self {
        let mut waiting: Vec<usize> = (0..cells.len()).collect();
        waiting.sort_by(|&a, &b| order(&cells[b], &cells[a]).then(b.cmp(&a)));
        Self {
            decoder,
            end_of_text,
            task,
            lanes,
            cells,
            waiting: Mutex::new(waiting),
            stopped: AtomicBool::new(false),
            stop,
            prefixes: Mutex::default(),
        }
    }

    /// The next cells to start: at most `slots`, and no more than fit `rows` token rows, unless a single one does not.
    pub fn take(&self, slots: usize, rows: usize) -> Vec<(usize, &'a Cell<'a>)> {
        if self.is_stopped() {
            return Vec::new();
        }
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        // Towards the end every lane gets its share.
        let share = waiting.len().div_ceil(self.lanes.count);
        let mut rows_taken = 0;
        let taken = (waiting.iter().rev().take(slots.min(share))).take_while(|&&number| {
            let cell = &self.cells[number];
            rows_taken += cell.prompt.len() - cell.shared_len();
            rows_taken <= rows
        });
        let count = taken.count().max(waiting.len().min(1));
        let left = waiting.len() - count;
        let numbers = waiting.drain(left..).rev();
        numbers
            .map(|number| (number, &self.cells[number]))
            .collect()
    }

    /// Whether lanes should give up.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed) || self.stop.is_requested()
    }

    /// Makes all lanes give up.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Keys and values of unsteered tokens at the start of a sequence, computed once while anybody uses them.
    pub fn prefix(&self, tokens: &'a [TokenId]) -> Arc<KvCache> {
        let lock = || self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prefix) = lock().get(tokens).and_then(Weak::upgrade) {
            return prefix;
        }
        // Outside the lock: two lanes may compute the same prefix, with the same bits.
        let prefix = Arc::new(compute_prefix(self.decoder, tokens));
        lock().insert(tokens, Arc::downgrade(&prefix));
        prefix
    }
}

/// Prompts together, so that a prefix is needed for a while and then never again; within a prompt neighbouring doses of one neuron, whose
/// rollouts agree the longest.
fn order(a: &Cell<'_>, b: &Cell<'_>) -> std::cmp::Ordering {
    let steering = |cell: &Cell<'_>| {
        let steering = cell.steering?;
        Some((steering.neuron.layer, steering.neuron.index))
    };
    let dose = |cell: &Cell<'_>| cell.steering.map_or(0.0, |steering| steering.dose.0);
    (a.prompt.cmp(b.prompt))
        .then_with(|| steering(a).cmp(&steering(b)))
        .then_with(|| dose(a).total_cmp(&dose(b)))
}

fn compute_prefix(decoder: &Decoder, tokens: &[TokenId]) -> KvCache {
    let mut sequence = Sequence::whole(decoder, tokens.len());
    let mut scratch = Scratch::default();
    for rows in rows_of(tokens).chunks(BATCH_ROWS) {
        let batch = Batch::unsteered(rows.to_vec(), &decoder.sizes);
        decoder.forward(&batch, &mut [&mut sequence], &mut Unobserved, &mut scratch);
    }
    sequence.into_own()
}

/// The rows of a sequence by itself.
pub fn rows_of(tokens: &[TokenId]) -> Vec<Row> {
    (tokens.iter().enumerate())
        .map(|(position, &token)| Row {
            token,
            position,
            sequence: 0,
        })
        .collect()
}

/// Nobody looks.
pub struct Unobserved;

impl Observer for Unobserved {}

impl Cell<'_> {
    /// Leading prompt tokens that are never steered, and so can be shared between cells.
    pub(super) fn shared_len(&self) -> usize {
        match self.steering {
            Some(steering) if steering.apply == Apply::All => 0,
            _ => self.prompt.len() - 1,
        }
    }

    /// Positions that a cache must hold behind the shared ones. The last token is never read.
    pub(super) fn own_positions(&self) -> usize {
        self.prompt.len() - self.shared_len() + self.horizon - 1
    }

    /// Whether a rollout has come to its end.
    pub(super) fn is_over(&self, rollout: &Rollout) -> bool {
        let loops = |settings| coherence::repeats(&rollout.tokens, settings);
        rollout.tokens.len() == self.horizon
            || (rollout.ended && self.stop_at_end)
            || self.stop_at_loop.as_ref().is_some_and(loops)
    }

    /// The neuron and its dose, unless there is nothing to add at any step (see [`super::choice::is_steered`]).
    pub(super) fn steered(&self) -> Option<Steering> {
        self.steering.filter(|steering| steering.dose.0 != 0.0)
    }

    /// Where it stands at a generation step, for an error.
    fn place(&self, step: usize) -> String {
        let prompt = check::shown(self.prompt);
        match self.steering {
            Some(s) => format!(
                "neuron {} with dose {}, {prompt}, generation step {step}",
                s.neuron, s.dose.0
            ),
            None => format!("the unsteered model, {prompt}, generation step {step}"),
        }
    }

    /// A number that is none, at a generation step.
    pub(super) fn not_finite(&self, what: &'static str, step: usize) -> ModelError {
        ModelError::NotFinite {
            what,
            place: self.place(step),
        }
    }

    /// A dose that did nothing at a generation step.
    pub(super) fn not_applied(&self, step: usize, why: &str) -> ModelError {
        ModelError::NotApplied {
            steering: format!("on {}", self.place(step)),
            why: why.to_owned(),
        }
    }
}
