//! What the families are made of: norms, linear maps, attention, feed-forward layers, the vocabulary.

use std::sync::Arc;

use super::kernels::{self, Heads, Packed, Scores};
use super::kv_cache::Sequence;
use super::rope::Rope;
use crate::units::TokenId;

pub use kernels::Activation;

/// One token of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The token.
    pub token: TokenId,
    /// Its position in its sequence, counted from 0.
    pub position: usize,
    /// Number of its sequence.
    pub sequence: usize,
}

/// Sees what happens inside a forward pass.
pub trait Observer {
    /// The hook site of the law: the input of a layer's down projection, `[rows × d_ff]`.
    fn activations(&mut self, _layer: usize, _activations: &[f32]) {}

    /// The residual stream before the first block, `[rows × d_model]`.
    fn embedded(&mut self, _residual: &[f32]) {}

    /// What a down projection gives, bias included, before any norm after it: `[rows × d_model]`.
    fn ffn_output(&mut self, _layer: usize, _written: &[f32]) {}

    /// The residual stream at the output of a block, `[rows × d_model]`.
    fn block_output(&mut self, _layer: usize, _residual: &[f32]) {}
}

/// A normalisation of each row.
pub enum Norm {
    /// `x / √(mean(x²) + eps) · gain` (Zhang & Sennrich 2019).
    Rms {
        /// `[width]`
        gain: Vec<f32>,
        /// Added to the mean square.
        eps: f32,
    },
    /// `(x − mean) / √(variance + eps) · gain + bias` (Ba et al. 2016).
    Layer {
        /// `[width]`
        gain: Vec<f32>,
        /// `[width]`
        bias: Vec<f32>,
        /// Added to the variance.
        eps: f32,
    },
}

impl Norm {
    /// Normalises each row of `x: [rows × width]` into `out`; the width is that of the gain.
    pub fn apply(&self, x: &[f32], out: &mut Vec<f32>) {
        out.resize(x.len(), 0.0);
        match self {
            Norm::Rms { gain, eps } => kernels::rms_norm(x, gain, *eps, out),
            Norm::Layer { gain, bias, eps } => kernels::layer_norm(x, gain, bias, *eps, out),
        }
    }

    /// What the normalised row is multiplied by, `[width]`.
    pub fn gain(&self) -> &[f32] {
        match self {
            Norm::Rms { gain, .. } | Norm::Layer { gain, .. } => gain,
        }
    }
}

/// A linear map with an optional bias.
pub struct Linear {
    /// Its matrix.
    pub weight: Packed,
    /// `[outputs]`
    pub bias: Option<Vec<f32>>,
}

impl Linear {
    /// `x · weight + bias` for each row, into `out`.
    pub fn apply(&self, x: &[f32], out: &mut Vec<f32>) {
        let outputs = self.weight.outputs();
        out.resize(x.len() / self.weight.inputs() * outputs, 0.0);
        kernels::matmul(x, &self.weight, out);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(outputs) {
                add(row, bias);
            }
        }
    }
}

/// Adds elementwise.
pub fn add(x: &mut [f32], more: &[f32]) {
    for (x, more) in x.iter_mut().zip(more) {
        *x += more;
    }
}

/// Space for what is computed on the way, kept between layers and passes.
#[derive(Default)]
pub struct Scratch {
    /// What a part reads, `[rows × d_model]`.
    pub read: Vec<f32>,
    /// What a part writes, `[rows × d_model]`.
    pub written: Vec<f32>,
    /// The same after a norm.
    pub normed: Vec<f32>,
    queries: Vec<f32>,
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Queries and keys after their norms.
    normed_queries: Vec<f32>,
    normed_keys: Vec<f32>,
    /// What the heads have seen.
    seen: Vec<f32>,
    scores: Vec<f32>,
    gate: Vec<f32>,
    up: Vec<f32>,
}

/// Attention of each row to its own sequence, up to and including itself.
pub struct Attention {
    /// `[d_model → heads.query · head_dim]`
    pub query: Linear,
    /// `[d_model → heads.kv · head_dim]`
    pub key: Linear,
    /// `[d_model → heads.kv · head_dim]`
    pub value: Linear,
    /// `[heads.query · head_dim → d_model]`
    pub output: Linear,
    /// Norms of queries and keys before they are rotated: of each head, or of the whole width, as the gain is long.
    pub query_key_norms: Option<(Norm, Norm)>,
    /// The rotary embedding; none for models with learned positions.
    pub rope: Option<Arc<Rope>>,
    /// Counts and width of the heads.
    pub heads: Heads,
    /// How scores are made from products.
    pub scores: Scores,
    /// How many of the last positions are seen, the row itself included; all when absent.
    pub window: Option<usize>,
}

