//! The forward pass, once for all families: a stack of blocks of attention and feed-forward, with norms before, after, or both.
//!
//! A batch is a list of token rows; each row knows its sequence and its position, so that prompts of different lengths, prefills and
//! single decoding steps mix freely and nothing is padded.

use std::sync::Arc;

use super::kernels::{self, Heads};
use super::kv_cache::Sequence;
use super::parts::{Attention, FeedForward, Norm, Observer, Row, Scratch, Vocabulary, add};
use super::write::{FfnNorm, Write, random_direction};
use crate::units::{Dose, NeuronId, TokenId};

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Number of blocks.
    pub layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Feed-forward neurons per block.
    pub d_ff: usize,
    /// Rows of the embedding.
    pub vocab: usize,
    /// Longest sequence.
    pub context: usize,
    /// Attention heads.
    pub heads: Heads,
}

/// How the parts of a block are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Residual {
    /// `h = x + attention(x)`, then `h + feed_forward(h)`.
    Serial,
    /// `x + attention(x) + feed_forward(x)` (Wang & Komatsuzaki 2021).
    Parallel,
}

/// A transformer block. Absent norms change nothing.
pub struct Block {
    /// Before attention.
    pub attention_norm: Option<Norm>,
    /// Attention.
    pub attention: Attention,
    /// Of what attention writes.
    pub after_attention: Option<Norm>,
    /// Before the feed-forward.
    pub feed_forward_norm: Option<Norm>,
    /// The feed-forward, where neurons are steered.
    pub feed_forward: FeedForward,
    /// Of what the feed-forward writes: with it, the write of one neuron saturates.
    pub after_feed_forward: Option<Norm>,
    /// How the two are joined.
    pub residual: Residual,
}

/// A decoder-only language model with its weights in `f32`.
pub struct Decoder {
    /// Its sizes.
    pub sizes: Sizes,
    /// Embedding and unembedding.
    pub vocabulary: Vocabulary,
    /// First to last.
    pub blocks: Vec<Block>,
    /// Before the unembedding.
    pub norm: Norm,
}

/// The token rows of one forward pass.
#[derive(Default)]
pub struct Batch {
    /// Unsteered rows, sorted by how far they go. Those of one sequence go equally far, and stand in the order of their positions.
    pub rows: Vec<Row>,
    /// Blocks that each of them goes through.
    pub depths: Vec<usize>,
    /// Steered rows, sorted by the layer that is steered.
    pub branches: Vec<Branch>,
}

impl Batch {
    /// Unsteered rows that go through every block.
    pub fn unsteered(rows: Vec<Row>, sizes: &Sizes) -> Self {
        Self {
            depths: vec![sizes.layers; rows.len()],
            rows,
            branches: Vec::new(),
        }
    }
}

/// A steered row. Up to the feed-forward of the steered layer it is the same as an unsteered row of the same tokens, and is not computed
/// again; from there on it goes its own way.
#[derive(Clone, Debug)]
pub struct Branch {
    /// Index of the unsteered row.
    pub from: usize,
    /// Itself. Its sequence has keys and values in the layers above the steered one.
    pub row: Row,
    /// The steered layer.
    pub layer: usize,
    /// What a dose of 1 adds there.
    pub write: Arc<Write>,
    /// The dose; none at a step that is not steered.
    pub dose: Option<Dose>,
}

impl Branch {
    /// What its dose did, from the block output of its unsteered row and its own, `[d_model]` each.
    fn effect(&self, unsteered: &[f32], output: &[f32]) -> Effect {
        match self.dose {
            None => Effect::NoDose,
            Some(_) if output == unsteered => Effect::Absorbed,
            Some(_) => Effect::At(kernels::cosine(output, self.write.effective())),
        }
    }
}

/// What a forward pass leaves, beside keys and values.
pub struct Passed {
    /// After the final norm, for [`Vocabulary::logits`]: the rows that went through every block, then the branches, each `[d_model]`.
    pub hidden: Vec<f32>,
    /// The same before the final norm.
    pub residual: Vec<f32>,
    /// Rows that did not go through every block.
    pub left: usize,
    /// What the dose of each branch did.
    pub effects: Vec<Effect>,
}

/// What a branch's dose did to the output of the steered block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// There was none at this step.
    NoDose,
    /// Nothing: the output is that of the unsteered row, bit for bit.
    Absorbed,
    /// It lies at this `cosθ` to the effective write; NaN where either is zero or not finite.
    At(f32),
}

/// The rows in one block.
struct Active<'a> {
    /// Those that go through it.
    rows: &'a [Row],
    /// Those that join them at its end.
    joining: &'a [Branch],
    /// Unsteered rows that went no further than an earlier block.
    left: usize,
}

