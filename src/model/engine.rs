//! A model with real weights, behind the door.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::thread;

use super::checkpoint::Checkpoint;
use super::kv_cache::{KvCache, Prefix};
use super::lane::{Lane, Task};
use super::llama::{Hook, Llama, Row};
use super::{
    Cell, LanguageModel, ModelError, ModelHeader, Observed, Probe, Rollout, Sequence, Shape,
};
use crate::units::{NeuronId, TokenId};

/// Rows of a forward pass that are computed together: enough to use the processor well, few enough to stay in its caches.
const BATCH_ROWS: usize = 256;

/// A language model with its weights in memory.
pub struct Transformer {
    header: ModelHeader,
    llama: Llama,
    threads: usize,
}

impl Transformer {
    /// Reads the weights. Rollouts will be made by `threads` threads; their number does not influence any result.
    pub fn load(header: ModelHeader, threads: usize) -> Result<Self, ModelError> {
        let checkpoint = Checkpoint::open(&header.folder)?;
        let llama = Llama::load(&header.config, &checkpoint)?;
        Ok(Self {
            header,
            llama,
            threads: threads.max(1),
        })
    }

    /// Runs cells to their end, on all threads, and calls `finished` on this one.
    fn run(
        &self,
        cells: &[Cell<'_>],
        task: Task,
        finished: &mut dyn FnMut(usize, Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let work = Work::new(&self.llama, &self.header.end_of_text, cells, task)?;
        let threads = self.threads.min(cells.len().div_ceil(4)).max(1);
        thread::scope(|scope| {
            let (results, received) = mpsc::channel();
            for _ in 0..threads {
                let (work, results) = (&work, results.clone());
                let slots = work.slots_per_lane(threads);
                scope.spawn(move || {
                    if let Err(error) = Lane::new(work, slots).run(&results) {
                        work.stop();
                        // The receiver is gone only when another error was first.
                        let _ = results.send(Err(error));
                    }
                });
            }
            drop(results);
            for result in received {
                let done = result
                    .map_err(anyhow::Error::from)
                    .and_then(|(cell, outcome)| finished(cell, outcome));
                if let Err(error) = done {
                    work.stop();
                    return Err(error);
                }
            }
            Ok(())
        })
    }
}

/// What a finished cell leaves.
pub enum Outcome {
    /// Of a rollout.
    Rollout(Rollout),
    /// Of a single step: the logits, `[vocab]`.
    Logits(Vec<f32>),
}

impl LanguageModel for Transformer {
    fn shape(&self) -> &Shape {
        &self.header.shape
    }

    fn write_direction(&self, neuron: NeuronId) -> Vec<f32> {
        self.llama.write_direction(neuron).to_vec()
    }

    fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        self.llama.readout_direction(token)
    }

    fn decode(&self, tokens: &[TokenId]) -> String {
        self.header.codec.decode(tokens)
    }

    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError> {
        for (i, sequence) in sequences.iter().enumerate() {
            visit(i, observe_one(&self.llama, sequence, probe)?);
        }
        Ok(())
    }

    fn first_logits(
        &self,
        cells: &[Cell<'_>],
        visit: &mut dyn FnMut(usize, &[f32]),
    ) -> Result<(), ModelError> {
        let mut finished = |cell, outcome| {
            if let Outcome::Logits(logits) = outcome {
                visit(cell, &logits);
            }
            Ok(())
        };
        (self.run(cells, Task::FirstLogits, &mut finished))
            .map_err(|error| error.downcast().expect("only the model fails here"))
    }

    fn rollouts(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Rollout) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.run(cells, Task::Rollout, &mut |cell, outcome| match outcome {
            Outcome::Rollout(rollout) => finished(cell, rollout),
            Outcome::Logits(_) => Ok(()),
        })
    }
}

/// What all lanes share: the cells that wait, and the prompts' prefixes.
pub struct Work<'a> {
    /// The model.
    pub llama: &'a Llama,
    /// Its end-of-text tokens.
    pub end_of_text: &'a [TokenId],
    /// What is done with each cell.
    pub task: Task,
    /// Own positions that a slot must hold.
    pub capacity: usize,
    cells: &'a [Cell<'a>],
    /// Cells in the order in which they start: by prompt, so that a prefix is needed for a while and then never again.
    order: Vec<usize>,
    next: AtomicUsize,
    stopped: AtomicBool,
    prefixes: Mutex<HashMap<&'a [TokenId], Weak<Prefix>>>,
}

impl<'a> Work<'a> {
    fn new(
        llama: &'a Llama,
        end_of_text: &'a [TokenId],
        cells: &'a [Cell<'a>],
        task: Task,
    ) -> Result<Self, ModelError> {
        for cell in cells {
            check(llama, cell)?;
        }
        let mut order: Vec<usize> = (0..cells.len()).collect();
        order.sort_by_key(|&i| (cells[i].prompt, i));
        let own = |cell: &Cell<'_>| cell.prompt.len() - cell.shared_len() + cell.horizon;
        Ok(Self {
            llama,
            end_of_text,
            task,
            capacity: cells.iter().map(own).max().unwrap_or(1),
            cells,
            order,
            next: AtomicUsize::new(0),
            stopped: AtomicBool::new(false),
            prefixes: Mutex::default(),
        })
    }

    /// The next cell to start.
    pub fn take(&self) -> Option<(usize, &'a Cell<'a>)> {
        if self.stopped.load(Ordering::Relaxed) {
            return None;
        }
        let &cell = self.order.get(self.next.fetch_add(1, Ordering::Relaxed))?;
        Some((cell, &self.cells[cell]))
    }

    /// Whether lanes should give up.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Relaxed)
    }

    fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Keys and values of unsteered tokens at the start of a sequence, computed once while anybody uses them.
    pub fn prefix(&self, tokens: &'a [TokenId]) -> Arc<Prefix> {
        let lock = || self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(prefix) = lock().get(tokens).and_then(Weak::upgrade) {
            return prefix;
        }
        // Outside the lock: two lanes may compute the same prefix, with the same bits.
        let prefix = Arc::new(compute_prefix(self.llama, tokens));
        lock().insert(tokens, Arc::downgrade(&prefix));
        prefix
    }

    fn slots_per_lane(&self, threads: usize) -> usize {
        /// Memory for the slots of one lane.
        const LANE_BYTES: usize = 256 << 20;
        let c = self.llama.config();
        let slot = KvCache::bytes_per_slot(
            c.num_hidden_layers,
            c.num_key_value_heads * c.head_dim,
            self.capacity,
        );
        (LANE_BYTES / slot.max(1))
            .clamp(8, BATCH_ROWS)
            .min(self.cells.len().div_ceil(threads))
            .max(1)
    }
}

