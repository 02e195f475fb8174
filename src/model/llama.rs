//! The Llama architecture (Touvron et al. 2023; Grattafiori et al. 2024), top to bottom.
//!
//! A batch is a list of token rows; each row knows its sequence and its position, so that prompts of different lengths, prefills and
//! single decoding steps mix freely and nothing is padded.

use super::ModelError;
use super::checkpoint::Checkpoint;
use super::config::LlamaConfig;
use super::kernels::{self, Heads, Span};
use super::kv_cache::KvCache;
use crate::units::{NeuronId, TokenId};

/// One token of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// The token.
    pub token: TokenId,
    /// Its position in its sequence, counted from 0.
    pub position: usize,
    /// The sequence's slot in the cache.
    pub slot: usize,
}

/// Sees, and may change, what happens inside a forward pass.
pub trait Hook {
    /// The hook site of the law: the input of a layer's down projection, `[rows × d_ff]`.
    fn activations(&mut self, _layer: usize, _activations: &mut [f32]) {}

    /// The residual stream at the output of a block, `[rows × d_model]`.
    fn block_output(&mut self, _layer: usize, _residual: &[f32]) {}
}

/// A linear map, stored `[inputs × outputs]`, with an optional bias `[outputs]`.
struct Linear {
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    inputs: usize,
    outputs: usize,
}

struct Block {
    attention_norm: Vec<f32>,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    feed_forward_norm: Vec<f32>,
    gate: Linear,
    up: Linear,
    down: Linear,
}

/// A Llama model's weights in `f32`, with its forward pass.
pub struct Llama {
    config: LlamaConfig,
    /// `[vocab × d_model]`
    embedding: Vec<f32>,
    blocks: Vec<Block>,
    norm: Vec<f32>,
    /// `[vocab × d_model]`; the embedding when absent.
    head: Option<Vec<f32>>,
    /// Cosines, then sines: `[context × head_dim]`.
    rope: Vec<f32>,
}

impl Llama {
    /// Reads the weights of a checked checkpoint.
    pub fn load(config: &LlamaConfig, checkpoint: &Checkpoint) -> Result<Self, ModelError> {
        let c = config;
        let (d, ff) = (c.hidden_size, c.intermediate_size);
        let (q, kv) = (
            c.num_attention_heads * c.head_dim,
            c.num_key_value_heads * c.head_dim,
        );
        let load = Loader { checkpoint };
        let blocks = (0..c.num_hidden_layers)
            .map(|layer| {
                let at = |name: &str| format!("model.layers.{layer}.{name}");
                let attention = |name, i, o| load.linear(&at(name), i, o, c.attention_bias);
                let mlp = |name, i, o| load.linear(&at(name), i, o, c.mlp_bias);
                Ok(Block {
                    attention_norm: load.vector(&at("input_layernorm.weight"), &[d])?,
                    query: attention("self_attn.q_proj", d, q)?,
                    key: attention("self_attn.k_proj", d, kv)?,
                    value: attention("self_attn.v_proj", d, kv)?,
                    output: attention("self_attn.o_proj", q, d)?,
                    feed_forward_norm: load.vector(&at("post_attention_layernorm.weight"), &[d])?,
                    gate: mlp("mlp.gate_proj", d, ff)?,
                    up: mlp("mlp.up_proj", d, ff)?,
                    down: mlp("mlp.down_proj", ff, d)?,
                })
            })
            .collect::<Result<_, ModelError>>()?;
        let (embedding, head) = ("model.embed_tokens.weight", "lm_head.weight");
        let stored = if checkpoint.contains(embedding) {
            embedding
        } else {
            head
        };
        Ok(Self {
            embedding: load.vector(stored, &[c.vocab_size, d])?,
            head: (!c.tie_word_embeddings)
                .then(|| load.vector(head, &[c.vocab_size, d]))
                .transpose()?,
            norm: load.vector("model.norm.weight", &[d])?,
            rope: rope_table(config),
            config: config.clone(),
            blocks,
        })
    }

    /// The configuration.
    pub fn config(&self) -> &LlamaConfig {
        &self.config
    }

