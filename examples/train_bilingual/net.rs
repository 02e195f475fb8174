//! A differentiable Llama or Gemma 2: the same arithmetic as the engine's, in a form that can be trained.

use std::path::Path;

use candle_core::{D, DType, Device, Result, Tensor, Var, bail};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::ops::{Activation, Rotary, gated, length, masked_softmax, rms_norm, weighted_abs_sum};
use crate::recipe::{Arch, Architecture};

struct Block {
    attention_norm: Var,
    query: Var,
    key: Var,
    value: Var,
    output: Var,
    /// Of what the attention adds to the residual stream, in Gemma 2.
    after_attention: Option<Var>,
    feed_forward_norm: Var,
    gate: Var,
    up: Var,
    down: Var,
    /// Of what the feed-forward adds, in Gemma 2.
    after_feed_forward: Option<Var>,
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
    /// `Σ_i |a_i|·‖v_i‖ / ‖r‖`, mean over layers: `[rows, window]`; where a norm with gain `w` follows,
    /// `Σ_i |a_i|·‖w ⊙ v_i‖ / ‖Σ_i a_i·w ⊙ v_i‖`
    pub contributions: Tensor,
}

impl Net {
    pub fn new(architecture: &Architecture, vocabulary: usize, seed: u64) -> Result<Self> {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let a = architecture;
        let (d, kv) = (a.hidden_size, a.kv_heads * a.head_dim());
        // Projections into the residual stream start smaller, so that its variance does not grow with depth; where a norm
        // follows, it decides what they add.
        let (residual_scale, norms_after) = match a.arch {
            Arch::Llama => ((2.0 * a.layers as f64).sqrt().recip(), false),
            Arch::Gemma2 => (1.0, true),
        };
        let norm = || unit_norm(a.arch, d);
        let norm_after = || norms_after.then(norm).transpose();
        let block = |rng: &mut ChaCha8Rng| {
            Ok(Block {
                attention_norm: norm()?,
                query: normal(rng, d, d, 1.0)?,
                key: normal(rng, kv, d, 1.0)?,
                value: normal(rng, kv, d, 1.0)?,
                output: normal(rng, d, d, residual_scale)?,
                after_attention: norm_after()?,
                feed_forward_norm: norm()?,
                gate: normal(rng, a.intermediate_size, d, 1.0)?,
                up: normal(rng, a.intermediate_size, d, 1.0)?,
                down: normal(rng, d, a.intermediate_size, residual_scale)?,
                after_feed_forward: norm_after()?,
            })
        };
        Ok(Net {
            embedding: normal(rng, vocabulary, d, 1.0)?,
            blocks: (0..a.layers).map(|_| block(rng)).collect::<Result<_>>()?,
            norm: norm()?,
            architecture: a.clone(),
        })
    }

    /// Logits for every position, and how much the feed-forwards contribute there.
    pub fn forward(&self, inputs: &Inputs) -> Result<Outputs> {
        let (_, window) = inputs.ids.dims2()?;
        let a = &self.architecture;
        let rotary = Rotary::new(window, a.head_dim(), a.rope_theta as f32);
        let mut x = self.embed(&inputs.ids)?;
        let mut contributions = Vec::with_capacity(a.layers);
        for (block, push) in self.blocks.iter().zip(&inputs.pushes) {
            let h = self.norm(&x, &block.attention_norm)?;
            let mut added = self.attention(block, &h, &rotary, &inputs.mask)?;
            if let Some(norm) = &block.after_attention {
                added = self.norm(&added, norm)?;
            }
            x = (x + added)?;
            let (added, contributed) = self.feed_forward(block, &x)?;
            contributions.push(contributed.squeeze(D::Minus1)?);
            x = (x + added)?;
            // Onto the stream, after any norm: a push before it would take the place of what the block adds, and never be longer.
            if let Some(push) = push {
                let push = length(&x.detach())?.broadcast_mul(push)?;
                x = (x + push)?;
            }
        }
        let h = self.norm(&x, &self.norm)?;
        Ok(Outputs {
            logits: linear(&h, &self.embedding)?,
            contributions: (Tensor::stack(&contributions, 0)?.mean(0))?,
        })
    }

    fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (rows, window) = ids.dims2()?;
        let width = self.architecture.hidden_size;
        let x = self
            .embedding
            .index_select(&ids.flatten_all()?, 0)?
            .reshape((rows, window, width))?;
        match self.architecture.arch {
            Arch::Llama => Ok(x),
            Arch::Gemma2 => x * (width as f64).sqrt(),
        }
    }

    fn norm(&self, x: &Tensor, weight: &Var) -> Result<Tensor> {
        let eps = self.architecture.rms_norm_eps as f32;
        rms_norm(x, &self.gain(weight)?, eps)
    }

    /// The gain of a norm; Gemma 2 stores it less 1.
    fn gain(&self, weight: &Var) -> Result<Tensor> {
        match self.architecture.arch {
            Arch::Llama => Ok(weight.as_tensor().clone()),
            Arch::Gemma2 => weight.as_tensor() + 1.0,
        }
    }

    /// What the feed-forward adds to the stream, and its neurons' contributions `[rows, window, 1]`.
    fn feed_forward(&self, block: &Block, x: &Tensor) -> Result<(Tensor, Tensor)> {
        let h = self.norm(x, &block.feed_forward_norm)?;
        let activation = match self.architecture.arch {
            Arch::Llama => Activation::Silu,
            Arch::Gemma2 => Activation::GeluTanh,
        };
        let (gate, up) = (linear(&h, &block.gate)?, linear(&h, &block.up)?);
        // [rows, window, intermediate]: the activations whose channels are the neurons
        let activations = gated(&gate, &up, activation)?;
        let output = linear(&activations, &block.down)?;
        let Some(norm) = &block.after_feed_forward else {
            let written = weighted_abs_sum(&activations, &lengths(&block.down)?)?;
            return Ok((output, (written / (length(x)? + 1e-3)?)?));
        };
        // Of what passes the norm, relative to all that does. A penalty on `a_i · v_i` would only make the projection small, which
        // the norm undoes; one relative to the stream would also be met by smaller gains and a longer stream, and so lower the
        // caps that the norm sets.
        let gain = self.gain(norm)?;
        let writes = block.down.broadcast_mul(&gain.unsqueeze(1)?)?;
        let written = weighted_abs_sum(&activations, &lengths(&writes)?)?;
        let all = length(&output.broadcast_mul(&gain)?)?;
        Ok((self.norm(&output, norm)?, (written / (all + 1e-3)?)?))
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
            for (name, weight) in block.weights() {
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

impl Block {
    fn weights(&self) -> impl Iterator<Item = (&'static str, &Var)> {
        // Llama's name for the norm before the feed-forward is Gemma 2's for the one after the attention.
        let feed_forward_norm = match &self.after_attention {
            None => "post_attention_layernorm",
            Some(_) => "pre_feedforward_layernorm",
        };
        [
            ("input_layernorm", Some(&self.attention_norm)),
            ("self_attn.q_proj", Some(&self.query)),
            ("self_attn.k_proj", Some(&self.key)),
            ("self_attn.v_proj", Some(&self.value)),
            ("self_attn.o_proj", Some(&self.output)),
            ("post_attention_layernorm", self.after_attention.as_ref()),
            (feed_forward_norm, Some(&self.feed_forward_norm)),
            ("mlp.gate_proj", Some(&self.gate)),
            ("mlp.up_proj", Some(&self.up)),
            ("mlp.down_proj", Some(&self.down)),
            (
                "post_feedforward_layernorm",
                self.after_feed_forward.as_ref(),
            ),
        ]
        .into_iter()
        .filter_map(|(name, weight)| Some((name, weight?)))
    }
}

/// `x · wᵀ` with `w` in the `[out, in]` order of the files; all leading dimensions of `x` multiply as one.
fn linear(x: &Tensor, weight: &Tensor) -> Result<Tensor> {
    let (rows, window, width) = x.dims3()?;
    x.reshape((rows * window, width))?
        .matmul(&weight.t()?)?
        .reshape((rows, window, ()))
}

/// The length of each column of a `[d, width]` matrix.
fn lengths(matrix: &Tensor) -> Result<Tensor> {
    matrix.sqr()?.sum(0)?.sqrt()
}

/// The weight of a norm whose gain is 1.
fn unit_norm(arch: Arch, size: usize) -> Result<Var> {
    let stored = match arch {
        Arch::Llama => 1f32,
        Arch::Gemma2 => 0.0,
    };
    Var::from_vec(vec![stored; size], size, &Device::Cpu)
}

/// Normal with standard deviation `scale / √inputs`; candle's generator on the CPU cannot be seeded.
fn normal(rng: &mut ChaCha8Rng, outputs: usize, inputs: usize, scale: f64) -> Result<Var> {
    let deviation = (scale / (inputs as f64).sqrt()) as f32;
    let mut draw = || -> f32 { StandardNormal.sample(rng) };
    let values = (0..outputs * inputs).map(|_| deviation * draw()).collect();
    Var::from_vec(values, (outputs, inputs), &Device::Cpu)
}
