//! A model with real weights, behind the door.

use std::sync::mpsc;
use std::thread;

use super::checkpoint::Checkpoint;
use super::decoder::{Batch, Decoder, Sizes};
use super::kv_cache;
use super::lane::Lane;
use super::lanes::{BATCH_ROWS, Lanes, Load, Resources};
use super::parts;
use super::tensors::Tensors;
use super::work::{Outcome, Task, Work, rows_of};
use super::{
    Cell, Detokenizer, LanguageModel, ModelError, ModelHeader, Observed, Probe, Rollout, Sequence,
    Shape,
};
use crate::units::{NeuronId, TokenId};

/// A language model with its weights in memory.
pub struct Transformer {
    header: ModelHeader,
    decoder: Decoder,
    resources: Resources,
}

impl Transformer {
    /// Reads the weights. Rollouts will be made with these resources, which do not influence any result.
    ///
    /// # Errors
    /// A damaged checkpoint, or weights that do not fit into the memory.
    pub fn load(header: ModelHeader, resources: Resources) -> Result<Self, ModelError> {
        let least = Load {
            parameters: header.shape.parameters,
            cells: 1,
            capacity: 1,
            prefix: 1,
            prompt: 1,
        };
        Lanes::new(&header.family.sizes(), least, resources)?;
        let checkpoint = Checkpoint::open(&header.folder)?;
        let decoder = header.family.build(&mut Tensors::of(&checkpoint))?;
        Ok(Self {
            header,
            decoder,
            resources,
        })
    }

    /// Makes rollouts of which only the tokens are wanted, and calls `finished` with the cell's number and the tokens of each, in any order.
    /// They are those of [`LanguageModel::rollouts`]. Without their likelihood under the unsteered model it takes less time, up to half as
    /// much: below the steered layers alone is computed what would have been without steering.
    ///
    /// # Errors
    /// Those of the model and of `finished`.
    pub fn generate(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Vec<TokenId>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.run(cells, Task::Tokens, &mut |cell, outcome| match outcome {
            Outcome::Rollout(rollout) => finished(cell, rollout.tokens),
            Outcome::Logits(_) => Ok(()),
        })
    }

    /// Runs cells to their end, on all threads, and calls `finished` on this one.
    fn run(
        &self,
        cells: &[Cell<'_>],
        task: Task,
        finished: &mut dyn FnMut(usize, Outcome) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for cell in cells {
            check(&self.decoder.sizes, cell)?;
        }
        let load = Load {
            parameters: self.header.shape.parameters,
            cells: cells.len(),
            capacity: cells.iter().map(Cell::own_positions).max().unwrap_or(1),
            prefix: cells.iter().map(Cell::shared_len).max().unwrap_or(0),
            prompt: (cells.iter())
                .map(|cell| cell.prompt.len() - cell.shared_len())
                .max()
                .unwrap_or(0),
        };
        let lanes = Lanes::new(&self.decoder.sizes, load, self.resources)?;
        let end_of_text = &self.header.end_of_text;
        let work = Work::new(&self.decoder, end_of_text, cells, task, lanes);
        thread::scope(|scope| {
            let (results, received) = mpsc::channel();
            for _ in 0..work.lanes.count {
                let (work, results) = (&work, results.clone());
                scope.spawn(move || {
                    if let Err(error) = Lane::new(work).run(&results) {
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

impl Detokenizer for Transformer {
    fn decode(&self, tokens: &[TokenId]) -> String {
        self.header.codec.decode(tokens)
    }
}

impl LanguageModel for Transformer {
    fn shape(&self) -> &Shape {
        &self.header.shape
    }

    fn write_direction(&self, neuron: NeuronId) -> Vec<f32> {
        self.decoder.write_direction(neuron)
    }

    fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        self.decoder.readout_direction(token)
    }

    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError> {
        for (i, sequence) in sequences.iter().enumerate() {
            visit(i, observe_one(&self.decoder, sequence, probe)?);
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

/// Refuses a cell that the model cannot run.
pub(super) fn check(sizes: &Sizes, cell: &Cell<'_>) -> Result<(), ModelError> {
    let refuse = |why: String| ModelError::NotApplied {
        steering: format!("a rollout of {} tokens", cell.horizon),
        why,
    };
    if cell.prompt.is_empty() {
        return Err(refuse("its prompt is empty".into()));
    }
    if cell.prompt.len() + cell.horizon > sizes.context + 1 {
        let (prompt, context) = (cell.prompt.len(), sizes.context);
        return Err(refuse(format!(
            "its prompt of {prompt} tokens leaves no room in the context of {context}"
        )));
    }
    if let Some(token) = cell
        .prompt
        .iter()
        .find(|&&token| token as usize >= sizes.vocab)
    {
        return Err(refuse(format!(
            "token {token} is not in the vocabulary of {}",
            sizes.vocab
        )));
    }
    if let Some(steering) = cell.steering {
        let NeuronId { layer, index } = steering.neuron;
        if layer >= sizes.layers || index >= sizes.d_ff || !steering.dose.0.is_finite() {
            return Err(ModelError::NotApplied {
                steering: format!("dose {} on {}", steering.dose.0, steering.neuron),
                why: format!(
                    "the model has {} layers of {} neurons, and doses are finite",
                    sizes.layers, sizes.d_ff
                ),
            });
        }
    }
    Ok(())
}

fn observe_one(
    decoder: &Decoder,
    sequence: &Sequence<'_>,
    probe: Probe,
) -> Result<Observed, ModelError> {
    let sizes = &decoder.sizes;
    let mut own = kv_cache::Sequence::whole(decoder, sequence.tokens.len());
    let mut logits = Vec::new();
    let mut scratch = parts::Scratch::default();
    let mut observer = Observer::new(decoder, probe);
    for rows in rows_of(sequence.tokens).chunks(BATCH_ROWS) {
        observer.skip = sequence
            .from
            .saturating_sub(rows[0].position)
            .min(rows.len());
        let batch = Batch::unsteered(rows.to_vec(), sizes);
        let passed = decoder.forward(&batch, &mut [&mut own], &mut observer, &mut scratch);
        if probe.logits {
            let observed = &passed.hidden[observer.skip * sizes.d_model..];
            decoder.vocabulary.logits(observed, &mut logits);
            observer.seen.logits.extend_from_slice(&logits);
        }
    }
    finite(observer.seen, sequence)
}

/// What was seen, if all of it are numbers.
pub(super) fn finite(seen: Observed, sequence: &Sequence<'_>) -> Result<Observed, ModelError> {
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
    fn new(decoder: &Decoder, probe: Probe) -> Self {
        let sizes = &decoder.sizes;
        let layers = |wanted: bool| {
            if wanted {
                vec![Vec::new(); sizes.layers]
            } else {
                Vec::new()
            }
        };
        Self {
            probe,
            d_model: sizes.d_model,
            d_ff: sizes.d_ff,
            skip: 0,
            seen: Observed {
                residuals: layers(probe.residuals),
                activations: layers(probe.activations),
                logits: Vec::new(),
            },
        }
    }
}

impl parts::Observer for Observer {
    fn activations(&mut self, layer: usize, activations: &[f32]) {
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
