//! The training loop: packed batches, AdamW, warm-up and cosine decay, clipped gradients.

use std::f64::consts::PI;
use std::time::Instant;

use anyhow::{Result, ensure};
use candle_core::backprop::GradStore;
use candle_core::{D, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::corpus::Corpus;
use crate::net::{Inputs, Net};
use crate::ops::MASKED;
use crate::recipe::{Phase, Recipe};
use crate::tokenizer::{Encoded, PAD, Vocabulary};

const REPORT_EVERY: usize = 100;

/// Where the documents of a step come from.
pub struct Source<'a> {
    pub recipe: &'a Recipe,
    pub corpus: &'a Corpus<'a>,
    pub vocabulary: &'a Vocabulary,
}

struct Batch {
    inputs: Inputs,
    /// `[rows · window, 1]`
    targets: Tensor,
    /// `[rows, window]`, summing to 1
    weights: Tensor,
    /// `[rows, window]`, 1 where a loss is taken and 0 elsewhere, divided by their number
    counted: Tensor,
}

/// Rows being filled with whole documents, which do not see one another.
#[derive(Default)]
struct Rows {
    ids: Vec<u32>,
    targets: Vec<u32>,
    weights: Vec<f32>,
    /// The document that a position belongs to; padding belongs to its own.
    documents: Vec<usize>,
}

/// Runs every phase of the recipe on `net`.
pub fn train(net: &Net, source: &Source, seed: u64) -> Result<()> {
    for (index, phase) in source.recipe.training.phases.iter().enumerate() {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed.wrapping_add(index as u64));
        run_phase(net, source, phase, rng)?;
    }
    Ok(())
}

fn run_phase(net: &Net, source: &Source, phase: &Phase, rng: &mut ChaCha8Rng) -> Result<()> {
    let training = &source.recipe.training;
    let weights = net.weights();
    let vars: Vec<Var> = weights.iter().map(|(_, var)| (*var).clone()).collect();
    // Norm weights scale the stream and are not decayed.
    let (matrices, scales): (Vec<_>, Vec<_>) =
        vars.iter().cloned().partition(|var| var.rank() == 2);
    let params = ParamsAdamW {
        lr: 0.0,
        beta1: training.beta1,
        beta2: training.beta2,
        eps: 1e-8,
        weight_decay: 0.0,
    };
    let mut decayed = AdamW::new(
        matrices,
        ParamsAdamW {
            weight_decay: training.weight_decay,
            ..params.clone()
        },
    )?;
    let mut plain = AdamW::new(scales, params)?;
    let (start, mut smoothed, mut pending) = (Instant::now(), None, Vec::new());
    for step in 0..phase.steps {
        let rate = learning_rate(phase, step);
        decayed.set_learning_rate(rate);
        plain.set_learning_rate(rate);
        let batch = Batch::draw(source, phase.refuse, &mut pending, rng)?;
        let (loss, penalty) = losses(net, &batch)?;
        let mut grads = (&loss + (&penalty * training.l1)?)?.backward()?;
        clip(&mut grads, &vars, training.clip)?;
        decayed.step(&grads)?;
        plain.step(&grads)?;
        let loss = f64::from(loss.to_scalar::<f32>()?);
        let mean = smoothed.map_or(loss, |mean| 0.98 * mean + 0.02 * loss);
        ensure!(
            mean.is_finite(),
            "the loss is no longer finite at step {step}; lower `learning_rate` in the recipe"
        );
        smoothed = Some(mean);
        if (step + 1) % REPORT_EVERY == 0 || step + 1 == phase.steps {
            let seconds = start.elapsed().as_secs_f64();
            let penalty = penalty.to_scalar::<f32>()?;
            eprintln!(
                "{} {}/{}: loss {mean:.4}, contributions {penalty:.2}, {seconds:.0} s",
                phase.name,
                step + 1,
                phase.steps
            );
        }
    }
    Ok(())
}

/// Linear warm-up, then a cosine down to 2%.
fn learning_rate(phase: &Phase, step: usize) -> f64 {
    let warmup = phase.warmup.max(1);
    let rising = ((step + 1) as f64 / warmup as f64).min(1.0);
    let along =
        step.saturating_sub(warmup) as f64 / phase.steps.saturating_sub(warmup).max(1) as f64;
    phase.learning_rate * rising * (0.02 + 0.98 * 0.5 * (1.0 + (PI * along).cos()))
}

/// Weighted cross-entropy, and the mean size of the feed-forward contributions.
fn losses(net: &Net, batch: &Batch) -> Result<(Tensor, Tensor)> {
    let outputs = net.forward(&batch.inputs)?;
    let log_probabilities = candle_nn::ops::log_softmax(&outputs.logits.flatten_to(1)?, D::Minus1)?;
    let chosen = log_probabilities
        .gather(&batch.targets, 1)?
        .reshape(batch.weights.shape())?;
    let loss = (chosen * &batch.weights)?.sum_all()?.neg()?;
    let penalty = (outputs.contributions * &batch.counted)?.sum_all()?;
    Ok((loss, penalty))
}

/// Scales all gradients so that their joint norm is at most `limit`.
fn clip(grads: &mut GradStore, vars: &[Var], limit: f64) -> Result<()> {
    let mut squares = 0.0;
    for grad in vars.iter().filter_map(|var| grads.get(var)) {
        squares += f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
    }
    let norm = squares.sqrt();
    if norm > limit {
        for var in vars {
            if let Some(grad) = grads.remove(var) {
                grads.insert(var, (grad * (limit / norm))?);
            }
        }
    }
    Ok(())
}

