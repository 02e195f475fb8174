//! One thread's share of the rollouts: a batch that stays full. A cell that ends leaves its slot to the next one that waits.

use std::sync::mpsc::Sender;

use candle_core::Tensor;
use candle_transformers::generation::{LogitsProcessor, Sampling};

use super::engine::{Outcome, Work};
use super::intervention::{Interventions, Push};
use super::kernels;
use super::kv_cache::KvCache;
use super::lanes::Lanes;
use super::parts::Row;
use super::{Cell, ModelError, Rollout, Steering};
use crate::spec::doses::Apply;
use crate::units::TokenId;

/// What is done with each cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// A whole rollout, with the likelihood of its tokens.
    Rollout,
    /// One forward step: the logits after the last prompt token.
    FirstLogits,
}

/// Token rows beyond which no further cell joins a forward pass.
const MAX_ROWS: usize = 512;

/// Rows whose logits are computed together.
const LOGIT_ROWS: usize = kernels::TILE;

/// A worker with its slots.
pub struct Lane<'a> {
    work: &'a Work<'a>,
    cache: KvCache,
    slots: Vec<Option<Active<'a>>>,
}

/// A cell in flight.
struct Active<'a> {
    number: usize,
    cell: &'a Cell<'a>,
    phase: Phase,
    /// Tokens that the next forward pass reads.
    pending: Vec<TokenId>,
    /// Position of the first of them.
    position: usize,
    rollout: Rollout,
    choice: Choice,
}

/// How the next token is chosen: greedily, or sampled.
pub struct Choice(Option<LogitsProcessor>);

impl Choice {
    /// The next token; none when a logit is not finite.
    pub fn token(&mut self, logits: &[f32]) -> Result<Option<TokenId>, ModelError> {
        let greedy = kernels::argmax(logits).map(|token| token as TokenId);
        match (&mut self.0, greedy) {
            (Some(sampler), Some(_)) => {
                let logits = Tensor::new(logits, &candle_core::Device::Cpu)?;
                Ok(Some(sampler.sample(&logits)?))
            }
            (_, greedy) => Ok(greedy),
        }
    }
}

/// A cell's way of choosing tokens, from its beginning.
pub fn choice(cell: &Cell<'_>) -> Choice {
    Choice(cell.sample.map(|(sample, seed)| {
        let temperature = sample.temperature;
        let sampling = match (sample.top_k, sample.top_p) {
            (None, None) => Sampling::All { temperature },
            (Some(k), None) => Sampling::TopK { k, temperature },
            (None, Some(p)) => Sampling::TopP { p, temperature },
            (Some(k), Some(p)) => Sampling::TopKThenTopP { k, p, temperature },
        };
        LogitsProcessor::from_sampling(seed, sampling)
    }))
}

/// Whether a position is steered, by its generation step: 0 at the last prompt token, none before it. Adding a dose of 0 would turn an
/// activation of −0 into +0; leaving it out keeps dose 0 equal, bit for bit.
pub fn is_steered(steering: &Steering, step: Option<usize>) -> bool {
    let in_place = match (steering.apply, step, steering.window) {
        (Apply::All, _, _) | (Apply::Generation, Some(_), None) => true,
        (Apply::Generation, Some(step), Some(window)) => (window.from..window.to).contains(&step),
        (Apply::Generation, None, _) => false,
    };
    in_place && steering.dose.0 != 0.0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Tokens are generated, steered.
    Generate,
    /// The generated tokens are read again without steering, for their likelihood.
    Score,
}

/// A batch of rows with what is done to, and wanted from, each.
#[derive(Default)]
struct Batch {
    rows: Vec<Row>,
    pushes: Vec<Push>,
    /// Slot of each push whose coordinate is kept.
    push_slots: Vec<Option<usize>>,
    /// Row and slot of each wanted row of logits.
    wanted: Vec<(usize, usize)>,
}