impl Block {
    /// Takes `x: [rows × d_model]`, the residual stream, through the block.
    fn apply(
        &self,
        x: &mut Vec<f32>,
        layer: usize,
        active: &Active<'_>,
        sequences: &mut [&mut Sequence],
        observer: &mut dyn Observer,
        scratch: &mut Scratch,
    ) {
        read(&self.attention_norm, x, &mut scratch.read);
        (self.attention).apply(layer, active.rows, sequences, scratch);
        match self.residual {
            Residual::Serial => {
                write(&self.after_attention, scratch, x);
                read(&self.feed_forward_norm, x, &mut scratch.read);
            }
            Residual::Parallel => {
                read(&self.feed_forward_norm, x, &mut scratch.read);
                write(&self.after_attention, scratch, x);
            }
        }
        self.feed_forward.apply(layer, observer, scratch);
        observer.ffn_output(layer, &scratch.written);
        for branch in active.joining {
            part(branch, branch.from - active.left, x, &mut scratch.written);
        }
        write(&self.after_feed_forward, scratch, x);
    }
}

/// A dose on the input of the down projection is so many write directions in its output.
fn part(branch: &Branch, from: usize, x: &mut Vec<f32>, fed: &mut Vec<f32>) {
    let direction = &branch.write.direction;
    let d = direction.len();
    let from = from * d..(from + 1) * d;
    x.extend_from_within(from.clone());
    fed.extend_from_within(from);
    if let Some(Dose(dose)) = branch.dose {
        let row = fed.len() - d;
        for (y, v) in fed[row..].iter_mut().zip(direction) {
            *y += dose * v;
        }
    }
}

/// What a part reads of the residual stream.
fn read(norm: &Option<Norm>, x: &[f32], out: &mut Vec<f32>) {
    match norm {
        Some(norm) => norm.apply(x, out),
        None => {
            out.clear();
            out.extend_from_slice(x);
        }
    }
}

/// Adds what a part has written to the residual stream.
fn write(norm: &Option<Norm>, scratch: &mut Scratch, x: &mut [f32]) {
    match norm {
        Some(norm) => {
            norm.apply(&scratch.written, &mut scratch.normed);
            add(x, &scratch.normed);
        }
        None => add(x, &scratch.written),
    }
}

impl Decoder {
    /// The part behind the last block that lets nothing through, if one does: with it, no steering has an effect.
    pub fn silenced_by(&self) -> Option<&'static str> {
        let unembedding = &self.vocabulary.unembedding;
        let is_zero = |weight: f32| weight == 0.0;
        if self.norm.gain().iter().copied().all(is_zero) {
            return Some("the gain of the final norm");
        }
        let silent =
            (0..unembedding.outputs()).all(|token| unembedding.of_output(token).all(is_zero));
        silent.then_some("the unembedding")
    }

    /// Runs a batch through every block and the final norm. Keys and values of its rows are in their sequences afterwards.
    pub fn forward(
        &self,
        batch: &Batch,
        sequences: &mut [&mut Sequence],
        observer: &mut dyn Observer,
        scratch: &mut Scratch,
    ) -> Passed {
        let Batch {
            rows,
            depths,
            branches,
        } = batch;
        let d = self.sizes.d_model;
        let all: Vec<Row> = (rows.iter().copied())
            .chain(branches.iter().map(|branch| branch.row))
            .collect();
        let mut x = self.vocabulary.embed(rows);
        observer.embedded(&x);
        let mut left = 0;
        let mut effects = Vec::with_capacity(branches.len());
        for (layer, block) in self.blocks.iter().enumerate() {
            let gone = depths.partition_point(|depth| *depth <= layer);
            x.drain(..(gone - left) * d);
            left = gone;
            let joined = effects.len();
            let joining = branches[joined..].partition_point(|b| b.layer <= layer);
            let active = Active {
                rows: &all[left..rows.len() + joined],
                joining: &branches[joined..joined + joining],
                left,
            };
            block.apply(&mut x, layer, &active, sequences, observer, scratch);
            observer.block_output(layer, &x);
            let outputs = x[active.rows.len() * d..].chunks_exact(d);
            effects.extend(
                (active.joining.iter().zip(outputs)).map(|(branch, output)| {
                    let unsteered = &x[(branch.from - left) * d..][..d];
                    branch.effect(unsteered, output)
                }),
            );
        }
        let mut hidden = Vec::new();
        self.norm.apply(&x, &mut hidden);
        Passed {
            hidden,
            residual: x,
            left,
            effects,
        }
    }

    /// Write direction, `[d_model]`: a neuron's column of the down projection, or a random direction.
    pub fn write_direction(&self, neuron: NeuronId) -> Vec<f32> {
        let down = &self.blocks[neuron.layer].feed_forward.down.weight;
        match neuron.direction() {
            Some(number) => random_direction(neuron.layer, number, self.sizes.d_model),
            None => down.of_input(neuron.index),
        }
    }

    /// The norm between a layer's down projection and the residual stream.
    pub fn ffn_norm(&self, layer: usize) -> Option<FfnNorm> {
        (self.blocks[layer].after_feed_forward.as_ref()).map(FfnNorm::from)
    }

    /// What a dose of 1 adds.
    pub fn write(&self, neuron: NeuronId) -> Write {
        let norm = self.ffn_norm(neuron.layer);
        Write::new(self.write_direction(neuron), norm.as_ref())
    }

    /// A token's row of the unembedding times the gain of the final norm, `[d_model]`.
    pub fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        let row = self.vocabulary.unembedding.of_output(token as usize);
        (row.zip(self.norm.gain()))
            .map(|(w, gain)| w * gain)
            .collect()
    }
}
