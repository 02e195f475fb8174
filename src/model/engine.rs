//! A model with real weights, behind the door.

use std::sync::mpsc;
use std::thread;

use candle_core::{DType, Device};

use super::check::{self, Readout};
use super::decoder::Decoder;
use super::lane::Lane;
use super::lanes::{Lanes, Load, PROGRAM, Resources};
use super::observe::observe;
use super::tensor::{TensorDecoder, attributions};
use super::work::{Outcome, Task, Work};
use super::{
    Attribution, Cell, Detokenizer, FfnNorm, FirstStep, LanguageModel, ModelError, ModelHeader,
    Observed, Probe, Rollout, Sequence, Shape,
};
use crate::spec::model::Dtype;
use crate::stop::{Stop, Stopped};
use crate::units::{NeuronId, TokenId};

/// A language model with its weights in memory.
pub struct Transformer {
    header: ModelHeader,
    decoder: Decoder,
    resources: Resources,
    stop: Stop,
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
        let decoder = header.decoder()?;
        Ok(Self {
            header,
            decoder,
            resources,
            stop: Stop::default(),
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
            Outcome::FirstStep { .. } => Ok(()),
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
            check::cell(&self.decoder.sizes, Dtype::F32, cell)?;
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
        let work = Work::new(&self.decoder, end_of_text, cells, task, lanes, &self.stop);
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
            let mut left = cells.len();
            for result in received {
                let done = result
                    .map_err(anyhow::Error::from)
                    .and_then(|(cell, outcome)| finished(cell, outcome));
                if let Err(error) = done {
                    work.stop();
                    return Err(error);
                }
                left -= 1;
            }
            // Lanes that were asked to stop just end.
            match left {
                0 => Ok(()),
                _ => Err(ModelError::Stopped(Stopped).into()),
            }
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

    fn stop_on(&mut self, stop: Stop) {
        self.stop = stop;
    }

    fn write_direction(&self, neuron: NeuronId) -> Vec<f32> {
        self.decoder.write_direction(neuron)
    }

    fn ffn_norm(&self, layer: usize) -> Option<FfnNorm> {
        self.decoder.ffn_norm(layer)
    }

    fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        self.decoder.readout_direction(token)
    }

    fn logits_of(&self, residual: &[f32]) -> Result<Vec<f32>, ModelError> {
        let (mut hidden, mut logits) = (Vec::new(), Vec::new());
        self.decoder.norm.apply(residual, &mut hidden);
        self.decoder.vocabulary.logits(&hidden, &mut logits);
        check::logits(logits)
    }

    fn observe(
        &self,
        sequences: &[Sequence<'_>],
        probe: Probe,
        visit: &mut dyn FnMut(usize, Observed),
    ) -> Result<(), ModelError> {
        // As many at a time as there are threads; each by itself, so that its bits are the same.
        let mut number = 0..;
        for together in sequences.chunks(self.resources.threads.max(1)) {
            self.stop.check()?;
            let decoder = &self.decoder;
            let observed: Vec<Result<Observed, ModelError>> = thread::scope(|scope| {
                let running: Vec<_> = (together.iter())
                    .map(|sequence| scope.spawn(move || observe(decoder, sequence, probe)))
                    .collect();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
                    Ok(observed) => observed,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                running.into_iter().map(join).collect()
            });
            for (i, observed) in number.by_ref().zip(observed) {
                visit(i, observed?);
            }
        }
        Ok(())
    }

    fn first_steps(
        &self,
        cells: &[Cell<'_>],
        visit: &mut dyn FnMut(usize, FirstStep<'_>),
    ) -> Result<(), ModelError> {
        let mut finished = |cell, outcome| {
            if let Outcome::FirstStep { logits, residual } = &outcome {
                visit(cell, FirstStep { logits, residual });
            }
            Ok(())
        };
        (self.run(cells, Task::FirstStep, &mut finished))
            .map_err(|error| error.downcast().expect("only the model fails here"))
    }

    fn attributions(
        &self,
        prompts: &[&[TokenId]],
        targets: &[TokenId],
        controls: &[TokenId],
        visit: &mut dyn FnMut(usize, Attribution),
    ) -> Result<(), ModelError> {
        let shape = &self.header.shape;
        // For as long as the call: the weights a second time, and of one block a third time, as their gradients are made with the others.
        let weights = shape.parameters * size_of::<f32>();
        let needed = PROGRAM + 2 * weights + weights / shape.layers.max(1);
        if needed > self.resources.memory {
            return Err(ModelError::Memory {
                what: "the gradients of the model",
                needed,
                allowed: self.resources.memory,
            });
        }
        let readout = Readout { targets, controls };
        let decoder = TensorDecoder::copy_of(&self.decoder, &Device::Cpu, DType::F32)?;
        attributions(&decoder, prompts, readout, &self.stop, visit)
    }

    fn rollouts(
        &self,
        cells: &[Cell<'_>],
        finished: &mut dyn FnMut(usize, Rollout) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        self.run(cells, Task::Rollout, &mut |cell, outcome| match outcome {
            Outcome::Rollout(rollout) => finished(cell, rollout),
            Outcome::FirstStep { .. } => Ok(()),
        })
    }
}