impl<'a> Cell<'a> {
    /// Leading prompt tokens that are never steered, and so can be shared between cells.
    pub(super) fn shared_len(&self) -> usize {
        match self.steering {
            Some(steering) if steering.apply == Apply::All => 0,
            _ => self.prompt.len() - 1,
        }
    }

    /// Positions that a slot must hold for it, at most.
    pub(super) fn own_positions(&self) -> usize {
        self.prompt.len() - self.shared_len() + self.horizon
    }

    /// Where it stands at a generation step, for an error.
    pub(super) fn place(&self, step: usize) -> String {
        match self.steering {
            Some(s) => format!(
                "{} with dose {}, generation step {step}",
                s.neuron, s.dose.0
            ),
            None => format!("the unsteered model, generation step {step}"),
        }
    }
}

impl<'a> Lane<'a> {
    /// An idle lane.
    pub fn new(work: &'a Work<'a>) -> Self {
        let Lanes {
            slots, capacity, ..
        } = work.lanes;
        let sizes = &work.decoder.sizes;
        Self {
            work,
            cache: KvCache::new(sizes.layers, sizes.kv_width(), slots, capacity),
            slots: (0..slots).map(|_| None).collect(),
        }
    }

    /// Works until no cell waits any more.
    pub fn run(
        mut self,
        results: &Sender<Result<(usize, Outcome), ModelError>>,
    ) -> Result<(), ModelError> {
        while !self.work.is_stopped() {
            self.admit();
            let batch = self.batch();
            if batch.rows.is_empty() {
                break;
            }
            for done in self.step(&batch)? {
                // A closed channel means that the receiver met an error; `is_stopped` ends the loop.
                let _ = results.send(Ok(done));
            }
        }
        Ok(())
    }

    /// Fills free slots with waiting cells.
    fn admit(&mut self) {
        let mut rows: usize = self
            .slots
            .iter()
            .flatten()
            .map(|active| active.pending.len())
            .sum();
        for slot in 0..self.slots.len() {
            if self.slots[slot].is_some() {
                continue;
            }
            if rows >= MAX_ROWS {
                return;
            }
            let Some((number, cell)) = self.work.take() else {
                return;
            };
            let active = Active::start(number, cell);
            rows += active.pending.len();
            self.cache
                .begin(slot, self.work.prefix(&cell.prompt[..cell.shared_len()]));
            self.slots[slot] = Some(active);
        }
    }

    fn batch(&self) -> Batch {
        let mut batch = Batch::default();
        for (slot, active) in self.slots.iter().enumerate() {
            if let Some(active) = active {
                active.add_to(&mut batch, slot);
            }
        }
        batch
    }

    /// One forward pass. Returns the cells that it finished.
    fn step(&mut self, batch: &Batch) -> Result<Vec<(usize, Outcome)>, ModelError> {
        let decoder = self.work.decoder;
        let mut hook = Interventions::new(decoder, &batch.pushes);
        let hidden = decoder.forward(&batch.rows, &mut self.cache, &mut hook);
        for (cosine, slot) in hook.into_cosines()?.into_iter().zip(&batch.push_slots) {
            if let Some(active) = slot.and_then(|slot| self.slots[slot].as_mut()) {
                active.rollout.cosines.push(cosine);
            }
        }
        let mut done = Vec::new();
        let (d, vocab) = (decoder.sizes.d_model, decoder.sizes.vocab);
        for wanted in batch.wanted.chunks(LOGIT_ROWS) {
            let gathered: Vec<f32> = (wanted.iter())
                .flat_map(|&(row, _)| &hidden[row * d..][..d])
                .copied()
                .collect();
            let logits = decoder.logits(&gathered);
            for (logits, &(_, slot)) in logits.chunks_exact(vocab).zip(wanted) {
                done.extend(self.read(slot, logits)?);
            }
        }
        Ok(done)
    }

