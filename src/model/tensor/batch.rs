//! A batch of rollouts of prompts of one length, from the prompt to the last token.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use candle_core::{DType, Result, Tensor};

use super::forward::{Cache, TensorHook, Unsteered};
use super::weights::TensorDecoder;
use crate::model::choice::{Choice, choice, is_steered};
use crate::model::kernels::{self, LogSumExp};
use crate::model::write::{FfnNorm, Write};
use crate::model::{Cell, ModelError, Rollout, Steering, check};
use crate::stop::Stop;
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
    writes: BTreeMap<NeuronId, Write>,
    /// The output of the last block at the last position, `[batch, d_model]`.
    residual: Option<Tensor>,
    /// Generation steps made.
    steps: usize,
}

impl<'a> Run<'a> {
    /// Before the first token.
    pub fn new(
        decoder: &'a TensorDecoder,
        batch: &'a Batch<'a>,
        end_of_text: &'a [TokenId],
    ) -> Result<Self> {
        let mut writes = BTreeMap::new();
        for steering in batch.cells.iter().filter_map(|cell| cell.steering) {
            if let Entry::Vacant(entry) = writes.entry(steering.neuron) {
                let norm: Option<FfnNorm> = decoder.ffn_norm(steering.neuron.layer)?;
                let direction = decoder.write_direction(steering.neuron)?;
                entry.insert(Write::new(direction, norm.as_ref()));
            }
        }
        Ok(Self {
            decoder,
            batch,
            end_of_text,
            cache: decoder.cache(),
            rollouts: vec![Rollout::default(); batch.cells.len()],
            choices: batch.cells.iter().map(|cell| choice(cell)).collect(),
            finished: vec![false; batch.cells.len()],
            writes,
            residual: None,
            steps: 0,
        })
    }

    /// Generates every rollout to its end, then reads the tokens again without steering for their likelihood.
    pub fn finish(mut self, stop: &Stop) -> std::result::Result<Vec<Rollout>, ModelError> {
        while self.finished.iter().any(|finished| !finished) {
            stop.check()?;
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
            writes: &self.writes,
            first,
            prompt_len,
            absorbed: vec![false; self.batch.cells.len()],
            outputs: BTreeMap::new(),
            residual: None,
        };
        let batch = self.batch.cells.len();
        let hidden = self
            .decoder
            .forward(&tokens, batch, first, &mut self.cache, &mut hook)?;
        let Doses {
            outputs,
            residual,
            absorbed,
            ..
        } = hook;
        if let Some(row) = (0..batch).find(|&row| absorbed[row] && !self.finished[row]) {
            return Err(self.batch.cells[row].not_applied(self.steps, check::ABSORBED));
        }
        self.residual = residual;
        self.read_cosines(&outputs)?;
        self.steps += 1;
        let last = hidden
            .narrow(1, hidden.dim(1)? - 1, 1)?
            .squeeze(1)?
            .contiguous()?;
        Ok(self.decoder.logits(&last)?.to_vec2()?)
    }

    /// The output of the last block at the last position of the last step, `[d_model]` for each cell.
    pub fn residuals(&self) -> Result<Vec<Vec<f32>>> {
        match &self.residual {
            Some(residual) => residual.to_dtype(DType::F32)?.to_vec2(),
            None => Ok(Vec::new()),
        }
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
            let output = outputs
                .get(&steering.neuron.layer)
                .ok_or_else(|| cell.not_applied(self.steps, check::NO_LAYER))?;
            let cosine = kernels::cosine(&output[row], self.writes[&steering.neuron].effective());
            if !cosine.is_finite() {
                return Err(cell.not_finite(check::COSINE, self.steps));
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
        let token = self.choices[row].token(cell, step, logits)?;
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
            for (step, (logits, token)) in logits.iter().zip(&rollout.tokens).enumerate() {
                let nll = LogSumExp::of(logits).negative_log_likelihood(logits[*token as usize]);
                if !nll.is_finite() {
                    return Err(self.batch.cells[row].not_finite(check::UNSTEERED_LOGIT, step));
                }
                rollout.nll.push(nll);
            }
        }
        Ok(())
    }
}

