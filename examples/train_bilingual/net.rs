//! A differentiable Llama: the same arithmetic as the engine's, in a form that can be trained.

use std::path::Path;

use candle_core::{D, DType, Device, Result, Tensor, Var, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::ops::{Rotary, length, masked_softmax, rms_norm, swiglu, weighted_abs_sum};
use crate::recipe::Architecture;

struct Block {
    attention_norm: Var,
    query: Var,
    key: Var,
    value: Var,
    output: Var,
    feed_forward_norm: Var,
    gate: Var,
    up: Var,
    down: Var,
}

pub struct Net {
    architecture: Architecture,
    embedding: Var,
    blocks: Vec<Block>,
    norm: Var,
}

/// What varies from step to step beside the weights.
pub struct Inputs {
    /// `[rows, window]`
    pub ids: Tensor,
    /// Additive, `[rows, window, window]`.
    pub mask: Tensor,
    /// Per layer the directions to add to the residual stream, `[rows, 1, d]`, in units of its length.
    pub pushes: Vec<Option<Tensor>>,
}

pub struct Outputs {
    /// `[rows, window, vocabulary]`
    pub logits: Tensor,
    /// `Σ_i |a_i|·‖v_i‖ / ‖r‖`, mean over layers: `[rows, window]`
    pub contributions: Tensor,
}

impl Net {
    pub fn new(architecture: &Architecture, vocabulary: usize, seed: u64) -> Result<Self> {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let a = architecture;
        let (d, kv) = (a.hidden_size, a.kv_heads * a.head_dim());
        // Projections into the residual stream start smaller, so that its variance does not grow with depth.
        let residual_scale = (2.0 * a.layers as f64).sqrt().recip();
        let block = |rng: &mut ChaCha8Rng| {
            Ok(Block {
                attention_norm: ones(d)?,
                query: normal(rng, d, d, 1.0)?,
                key: normal(rng, kv, d, 1.0)?,
                value: normal(rng, kv, d, 1.0)?,
                output: normal(rng, d, d, residual_scale)?,
                feed_forward_norm: ones(d)?,
                gate: normal(rng, a.intermediate_size, d, 1.0)?,
                up: normal(rng, a.intermediate_size, d, 1.0)?,
                down: normal(rng, d, a.intermediate_size, residual_scale)?,
            })
        };
        Ok(Net {
            embedding: normal(rng, vocabulary, d, 1.0)?,
            blocks: (0..a.layers).map(|_| block(rng)).collect::<Result<_>>()?,
            norm: ones(d)?,
            architecture: a.clone(),
        })
    }

    /// Logits for every position, and how much the feed-forwards contribute there.
    pub fn forward(&self, inputs: &Inputs) -> Result<Outputs> {
        let (rows, window) = inputs.ids.dims2()?;
        let a = &self.architecture;
        let eps = a.rms_norm_eps as f32;
        let rotary = Rotary::new(window, a.head_dim(), a.rope_theta as f32);
        let mut x = self
            .embedding
            .index_select(&inputs.ids.flatten_all()?, 0)?
            .reshape((rows, window, a.hidden_size))?;
        let mut contributions = Vec::with_capacity(a.layers);
        for (block, push) in self.blocks.iter().zip(&inputs.pushes) {
            let h = rms_norm(&x, &block.attention_norm, eps)?;
            x = (x + self.attention(block, &h, &rotary, &inputs.mask)?)?;
            let h = rms_norm(&x, &block.feed_forward_norm, eps)?;
            // [rows, window, intermediate]: the activations whose channels are the neurons
            let activations = swiglu(&linear(&h, &block.gate)?, &linear(&h, &block.up)?)?;
            let write_lengths = block.down.sqr()?.sum(0)?.sqrt()?;
            let written = weighted_abs_sum(&activations, &write_lengths)?;
            contributions.push((written / (length(&x)? + 1e-3)?)?.squeeze(D::Minus1)?);
            x = (x + linear(&activations, &block.down)?)?;
            if let Some(push) = push {
                let push = length(&x.detach())?.broadcast_mul(push)?;
                x = (x + push)?;
            }
        }
        let h = rms_norm(&x, &self.norm, eps)?;
        Ok(Outputs {
            logits: linear(&h, &self.embedding)?,
            contributions: (Tensor::stack(&contributions, 0)?.mean(0))?,
        })
    }

    /// Grouped-query attention; the queries that share a key head are stacked along its time axis, so that keys and
    /// values need no copies.
    fn attention(
        &self,
        block: &Block,
        h: &Tensor,
        rotary: &Rotary,
        mask: &Tensor,
    ) -> Result<Tensor> {
        let (rows, window, d) = h.dims3()?;
        let a = &self.architecture;
        let (kv, shared, head) = (a.kv_heads, a.heads / a.kv_heads, a.head_dim());
        // [rows, window, d] -> [rows, kv, shared·window, head]
        let query = rotary
            .apply(&linear(h, &block.query)?)?
            .reshape((rows, window, kv, shared, head))?;
        let query = query.permute((0, 2, 3, 1, 4))?.contiguous()?.reshape((
            rows,
            kv,
            shared * window,
            head,
        ))?;
        let split = |x: Tensor| {
            x.reshape((rows, window, kv, head))?
                .transpose(1, 2)?
                .contiguous()
        };
        let key = split(rotary.apply(&linear(h, &block.key)?)?)?;
        let value = split(linear(h, &block.value)?)?;
        let scale = (head as f32).sqrt().recip();
        let mixed = masked_softmax(&query.matmul(&key.t()?)?, mask, scale)?.matmul(&value)?;
        let mixed = mixed
            .reshape((rows, kv, shared, window, head))?
            .permute((0, 3, 1, 2, 4))?;
        linear(
            &mixed.contiguous()?.reshape((rows, window, d))?,
            &block.output,
        )
    }

    /// Every weight under its Hugging Face name.
    pub fn weights(&self) -> Vec<(String, &Var)> {
        let mut weights = vec![("model.embed_tokens.weight".to_owned(), &self.embedding)];
        for (layer, block) in self.blocks.iter().enumerate() {
            for (name, weight) in [
                ("input_layernorm", &block.attention_norm),
                ("self_attn.q_proj", &block.query),
                ("self_attn.k_proj", &block.key),
                ("self_attn.v_proj", &block.value),
                ("self_attn.o_proj", &block.output),
                ("post_attention_layernorm", &block.feed_forward_norm),
                ("mlp.gate_proj", &block.gate),
                ("mlp.up_proj", &block.up),
                ("mlp.down_proj", &block.down),
            ] {
                weights.push((format!("model.layers.{layer}.{name}.weight"), weight));
            }
        }
        weights.push(("model.norm.weight".to_owned(), &self.norm));
        weights
    }

    /// Rounds every weight to the precision of the export.
    pub fn round(&self) -> Result<()> {
        for (_, weight) in self.weights() {
            weight.set(&weight.to_dtype(DType::BF16)?.to_dtype(DType::F32)?)?;
        }
        Ok(())
    }

    /// Takes over the weights of an export.
    pub fn load(&self, path: &Path) -> Result<()> {
        let exported = candle_core::safetensors::load(path, &Device::Cpu)?;
        for (name, weight) in self.weights() {
            let Some(value) = exported.get(&name) else {
                bail!("{} has no `{name}`", path.display())
            };
            weight.set(&value.to_dtype(DType::F32)?)?;
        }
        Ok(())
    }

    pub fn parameters(&self) -> usize {
        self.weights()
            .iter()
            .map(|(_, weight)| weight.elem_count())
            .sum()
    }
}

/// `x · wᵀ` with `w` in the `[out, in]` order of the files; all leading dimensions of `x` multiply as one.
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, window, width) = x.dims3()?;
    x.reshape((rows * window, width))?
        .matmul(&weight.t()?)?
        .reshape((rows, window, ()))
}

fn ones(size: usize) -> Result<Var> {
    Var::from_vec(vec![1f32; size], size, &Device::Cpu)
}

/// Normal with standard deviation `scale / √inputs`; candle's generator on the CPU cannot be seeded.
fn normal(rng: &mut ChaCha8Rng, outputs: usize, inputs: usize, scale: f64) -> Result<Var> {
    let deviation = (scale / (inputs as f64).sqrt()) as f32;
    let mut draw = || -> f32 { StandardNormal.sample(rng) };
    let values = (0..outputs * inputs).map(|_| deviation * draw()).collect();
    Var::from_vec(values, (outputs, inputs), &Device::Cpu)
}