impl Attention {
    /// From `scratch.read` to `scratch.written`. Keys and values of the rows are in their sequences afterwards.
    pub fn apply(
        &self,
        layer: usize,
        rows: &[Row],
        sequences: &mut [&mut Sequence],
        scratch: &mut Scratch,
    ) {
        let Scratch {
            read,
            written,
            queries,
            keys,
            values,
            normed_queries,
            normed_keys,
            seen,
            scores,
            ..
        } = scratch;
        self.query.apply(read, queries); // [rows, heads.query · head_dim]
        self.key.apply(read, keys); // [rows, heads.kv · head_dim]
        self.value.apply(read, values);
        let (mut queries, mut keys) = (queries, keys);
        if let Some((query_norm, key_norm)) = &self.query_key_norms {
            query_norm.apply(queries, normed_queries);
            key_norm.apply(keys, normed_keys);
            (queries, keys) = (normed_queries, normed_keys);
        }
        if let Some(rope) = &self.rope {
            let positions = || rows.iter().map(|row| row.position);
            rope.rotate(queries, positions(), self.heads.query, self.heads.dim);
            rope.rotate(keys, positions(), self.heads.kv, self.heads.dim);
        }
        let kv_width = self.heads.kv_width();
        let stored = (keys.chunks_exact(kv_width)).zip(values.chunks_exact(kv_width));
        for (row, (key, value)) in rows.iter().zip(stored) {
            sequences[row.sequence].store(layer, row.position, key, value);
        }
        let width = self.heads.query * self.heads.dim;
        seen.resize(queries.len(), 0.0);
        let asked = (queries.chunks_exact(width)).zip(seen.chunks_exact_mut(width));
        for (row, (query, seen)) in rows.iter().zip(asked) {
            let spans = sequences[row.sequence].seen(layer, row.position, self.window);
            kernels::attend(query, &spans, self.heads, self.scores, seen, scores);
        }
        self.output.apply(seen, written);
    }
}

/// A feed-forward layer. Its neurons are the inputs of the down projection: `act(gate(x)) · up(x)`, or `act(up(x))` without a gate.
pub struct FeedForward {
    /// `[d_model → d_ff]`
    pub gate: Option<Linear>,
    /// `[d_model → d_ff]`
    pub up: Linear,
    /// `[d_ff → d_model]`; the weights of its input `i` are the write direction of neuron `i`.
    pub down: Linear,
    /// The nonlinearity.
    pub activation: Activation,
}

impl FeedForward {
    /// From `scratch.read` to `scratch.written`.
    pub fn apply(&self, layer: usize, observer: &mut dyn Observer, scratch: &mut Scratch) {
        let Scratch {
            read,
            written,
            gate,
            up,
            ..
        } = scratch;
        self.up.apply(read, up); // [rows, d_ff]
        let activations = match &self.gate {
            Some(projection) => {
                projection.apply(read, gate);
                kernels::gated(self.activation, gate, up);
                gate
            }
            None => {
                kernels::activate(self.activation, up);
                up
            }
        };
        observer.activations(layer, activations);
        self.down.apply(activations, written);
    }
}

/// Embedding and unembedding.
pub struct Vocabulary {
    /// `[vocab × d_model]`; none where it is the unembedding.
    pub embedding: Option<Vec<f32>>,
    /// What embeddings are multiplied by.
    pub scale: f32,
    /// Learned positions, `[context × d_model]`, for models without a rotary embedding.
    pub positions: Option<Vec<f32>>,
    /// `[d_model → vocab]`
    pub unembedding: Packed,
    /// Logits are `cap · tanh(logit / cap)`.
    pub soft_cap: Option<f32>,
}

impl Vocabulary {
    /// The residual stream before the first block, `[rows × d_model]`.
    pub fn embed(&self, rows: &[Row]) -> Vec<f32> {
        let d = self.unembedding.inputs();
        let mut x = Vec::with_capacity(rows.len() * d);
        for row in rows {
            match &self.embedding {
                Some(embedding) => x.extend_from_slice(&embedding[row.token as usize * d..][..d]),
                None => x.extend(self.unembedding.of_output(row.token as usize)),
            }
        }
        x.iter_mut().for_each(|x| *x *= self.scale);
        if let Some(positions) = &self.positions {
            for (x, row) in x.chunks_exact_mut(d).zip(rows) {
                add(x, &positions[row.position * d..][..d]);
            }
        }
        x
    }

    /// Logits `[rows × vocab]` of normalised rows `[rows × d_model]`, into `logits`.
    pub fn logits(&self, hidden: &[f32], logits: &mut Vec<f32>) {
        let rows = hidden.len() / self.unembedding.inputs();
        logits.resize(rows * self.unembedding.outputs(), 0.0);
        kernels::matmul(hidden, &self.unembedding, logits);
        if let Some(cap) = self.soft_cap {
            kernels::soft_cap(logits, cap);
        }
    }

    /// One of the [`Vocabulary::logits`] of one row.
    pub fn logit(&self, hidden: &[f32], token: TokenId) -> f32 {
        let mut logit = [self.unembedding.output(hidden, token as usize)];
        if let Some(cap) = self.soft_cap {
            kernels::soft_cap(&mut logit, cap);
        }
        logit[0]
    }
}