    /// Takes one row of logits to its cell; returns the cell when that finished it.
    fn read(
        &mut self,
        slot: usize,
        logits: &[f32],
    ) -> Result<Option<(usize, Outcome)>, ModelError> {
        let active = self.slots[slot]
            .as_mut()
            .expect("logits are wanted for active slots only");
        let number = active.number;
        if self.work.task == Task::FirstLogits {
            self.slots[slot] = None;
            return Ok(Some((number, Outcome::Logits(logits.to_vec()))));
        }
        let finished = match active.phase {
            Phase::Generate => active.generate(logits, self.work.end_of_text)?,
            Phase::Score => active.score(logits),
        };
        if !finished {
            return Ok(None);
        }
        if active.phase == Phase::Generate && active.cell.steering.is_some() {
            let prompt = active.cell.prompt;
            active.begin_scoring();
            self.cache
                .begin(slot, self.work.prefix(&prompt[..prompt.len() - 1]));
            return Ok(None);
        }
        let active = self.slots[slot].take().expect("checked above");
        Ok(Some((number, Outcome::Rollout(active.rollout))))
    }
}

impl<'a> Active<'a> {
    fn start(number: usize, cell: &'a Cell<'a>) -> Self {
        let shared = cell.shared_len();
        Self {
            number,
            cell,
            phase: Phase::Generate,
            pending: cell.prompt[shared..].to_vec(),
            position: shared,
            rollout: Rollout::default(),
            choice: choice(cell),
        }
    }

    /// Adds the pending tokens to a batch.
    fn add_to(&self, batch: &mut Batch, slot: usize) {
        let last = self.pending.len() - 1;
        for (i, &token) in self.pending.iter().enumerate() {
            let row = batch.rows.len();
            let position = self.position + i;
            batch.rows.push(Row {
                token,
                position,
                slot,
            });
            if let Some(push) = self.push(row, position) {
                batch.pushes.push(push);
                batch.push_slots.push(self.step_at(position).map(|_| slot));
            }
            if self.phase == Phase::Score || i == last {
                batch.wanted.push((row, slot));
            }
        }
    }

    /// Generation step at a position: 0 at the last prompt token.
    fn step_at(&self, position: usize) -> Option<usize> {
        (position + 1).checked_sub(self.cell.prompt.len())
    }

    /// The intervention at a position.
    fn push(&self, row: usize, position: usize) -> Option<Push> {
        let steering = (self.cell.steering).filter(|steering| {
            self.phase == Phase::Generate && is_steered(steering, self.step_at(position))
        })?;
        Some(Push {
            row,
            neuron: steering.neuron,
            dose: steering.dose,
        })
    }

    /// Chooses the next token; true when the rollout has come to its end.
    fn generate(&mut self, logits: &[f32], end_of_text: &[TokenId]) -> Result<bool, ModelError> {
        let step = self.rollout.tokens.len();
        let token = (self.choice.token(logits)?).ok_or_else(|| ModelError::NotFinite {
            what: "a logit",
            place: self.cell.place(step),
        })?;
        if self.cell.steering.is_none() {
            self.rollout
                .nll
                .push(kernels::negative_log_likelihood(logits, token as usize));
        }
        self.rollout.tokens.push(token);
        self.rollout.ended = end_of_text.contains(&token);
        self.position += self.pending.len();
        self.pending = vec![token];
        let ended = self.rollout.ended && self.cell.stop_at_end;
        Ok(ended || self.rollout.tokens.len() == self.cell.horizon)
    }

    /// Goes back to the last prompt token, to read the generated tokens without steering.
    fn begin_scoring(&mut self) {
        let generated = &self.rollout.tokens;
        self.phase = Phase::Score;
        self.position = self.cell.prompt.len() - 1;
        self.pending = vec![self.cell.prompt[self.position]];
        self.pending
            .extend_from_slice(&generated[..generated.len() - 1]);
    }

    /// Takes the likelihood of the next generated token; true after the last one.
    fn score(&mut self, logits: &[f32]) -> bool {
        let token = self.rollout.tokens[self.rollout.nll.len()];
        self.rollout
            .nll
            .push(kernels::negative_log_likelihood(logits, token as usize));
        self.rollout.nll.len() == self.rollout.tokens.len()
    }
}
