//! What most families share: the keys of their sizes, and the names of their tensors.

use std::sync::Arc;

use super::{Anatomy, Family, LLAMA_ANATOMY, ModelError};
use crate::model::decoder::{Residual, Sizes};
use crate::model::kernels::{Heads, Scores};
use crate::model::keys::Keys;
use crate::model::parts::{Activation, Attention, FeedForward, Linear, Norm, Vocabulary};
use crate::model::rope::{Rope, RopeConfig};
use crate::model::tensors::Tensors;

pub use crate::model::decoder::{Block, Decoder};

/// What `config.json` may leave out, as transformers fills it in.
pub struct Defaults {
    /// Key–value heads; as many as query heads when absent.
    pub kv_heads: Option<usize>,
    /// Width of a head; the width of the model over the query heads when absent.
    pub head_dim: Option<usize>,
    /// `max_position_embeddings`.
    pub context: usize,
    /// `rms_norm_eps`.
    pub eps: f64,
    /// `tie_word_embeddings`.
    pub tied: bool,
}

/// What Llama leaves out.
pub const LLAMA: Defaults = Defaults {
    kv_heads: None,
    head_dim: None,
    context: 2048,
    eps: 1e-6,
    tied: false,
};

/// Sizes and settings that most families write under the same keys.
#[derive(Clone, Debug)]
pub struct Common {
    /// Sizes.
    pub sizes: Sizes,
    /// Added by RMSNorm.
    pub eps: f32,
    /// Whether the unembedding is the embedding.
    pub tied: bool,
}

impl Common {
    /// Reads and checks them.
    pub fn read(keys: &Keys<'_>, defaults: &Defaults) -> Result<Self, String> {
        let d_model = keys.size("hidden_size")?;
        let query = keys.size("num_attention_heads")?;
        let kv = keys.optional_size("num_key_value_heads")?;
        let dim = keys.optional_size("head_dim")?;
        let sizes = Sizes {
            layers: keys.layers("num_hidden_layers")?,
            d_model,
            d_ff: keys.size("intermediate_size")?,
            vocab: keys.size("vocab_size")?,
            context: (keys.optional_size("max_position_embeddings")?).unwrap_or(defaults.context),
            heads: heads(
                query,
                kv.or(defaults.kv_heads).unwrap_or(query),
                dim.or(defaults.head_dim).unwrap_or(d_model / query),
            )?,
        };
        Ok(Self {
            sizes,
            eps: keys.epsilon("rms_norm_eps", defaults.eps)?,
            tied: keys.flag("tie_word_embeddings", defaults.tied)?,
        })
    }
}

/// Wider than any head: tables of so many angles are made before the weights are looked at.
const WIDEST_HEAD: usize = 1 << 14;

/// Checked counts of heads.
pub fn heads(query: usize, kv: usize, dim: usize) -> Result<Heads, String> {
    if !query.is_multiple_of(kv) {
        return Err(format!(
            "`num_attention_heads` ({query}) is not a multiple of `num_key_value_heads` ({kv})"
        ));
    }
    if dim == 0 {
        return Err(format!(
            "`num_attention_heads` ({query}) is more than the width of the model"
        ));
    }
    if dim > WIDEST_HEAD {
        return Err(format!("`head_dim` is {dim}, which no model has"));
    }
    Ok(Heads { query, kv, dim })
}

/// The nonlinearity under `key`, by its name in transformers.
pub fn activation(keys: &Keys<'_>, key: &str, default: &str) -> Result<Activation, String> {
    match keys.text(key, default)? {
        "silu" | "swish" => Ok(Activation::Silu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Ok(Activation::GeluTanh),
        other => Err(format!(
            "`{key}` is `{other}`; supported are `silu`, `gelu`, `gelu_new` and `gelu_pytorch_tanh`"
        )),
    }
}

/// `1/√width`, what most families multiply scores by.
pub fn plain_scores(width: f64) -> Scores {
    Scores {
        scale: (1.0 / width.sqrt()) as f32,
        soft_cap: None,
    }
}

/// Which projections have biases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Biases {
    /// Queries, keys and values.
    pub inputs: bool,
    /// The output projection.
    pub output: bool,
}

impl Biases {
    /// `attention_bias`: all of them or none.
    pub fn read(keys: &Keys<'_>) -> Result<Self, String> {
        let bias = keys.flag("attention_bias", false)?;
        Ok(Self {
            inputs: bias,
            output: bias,
        })
    }
}

/// Attention whose projections lie under `name.q_proj` and so on; without norms of queries and keys, and without a window.
pub fn attention(
    tensors: &mut Tensors<'_>,
    name: &str,
    sizes: &Sizes,
    biases: Biases,
    rope: &Arc<Rope>,
) -> Result<Attention, ModelError> {
    let (d, heads) = (sizes.d_model, sizes.heads);
    let (q, kv) = (heads.query * heads.dim, sizes.heads.kv_width());
    Ok(Attention {
        query: tensors.linear(&format!("{name}.q_proj"), d, q, biases.inputs)?,
        key: tensors.linear(&format!("{name}.k_proj"), d, kv, biases.inputs)?,
        value: tensors.linear(&format!("{name}.v_proj"), d, kv, biases.inputs)?,
        output: tensors.linear(&format!("{name}.o_proj"), q, d, biases.output)?,
        query_key_norms: None,
        rope: Some(rope.clone()),
        heads,
        scores: plain_scores(heads.dim as f64),
        window: None,
    })
}

