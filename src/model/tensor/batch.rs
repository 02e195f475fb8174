//! A batch of rollouts of prompts of one length, from the prompt to the last token.

use std::collections::BTreeMap;

use candle_core::{DType, Result, Tensor};

use super::forward::{Cache, TensorDecoder, TensorHook};
use crate::model::choice::{Choice, choice, is_steered};
use crate::model::kernels::{self, LogSumExp};
use crate::model::{Cell, ModelError, Rollout, Steering};
use crate::units::{NeuronId, TokenId};

/// Cells whose prompts have one length.
pub struct Batch<'a> {
    /// Number of each cell.
    pub numbers: Vec<usize>,
    cells: Vec<&'a Cell<'a>>,
}

impl<'a> Batch<'a> {
    /// The cells of these numbers; at least one.
    pub fn new(cells: &'a [Cell<'a>], numbers: &[usize]) -> Self {
        Self {
            numbers: numbers.to_vec(),
            cells: numbers.iter().map(|&number| &cells[number]).collect(),
        }
    }

    fn prompt_len(&self) -> usize {
        self.cells[0].prompt.len()
    }
}

/// A batch on its way.
pub struct Run<'a> {
    decoder: &'a TensorDecoder,
    batch: &'a Batch<'a>,
    end_of_text: &'a [TokenId],
    cache: Cache,
    rollouts: Vec<Rollout>,
    choices: Vec<Choice>,
    finished: Vec<bool>,
    directions: BTreeMap<NeuronId, Vec<f32>>,
    /// Generation steps made.
    steps: usize,
}

impl<'a> Run<'a> {
    /// Before the first token.
    pub fn new(
        decoder: &'a TensorDecoder,
        batch: &'a Batch<'a>,
        end_of_text: &'a [TokenId],
    ) -> Self {
        Self {
            decoder,
            batch,
            end_of_text,
            cache: decoder.cache(),
            rollouts: vec![Rollout::default(); batch.cells.len()],
            choices: batch.cells.iter().map(|cell| choice(cell)).collect(),
            finished: vec![false; batch.cells.len()],
            directions: BTreeMap::new(),
            steps: 0,
        }
    }

    /// Generates every rollout to its end, then reads the tokens again without steering for their likelihood.
    pub fn finish(mut self) -> std::result::Result<Vec<Rollout>, ModelError> {
        while self.finished.iter().any(|finished| !finished) {
            let logits = self.step()?;
            for (row, logits) in logits.into_iter().enumerate() {
                self.choose(row, &logits)?;
            }
        }
        self.score()?;
        Ok(self.rollouts)
    }

    /// One steered forward pass, of the prompts or of the last tokens: the logits after it, `[vocab]` for each cell.
    pub fn step(&mut self) -> std::result::Result<Vec<Vec<f32>>, ModelError> {
        let prompt_len = self.batch.prompt_len();
        let (tokens, first): (Vec<TokenId>, usize) = match self.steps {
            0 => (
                self.batch
                    .cells
                    .iter()
                    .flat_map(|cell| cell.prompt)
                    .copied()
                    .collect(),
                0,
            ),
            // A finished row goes on with its last token, and nobody looks at it.
            steps => {
                let last = |rollout: &Rollout| *rollout.tokens.last().expect("a step was made");
                (
                    self.rollouts.iter().map(last).collect(),
                    prompt_len + steps - 1,
                )
            }
        };
        let mut hook = Doses {
            decoder: self.decoder,
            cells: &self.batch.cells,
            first,
            prompt_len,
            outputs: BTreeMap::new(),
        };
        let batch = self.batch.cells.len();
        let hidden = self
            .decoder
            .forward(&tokens, batch, first, &mut self.cache, &mut hook)?;
        let outputs = hook.outputs;
        self.read_cosines(&outputs)?;
        self.steps += 1;
        let last = hidden
            .narrow(1, hidden.dim(1)? - 1, 1)?
            .squeeze(1)?
            .contiguous()?;
        Ok(self.decoder.logits(&last)?.to_vec2()?)
    }

    /// The coordinate of each row that was steered at this step.
    fn read_cosines(
        &mut self,
        outputs: &BTreeMap<usize, Vec<Vec<f32>>>,
    ) -> std::result::Result<(), ModelError> {
        for (row, cell) in self.batch.cells.iter().enumerate() {
            let Some(steering) = cell.steering.filter(|s| is_steered(s, Some(self.steps))) else {
                continue;
            };
            if self.finished[row] {
                continue;
            }
            let NeuronId { layer, index } = steering.neuron;
            if !self.directions.contains_key(&steering.neuron) {
                let direction = self.decoder.write_direction(layer, index)?;
                self.directions.insert(steering.neuron, direction);
            }
            let output = outputs.get(&layer).ok_or_else(|| ModelError::NotApplied {
                steering: place(&steering, self.steps),
                why: "the forward pass has no such layer".into(),
            })?;
            let cosine = kernels::cosine(&output[row], &self.directions[&steering.neuron]);
            if !output[row].iter().all(|x| x.is_finite()) {
                return Err(ModelError::NotFinite {
                    what: "the residual stream",
                    place: place(&steering, self.steps),
                });
            }
            self.rollouts[row].cosines.push(cosine);
        }
        Ok(())
    }