/// Adds each row's dose.
struct Doses<'a> {
    decoder: &'a TensorDecoder,
    cells: &'a [&'a Cell<'a>],
    writes: &'a BTreeMap<NeuronId, Write>,
    /// Position of the first token that is read.
    first: usize,
    prompt_len: usize,
    /// By cell: whether its dose changed nothing at the last position.
    absorbed: Vec<bool>,
    /// Block outputs at the last position, by layer that holds a steered neuron: `[batch × d_model]`.
    outputs: BTreeMap<usize, Vec<Vec<f32>>>,
    /// The last of them, as a tensor.
    residual: Option<Tensor>,
}

impl Doses<'_> {
    /// The interventions on a layer, with the rows of their cells.
    fn on(&self, layer: usize) -> impl Iterator<Item = (usize, Steering)> {
        let steered = self.cells.iter().map(|cell| cell.steering);
        let in_layer = move |(row, steering): (usize, Option<Steering>)| {
            Some((row, steering.filter(|s| s.neuron.layer == layer)?))
        };
        steered.enumerate().filter_map(in_layer)
    }

    /// Adds to `x: [batch, positions, width]`, at each steered position of these cells, what `add` puts into a row of zeros.
    fn added(
        &mut self,
        x: Tensor,
        steered: &[(usize, Steering)],
        add: impl Fn(&Steering, &mut [f32], &BTreeMap<NeuronId, Write>),
    ) -> Result<Tensor> {
        if steered.is_empty() {
            return Ok(x);
        }
        let (batch, count, width) = x.dims3()?;
        let mut doses = vec![0.0_f32; batch * count * width];
        for (row, steering) in steered {
            for offset in 0..count {
                let step = (self.first + offset + 1).checked_sub(self.prompt_len);
                if is_steered(steering, step) {
                    add(
                        steering,
                        &mut doses[(row * count + offset) * width..][..width],
                        self.writes,
                    );
                }
            }
        }
        let doses = Tensor::from_vec(doses, (batch, count, width), self.decoder.device())?;
        let sum = (&x + doses.to_dtype(self.decoder.dtype())?)?;
        // Whether a dose is more than rounding, where the next token is decided.
        let last = |x: &Tensor| x.narrow(1, count - 1, 1)?.squeeze(1);
        let changed = last(&sum)?.ne(&last(&x)?)?.to_dtype(DType::F32)?;
        let changed: Vec<f32> = changed.sum(1)?.to_vec1()?;
        let step = (self.first + count).checked_sub(self.prompt_len);
        for (row, steering) in steered {
            self.absorbed[*row] |= is_steered(steering, step) && changed[*row] == 0.0;
        }
        Ok(sum)
    }
}

impl TensorHook for Doses<'_> {
    fn activations(&mut self, layer: usize, activations: Tensor) -> Result<Tensor> {
        let neurons = |(_, s): &(usize, Steering)| s.neuron.direction().is_none();
        let steered: Vec<_> = self.on(layer).filter(neurons).collect();
        self.added(activations, &steered, |steering, row, _| {
            row[steering.neuron.index] = steering.dose.0;
        })
    }

    fn ffn_output(&mut self, layer: usize, written: Tensor) -> Result<Tensor> {
        let directions = |(_, s): &(usize, Steering)| s.neuron.direction().is_some();
        let steered: Vec<_> = self.on(layer).filter(directions).collect();
        self.added(written, &steered, |steering, row, writes| {
            let direction = &writes[&steering.neuron].direction;
            for (x, v) in row.iter_mut().zip(direction) {
                *x = steering.dose.0 * v;
            }
        })
    }

    fn block_output(&mut self, layer: usize, residual: &Tensor) -> Result<()> {
        let last = residual.narrow(1, residual.dim(1)? - 1, 1)?.squeeze(1)?;
        if self.on(layer).next().is_some() {
            let output = last.to_dtype(DType::F32)?.to_vec2()?;
            self.outputs.insert(layer, output);
        }
        self.residual = Some(last);
        Ok(())
    }
}