/// A gated feed-forward whose projections lie under `name.gate_proj` and so on.
pub fn gated(
    tensors: &mut Tensors<'_>,
    name: &str,
    sizes: &Sizes,
    bias: bool,
    activation: Activation,
) -> Result<FeedForward, ModelError> {
    let (d, ff) = (sizes.d_model, sizes.d_ff);
    let mut linear = |part: &str, inputs, outputs| -> Result<Linear, ModelError> {
        tensors.linear(&format!("{name}.{part}"), inputs, outputs, bias)
    };
    Ok(FeedForward {
        gate: Some(linear("gate_proj", d, ff)?),
        up: linear("up_proj", d, ff)?,
        down: linear("down_proj", ff, d)?,
        activation,
    })
}

/// A block with a norm before each part.
pub fn pre_norm(
    attention_norm: Norm,
    attention: Attention,
    feed_forward_norm: Norm,
    feed_forward: FeedForward,
) -> Block {
    Block {
        attention_norm: Some(attention_norm),
        attention,
        after_attention: None,
        feed_forward_norm: Some(feed_forward_norm),
        feed_forward,
        after_feed_forward: None,
        residual: Residual::Serial,
    }
}

/// `model.embed_tokens` and `lm_head`.
pub fn vocabulary(tensors: &mut Tensors<'_>, common: &Common) -> Result<Vocabulary, ModelError> {
    let head = (!common.tied).then_some("lm_head.weight");
    plain_vocabulary(tensors, &common.sizes, "model.embed_tokens.weight", head)
}

/// An embedding, and an unembedding of its own unless it is the same; neither scaled nor capped, and no positions.
pub fn plain_vocabulary(
    tensors: &mut Tensors<'_>,
    sizes: &Sizes,
    embedding: &str,
    head: Option<&str>,
) -> Result<Vocabulary, ModelError> {
    let (d, vocab) = (sizes.d_model, sizes.vocab);
    let (embedding, unembedding) = match head {
        None => (None, tensors.matrix(embedding, d, vocab)?),
        Some(head) => (
            Some(tensors.values(embedding, &[vocab, d])?),
            tensors.matrix(head, d, vocab)?,
        ),
    };
    Ok(Vocabulary {
        embedding,
        scale: 1.0,
        positions: None,
        unembedding,
        soft_cap: None,
    })
}

/// A family whose sizes and tensors have Llama's names. What is left to it is what its blocks are made of.
pub trait LlamaNames: Send + Sync {
    /// `model_type`.
    fn name(&self) -> &'static str;

    /// Sizes and settings.
    fn common(&self) -> &Common;

    /// The rotary embedding of a layer.
    fn rope(&self, layer: usize) -> &RopeConfig;

    /// The block of a layer, whose tensors' names begin with `at`.
    fn block(
        &self,
        tensors: &mut Tensors<'_>,
        at: &str,
        layer: usize,
        rope: &Arc<Rope>,
    ) -> Result<Block, ModelError>;

    /// Where things are.
    fn anatomy(&self) -> Anatomy {
        LLAMA_ANATOMY
    }

    /// Embedding and unembedding.
    fn vocabulary(&self, tensors: &mut Tensors<'_>) -> Result<Vocabulary, ModelError> {
        vocabulary(tensors, self.common())
    }

    /// The norm before the unembedding.
    fn last_norm(&self, tensors: &mut Tensors<'_>) -> Result<Norm, ModelError> {
        let Common { sizes, eps, .. } = self.common();
        tensors.rms_norm("model.norm", sizes.d_model, *eps)
    }
}

impl<F: LlamaNames> Family for F {
    fn name(&self) -> &'static str {
        LlamaNames::name(self)
    }

    fn sizes(&self) -> Sizes {
        self.common().sizes
    }

    fn anatomy(&self) -> Anatomy {
        LlamaNames::anatomy(self)
    }

    /// Rotary frequencies, which are computed, and the unembedding where it is tied.
    fn ignores(&self, tensor: &str) -> bool {
        tensor.ends_with("rotary_emb.inv_freq")
            || (self.common().tied && tensor == "lm_head.weight")
    }

    fn build(&self, tensors: &mut Tensors<'_>) -> Result<Decoder, ModelError> {
        let sizes = self.common().sizes;
        let mut ropes = Ropes::default();
        Ok(Decoder {
            sizes,
            blocks: layers(sizes.layers, "model.layers", |layer, at| {
                let rope = ropes.shared(self.rope(layer), sizes.context);
                self.block(tensors, at, layer, &rope)
            })?,
            vocabulary: self.vocabulary(tensors)?,
            norm: self.last_norm(tensors)?,
        })
    }
}

/// One table for all layers that have the same rotary embedding.
#[derive(Default)]
struct Ropes<'a>(Vec<(&'a RopeConfig, Arc<Rope>)>);

impl<'a> Ropes<'a> {
    fn shared(&mut self, config: &'a RopeConfig, context: usize) -> Arc<Rope> {
        if let Some((_, rope)) = self.0.iter().find(|(known, _)| *known == config) {
            return rope.clone();
        }
        let rope = Arc::new(Rope::new(config, context));
        self.0.push((config, rope.clone()));
        rope
    }
}

/// `f` for each layer, with the beginning of its tensors' names.
pub fn layers<T>(
    count: usize,
    prefix: &str,
    mut f: impl FnMut(usize, &str) -> Result<T, ModelError>,
) -> Result<Vec<T>, ModelError> {
    (0..count)
        .map(|layer| f(layer, &format!("{prefix}.{layer}")))
        .collect()
}
