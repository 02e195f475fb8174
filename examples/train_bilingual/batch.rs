//! Packed batches: documents in rows, what they may see of one another, and the random pushes.

use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::corpus::Corpus;
use crate::net::Inputs;
use crate::ops::MASKED;
use crate::recipe::Recipe;
use crate::tokenizer::{Encoded, PAD, Vocabulary};

/// Where the documents of a step come from.
pub struct Source<'a> {
    pub recipe: &'a Recipe,
    pub corpus: &'a Corpus<'a>,
    pub vocabulary: &'a Vocabulary,
}

/// The tensors of one step.
pub struct Batch {
    pub inputs: Inputs,
    /// `[rows · window, 1]`
    pub targets: Tensor,
    /// `[rows, window]`, summing to 1
    pub weights: Tensor,
    /// `[rows, window]`, 1 where a loss is taken and 0 elsewhere, divided by their number
    pub counted: Tensor,
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
    pub fn draw(
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