fn check(llama: &Llama, cell: &Cell<'_>) -> Result<(), ModelError> {
    let c = llama.config();
    let refuse = |why: String| ModelError::NotApplied {
        steering: format!("a rollout of {} tokens", cell.horizon),
        why,
    };
    if cell.prompt.is_empty() {
        return Err(refuse("its prompt is empty".into()));
    }
    if cell.prompt.len() + cell.horizon > c.max_position_embeddings + 1 {
        let (prompt, context) = (cell.prompt.len(), c.max_position_embeddings);
        return Err(refuse(format!(
            "its prompt of {prompt} tokens leaves no room in the context of {context}"
        )));
    }
    if let Some(token) = cell
        .prompt
        .iter()
        .find(|&&token| token as usize >= c.vocab_size)
    {
        return Err(refuse(format!(
            "token {token} is not in the vocabulary of {}",
            c.vocab_size
        )));
    }
    if let Some(steering) = cell.steering {
        let NeuronId { layer, index } = steering.neuron;
        if layer >= c.num_hidden_layers
            || index >= c.intermediate_size
            || !steering.dose.0.is_finite()
        {
            return Err(ModelError::NotApplied {
                steering: format!("dose {} on {}", steering.dose.0, steering.neuron),
                why: format!(
                    "the model has {} layers of {} neurons, and doses are finite",
                    c.num_hidden_layers, c.intermediate_size
                ),
            });
        }
    }
    Ok(())
}

/// Does nothing.
struct NoHook;

impl Hook for NoHook {}

fn rows_of(tokens: &[TokenId]) -> Vec<Row> {
    (tokens.iter().enumerate())
        .map(|(position, &token)| Row {
            token,
            position,
            slot: 0,
        })
        .collect()
}

fn one_slot(llama: &Llama, capacity: usize) -> KvCache {
    let c = llama.config();
    KvCache::new(
        c.num_hidden_layers,
        c.num_key_value_heads * c.head_dim,
        1,
        capacity,
    )
}

fn compute_prefix(llama: &Llama, tokens: &[TokenId]) -> Prefix {
    let mut cache = one_slot(llama, tokens.len());
    for rows in rows_of(tokens).chunks(BATCH_ROWS) {
        llama.forward(rows, &mut cache, &mut NoHook);
    }
    cache.to_prefix(0, tokens.len())
}

fn observe_one(
    llama: &Llama,
    sequence: &Sequence<'_>,
    probe: Probe,
) -> Result<Observed, ModelError> {
    let c = llama.config();
    let mut cache = one_slot(llama, sequence.tokens.len());
    let mut observer = Observer::new(llama, probe);
    for rows in rows_of(sequence.tokens).chunks(BATCH_ROWS) {
        observer.skip = sequence
            .from
            .saturating_sub(rows[0].position)
            .min(rows.len());
        let hidden = llama.forward(rows, &mut cache, &mut observer);
        if probe.logits {
            let logits = llama.logits(&hidden[observer.skip * c.hidden_size..]);
            observer.seen.logits.extend_from_slice(&logits);
        }
    }
    let seen = observer.seen;
    let numbers = (seen.residuals.iter().chain(&seen.activations))
        .chain([&seen.logits])
        .flatten();
    if let Some(bad) = numbers.copied().find(|x| !x.is_finite()) {
        return Err(ModelError::NotFinite {
            what: "the unsteered forward pass",
            place: format!("a sequence of {} tokens ({bad})", sequence.tokens.len()),
        });
    }
    Ok(seen)
}

/// Keeps what is asked for.
struct Observer {
    probe: Probe,
    d_model: usize,
    d_ff: usize,
    /// Rows of the current batch before the first observed position.
    skip: usize,
    seen: Observed,
}

impl Observer {
    fn new(llama: &Llama, probe: Probe) -> Self {
        let c = llama.config();
        let layers = |wanted: bool| {
            if wanted {
                vec![Vec::new(); c.num_hidden_layers]
            } else {
                Vec::new()
            }
        };
        Self {
            probe,
            d_model: c.hidden_size,
            d_ff: c.intermediate_size,
            skip: 0,
            seen: Observed {
                residuals: layers(probe.residuals),
                activations: layers(probe.activations),
                logits: Vec::new(),
            },
        }
    }
}

impl Hook for Observer {
    fn activations(&mut self, layer: usize, activations: &mut [f32]) {
        if self.probe.activations {
            self.seen.activations[layer].extend_from_slice(&activations[self.skip * self.d_ff..]);
        }
    }

    fn block_output(&mut self, layer: usize, residual: &[f32]) {
        if self.probe.residuals {
            self.seen.residuals[layer].extend_from_slice(&residual[self.skip * self.d_model..]);
        }
    }
}
