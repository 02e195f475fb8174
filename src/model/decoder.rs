//! The forward pass, once for all families: a stack of blocks of attention and feed-forward, with norms before, after, or both.
//!
//! A batch is a list of token rows; each row knows its sequence and its position, so that prompts of different lengths, prefills and
//! single decoding steps mix freely and nothing is padded.

use super::kernels::Heads;
use super::kv_cache::KvCache;
use super::parts::{Attention, FeedForward, Hook, Norm, Row, Vocabulary, add};
use crate::units::{NeuronId, TokenId};

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

impl Sizes {
    /// Width of the keys, or values, of one position in one block.
    pub fn kv_width(&self) -> usize {
        self.heads.kv * self.heads.dim
    }
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

impl Block {
    /// Takes `x: [rows × d_model]`, the residual stream, through the block.
    fn apply(
        &self,
        x: &mut [f32],
        layer: usize,
        rows: &[Row],
        cache: &mut KvCache,
        hook: &mut dyn Hook,
    ) {
        let attention = |x: &[f32], cache: &mut KvCache| {
            let read = normed(&self.attention_norm, x);
            written(
                &self.after_attention,
                self.attention.apply(&read, layer, rows, cache),
            )
        };
        let feed_forward = |x: &[f32], hook: &mut dyn Hook| {
            let read = normed(&self.feed_forward_norm, x);
            written(
                &self.after_feed_forward,
                self.feed_forward.apply(&read, layer, hook),
            )
        };
        match self.residual {
            Residual::Serial => {
                let attended = attention(x, cache);
                add(x, &attended);
                let fed = feed_forward(x, hook);
                add(x, &fed);
            }
            Residual::Parallel => {
                let attended = attention(x, cache);
                let fed = feed_forward(x, hook);
                add(x, &attended);
                add(x, &fed);
            }
        }
    }
}

/// What a part reads.
fn normed<'a>(norm: &Option<Norm>, x: &'a [f32]) -> std::borrow::Cow<'a, [f32]> {
    match norm {
        Some(norm) => norm.apply(x).into(),
        None => x.into(),
    }
}

/// What a part writes.
fn written(norm: &Option<Norm>, y: Vec<f32>) -> Vec<f32> {
    match norm {
        Some(norm) => norm.apply(&y),
        None => y,
    }
}

impl Decoder {
    /// Runs the rows through every block and the final norm: `[rows × d_model]`, for [`Decoder::logits`]. The rows' keys and values are
    /// in the cache afterwards. Rows of one slot stand in the order of their positions.
    pub fn forward(&self, rows: &[Row], cache: &mut KvCache, hook: &mut dyn Hook) -> Vec<f32> {
        let mut x = self.vocabulary.embed(rows);
        for (layer, block) in self.blocks.iter().enumerate() {
            block.apply(&mut x, layer, rows, cache, hook);
            hook.block_output(layer, &x);
        }
        self.norm.apply(&x)
    }

    /// Logits `[rows × vocab]` of rows that [`Decoder::forward`] returned.
    pub fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        self.vocabulary.logits(hidden)
    }

    /// A neuron's write direction, `[d_model]`: its column of the down projection.
    pub fn write_direction(&self, neuron: NeuronId) -> &[f32] {
        let d = self.sizes.d_model;
        &self.blocks[neuron.layer].feed_forward.down.weight[neuron.index * d..][..d]
    }

    /// A token's row of the unembedding times the gain of the final norm, `[d_model]`.
    pub fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        let d = self.sizes.d_model;
        let row = &self.vocabulary.unembedding()[token as usize * d..][..d];
        (row.iter().zip(self.norm.gain()))
            .map(|(w, gain)| w * gain)
            .collect()
    }
}