    fn choose(&mut self, row: usize, logits: &[f32]) -> std::result::Result<(), ModelError> {
        if self.finished[row] {
            return Ok(());
        }
        let (cell, rollout) = (self.batch.cells[row], &mut self.rollouts[row]);
        let step = rollout.tokens.len();
        let token = self.choices[row]
            .token(logits)?
            .ok_or_else(|| ModelError::NotFinite {
                what: "a logit",
                place: cell.place(step),
            })?;
        rollout.tokens.push(token);
        rollout.ended = self.end_of_text.contains(&token);
        self.finished[row] = cell.is_over(rollout);
        Ok(())
    }

    /// Likelihood of the generated tokens under the unsteered model.
    fn score(&mut self) -> std::result::Result<(), ModelError> {
        let longest = self
            .rollouts
            .iter()
            .map(|r| r.tokens.len())
            .max()
            .unwrap_or(0);
        let (prompt_len, batch) = (self.batch.prompt_len(), self.batch.cells.len());
        // Shorter rollouts are filled up behind their end, where no token before it looks.
        let read = |(cell, rollout): (&&Cell<'_>, &Rollout)| {
            let generated = rollout.tokens.iter().copied().chain(std::iter::repeat(0));
            let tokens = cell.prompt.iter().copied().chain(generated);
            tokens
                .take(prompt_len + longest - 1)
                .collect::<Vec<TokenId>>()
        };
        let tokens: Vec<TokenId> = self
            .batch
            .cells
            .iter()
            .zip(&self.rollouts)
            .flat_map(read)
            .collect();
        let mut cache = self.decoder.cache();
        let hidden = self
            .decoder
            .forward(&tokens, batch, 0, &mut cache, &mut Unsteered)?;
        for (row, rollout) in self.rollouts.iter_mut().enumerate() {
            let rows = hidden
                .get(row)?
                .narrow(0, prompt_len - 1, rollout.tokens.len())?;
            let logits: Vec<Vec<f32>> = self.decoder.logits(&rows.contiguous()?)?.to_vec2()?;
            rollout.nll = (logits.iter().zip(&rollout.tokens))
                .map(|(logits, token)| {
                    LogSumExp::of(logits).negative_log_likelihood(logits[*token as usize])
                })
                .collect();
        }
        Ok(())
    }
}

/// Where a steered rollout stands, for an error.
fn place(steering: &Steering, step: usize) -> String {
    format!(
        "{} after a dose of {}, generation step {step}",
        steering.neuron, steering.dose.0
    )
}

/// Changes nothing.
struct Unsteered;

impl TensorHook for Unsteered {}

/// Adds each row's dose.
struct Doses<'a> {
    decoder: &'a TensorDecoder,
    cells: &'a [&'a Cell<'a>],
    /// Position of the first token that is read.
    first: usize,
    prompt_len: usize,
    /// Block outputs at the last position, by layer that holds a steered neuron: `[batch × d_model]`.
    outputs: BTreeMap<usize, Vec<Vec<f32>>>,
}

impl Doses<'_> {
    fn steers(&self, layer: usize) -> bool {
        let in_layer = |cell: &&Cell<'_>| cell.steering.is_some_and(|s| s.neuron.layer == layer);
        self.cells.iter().any(in_layer)
    }
}

impl TensorHook for Doses<'_> {
    fn activations(&mut self, layer: usize, activations: Tensor) -> Result<Tensor> {
        if !self.steers(layer) {
            return Ok(activations);
        }
        let (batch, count, d_ff) = activations.dims3()?;
        let mut doses = vec![0.0_f32; batch * count * d_ff];
        for (row, cell) in self.cells.iter().enumerate() {
            let Some(steering) = cell.steering.filter(|s| s.neuron.layer == layer) else {
                continue;
            };
            for offset in 0..count {
                let step = (self.first + offset + 1).checked_sub(self.prompt_len);
                if is_steered(&steering, step) {
                    doses[(row * count + offset) * d_ff + steering.neuron.index] = steering.dose.0;
                }
            }
        }
        let doses = Tensor::from_vec(doses, (batch, count, d_ff), self.decoder.device())?;
        activations + doses.to_dtype(self.decoder.dtype())?
    }

    fn block_output(&mut self, layer: usize, residual: &Tensor) -> Result<()> {
        if self.steers(layer) {
            let last = residual.narrow(1, residual.dim(1)? - 1, 1)?.squeeze(1)?;
            self.outputs
                .insert(layer, last.to_dtype(DType::F32)?.to_vec2()?);
        }
        Ok(())
    }
}