    /// Runs the rows through every block and the final norm: `[rows × d_model]`, for [`Llama::logits`]. The rows' keys and values are
    /// in the cache afterwards. Rows of one slot stand in the order of their positions.
    pub fn forward(&self, rows: &[Row], cache: &mut KvCache, hook: &mut dyn Hook) -> Vec<f32> {
        let c = &self.config;
        let n = rows.len();
        let eps = c.rms_norm_eps as f32;
        let heads = Heads {
            query: c.num_attention_heads,
            kv: c.num_key_value_heads,
            dim: c.head_dim,
        };
        let positions: Vec<usize> = rows.iter().map(|row| row.position).collect();
        let mut x = self.embed(rows); // [n, d]
        let mut h = vec![0.0; n * c.hidden_size];
        for (layer, block) in self.blocks.iter().enumerate() {
            kernels::rms_norm(&x, &block.attention_norm, eps, &mut h);
            let mut q = block.query.apply(&h); // [n, heads.query · head_dim]
            let mut k = block.key.apply(&h); // [n, heads.kv · head_dim]
            let v = block.value.apply(&h);
            kernels::rope(&mut q, &positions, &self.rope, c.head_dim / 2);
            kernels::rope(&mut k, &positions, &self.rope, c.head_dim / 2);
            cache.store(layer, rows, &k, &v);
            add(
                &mut x,
                &block
                    .output
                    .apply(&attention(&q, rows, cache, layer, heads)),
            );

            kernels::rms_norm(&x, &block.feed_forward_norm, eps, &mut h);
            let (gate, up) = (block.gate.apply(&h), block.up.apply(&h)); // [n, ff]
            let mut activations = vec![0.0; n * c.intermediate_size];
            kernels::swiglu(&gate, &up, &mut activations);
            hook.activations(layer, &mut activations);
            add(&mut x, &block.down.apply(&activations));
            hook.block_output(layer, &x);
        }
        kernels::rms_norm(&x, &self.norm, eps, &mut h);
        h
    }

    /// Logits `[rows × vocab]` of rows that [`Llama::forward`] returned.
    pub fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let (d, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        let mut logits = vec![0.0; hidden.len() / d * vocab];
        kernels::matmul_transposed(hidden, head, &mut logits, d, vocab);
        logits
    }

    /// A neuron's write direction, `[d_model]`: its column of the down projection.
    pub fn write_direction(&self, neuron: NeuronId) -> &[f32] {
        let d = self.config.hidden_size;
        &self.blocks[neuron.layer].down.weight[neuron.index * d..][..d]
    }

    /// A token's row of the unembedding times the gain of the final norm, `[d_model]`.
    pub fn readout_direction(&self, token: TokenId) -> Vec<f32> {
        let d = self.config.hidden_size;
        let row = &self.head.as_ref().unwrap_or(&self.embedding)[token as usize * d..][..d];
        row.iter()
            .zip(&self.norm)
            .map(|(w, gain)| w * gain)
            .collect()
    }

    fn embed(&self, rows: &[Row]) -> Vec<f32> {
        let d = self.config.hidden_size;
        (rows.iter())
            .flat_map(|row| &self.embedding[row.token as usize * d..][..d])
            .copied()
            .collect()
    }
}

/// Every row attends to its own sequence, up to and including itself: `[rows × heads.query · head_dim]`.
fn attention(q: &[f32], rows: &[Row], cache: &KvCache, layer: usize, heads: Heads) -> Vec<f32> {
    let width = heads.query * heads.dim;
    let mut out = vec![0.0; q.len()];
    let mut scores = Vec::new();
    for ((row, q), out) in rows
        .iter()
        .zip(q.chunks_exact(width))
        .zip(out.chunks_exact_mut(width))
    {
        let spans: [Span<'_>; 2] = cache.spans(layer, row);
        kernels::attend(q, &spans, heads, out, &mut scores);
    }
    out
}

fn add(x: &mut [f32], more: &[f32]) {
    for (x, more) in x.iter_mut().zip(more) {
        *x += more;
    }
}

fn rope_table(config: &LlamaConfig) -> Vec<f32> {
    let frequencies = config.inverse_frequencies();
    (0..config.max_position_embeddings)
        .flat_map(|position| {
            let angles = frequencies.iter().map(move |f| position as f32 * f);
            angles.clone().map(f32::cos).chain(angles.map(f32::sin))
        })
        .collect()
}

impl Linear {
    /// `x · weight + bias` for each row.
    fn apply(&self, x: &[f32]) -> Vec<f32> {
        let mut out = vec![0.0; x.len() / self.inputs * self.outputs];
        kernels::matmul(x, &self.weight, &mut out, self.inputs, self.outputs);
        if let Some(bias) = &self.bias {
            for row in out.chunks_exact_mut(self.outputs) {
                add(row, bias);
            }
        }
        out
    }
}

/// Reads tensors as plain numbers.
struct Loader<'a> {
    checkpoint: &'a Checkpoint,
}

impl Loader<'_> {
    fn vector(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        Ok(self
            .checkpoint
            .tensor(name, shape)?
            .flatten_all()?
            .to_vec1()?)
    }

    /// `name.weight`, stored `[outputs × inputs]`, and `name.bias`.
    fn linear(
        &self,
        name: &str,
        inputs: usize,
        outputs: usize,
        bias: bool,
    ) -> Result<Linear, ModelError> {
        let weight = self
            .checkpoint
            .tensor(&format!("{name}.weight"), &[outputs, inputs])?;
        let bias = bias
            .then(|| self.vector(&format!("{name}.bias"), &[outputs]))
            .transpose()?;
        Ok(Linear {
            // Transposed once: products read it row by row, and a neuron's write direction becomes contiguous.
            weight: weight.t()?.flatten_all()?.to_vec1()?,
            bias,
            inputs,
            outputs,
        })
    }
}