/// Draws that may fail to fit into what is left of a row, before the rest is padded.
const MISFITS: usize = 6;

impl Rows {
    /// Packs documents into one row after the other. What does not fit waits in `pending` for another row, so that long
    /// documents are as frequent as the mixture says.
    fn pack(
        source: &Source,
        refuse: bool,
        pending: &mut Vec<Encoded>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let training = &source.recipe.training;
        let mut rows = Rows::default();
        for row in 1..=training.rows {
            let end = row * training.window;
            let mut document = 0;
            let mut waiting = std::mem::take(pending).into_iter();
            while pending.len() < MISFITS || waiting.len() > 0 {
                let encoded = waiting
                    .next()
                    .map_or_else(|| source.draw(refuse, rng), Ok)?;
                if rows.ids.len() + encoded.ids.len() - 1 > end {
                    pending.push(encoded);
                    continue;
                }
                rows.push(&encoded, document);
                document += 1;
            }
            rows.pad(end, document);
        }
        Ok(rows)
    }

    /// Appends a document: each token predicts the next one.
    fn push(&mut self, encoded: &Encoded, document: usize) {
        self.ids.extend(&encoded.ids[..encoded.ids.len() - 1]);
        self.targets.extend(&encoded.ids[1..]);
        self.weights.extend(&encoded.weights[1..]);
        self.documents.resize(self.ids.len(), document);
    }

    fn pad(&mut self, end: usize, document: usize) {
        self.ids.resize(end, PAD);
        self.targets.resize(end, PAD);
        self.weights.resize(end, 0.0);
        self.documents.resize(end, document);
    }
}

impl Source<'_> {
    fn draw(&self, refuse: bool, rng: &mut ChaCha8Rng) -> Result<Encoded> {
        let document = self.corpus.document(rng, refuse);
        let encoded = self
            .vocabulary
            .encode(&document, self.recipe.corpus.request_weight)?;
        let (length, window) = (encoded.ids.len() - 1, self.recipe.training.window);
        ensure!(
            length <= window,
            "a document of {length} tokens does not fit `training.window` ({window}); raise it"
        );
        Ok(encoded)
    }
}

impl Batch {
    fn draw(
        source: &Source,
        refuse: bool,
        pending: &mut Vec<Encoded>,
        rng: &mut ChaCha8Rng,
    ) -> Result<Self> {
        let (training, device) = (&source.recipe.training, &Device::Cpu);
        let packed = Rows::pack(source, refuse, pending, rng)?;
        let shape = (training.rows, training.window);
        let weights = Tensor::from_vec(packed.weights.clone(), shape, device)?;
        let counted: Vec<f32> = packed
            .weights
            .iter()
            .map(|&weight| f32::from(weight > 0.0))
            .collect();
        let counted = Tensor::from_vec(counted, shape, device)?;
        let share = |t: Tensor| t.broadcast_div(&t.sum_all()?);
        let inputs = Inputs {
            mask: mask(source.recipe, &packed.documents)?,
            ids: Tensor::from_vec(packed.ids, shape, device)?,
            pushes: pushes(source.recipe, rng)?,
        };
        let targets =
            Tensor::from_vec(packed.targets, (training.rows * training.window, 1), device)?;
        Ok(Batch {
            inputs,
            targets,
            weights: share(weights)?,
            counted: share(counted)?,
        })
    }
}

/// A position sees itself and what came before it in its own document. Rotary embeddings depend on distances only,
/// so that positions need not start anew with each document.
fn mask(recipe: &Recipe, documents: &[usize]) -> Result<Tensor> {
    let (rows, window) = (recipe.training.rows, recipe.training.window);
    let mut mask = vec![MASKED; rows * window * window];
    for (row, documents) in documents.chunks_exact(window).enumerate() {
        for (query, document) in documents.iter().enumerate() {
            for key in (0..=query).filter(|&key| documents[key] == *document) {
                mask[(row * window + query) * window + key] = 0.0;
            }
        }
    }
    Ok(Tensor::from_vec(
        mask,
        (rows, window, window),
        &Device::Cpu,
    )?)
}

/// Per layer the random directions of the rows that are pushed there, or none where no row is.
fn pushes(recipe: &Recipe, rng: &mut ChaCha8Rng) -> Result<Vec<Option<Tensor>>> {
    let (a, noise, rows) = (
        &recipe.architecture,
        &recipe.training.direction_noise,
        recipe.training.rows,
    );
    let mut layers: Vec<Option<Vec<f32>>> = vec![None; a.layers];
    for row in 0..rows {
        let layer = rng.random_range(0..a.layers);
        let scale = rng.random_range(0.0..1.0) * noise.scale as f32;
        if !rng.random_bool(noise.rows) {
            continue;
        }
        let direction: Vec<f32> = (0..a.hidden_size)
            .map(|_| StandardNormal.sample(rng))
            .collect();
        let norm = direction.iter().map(|x| x * x).sum::<f32>().sqrt();
        let pushed = layers[layer].get_or_insert_with(|| vec![0.0; rows * a.hidden_size]);
        for (slot, x) in pushed[row * a.hidden_size..].iter_mut().zip(direction) {
            *slot = scale * x / norm;
        }
    }
    let tensor =
        |values: Vec<f32>| Tensor::from_vec(values, (rows, 1, a.hidden_size), &Device::Cpu);
    Ok(layers
        .into_iter()
        .map(|values| values.map(tensor).transpose())
        .collect::<candle_core::Result<_>>()?)
}
