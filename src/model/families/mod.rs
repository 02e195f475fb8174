//! The families of language models: each file reads one family's `config.json` and names its tensors.
//!
//! The forward pass is the same for all of them ([`super::decoder`]); a family's file says which parts its blocks are made of. A key of
//! `config.json` whose effect is not computed is refused by name.

mod common;
mod gemma;
mod gemma2;
mod gemma3;
mod gpt2;
mod gpt_neox;
mod llama;
mod mistral;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;

use serde_json::Value;

use super::decoder::{Decoder, Sizes};
use super::json;
use super::keys::Keys;
use super::tensors::{Expected, Order, Tensors};
use super::{ModelError, Shape};

/// A model's configuration, read and checked.
pub trait Family: Send + Sync {
    /// `model_type`.
    fn name(&self) -> &'static str;

    /// Sizes.
    fn sizes(&self) -> Sizes;

    /// Where things are.
    fn anatomy(&self) -> Anatomy;

    /// Asks for every tensor, and makes the model of them.
    fn build(&self, tensors: &mut Tensors<'_>) -> Result<Decoder, ModelError>;

    /// Whether a tensor that [`Family::build`] does not ask for may be stored: it is computed, or not used.
    fn ignores(&self, tensor: &str) -> bool {
        tensor.ends_with("rotary_emb.inv_freq")
    }
}

/// Where the law finds its quantities in a family.
#[derive(Clone, Copy, Debug)]
pub struct Anatomy {
    /// The down projection of layer `N`, as the checkpoint calls it: its input is the hook site.
    pub down_projection: &'static str,
    /// How its weight is stored: write directions are columns of an output-major matrix, rows of an input-major one.
    pub order: Order,
    /// Where norms stand, in words.
    pub norms: &'static str,
    /// Whether one stands between the down projection and the residual stream.
    pub norm_after_ffn: bool,
}

/// Norms as most families have them.
const NORMS_BEFORE: &str = "before attention and before the feed-forward; none between the down projection and the residual stream";
const NORMS_AROUND: &str = "before and after attention, before and after the feed-forward: a norm stands between the down projection and the residual stream";

/// As most families have it.
const LLAMA_ANATOMY: Anatomy = Anatomy {
    down_projection: "model.layers.N.mlp.down_proj",
    order: Order::OutputMajor,
    norms: NORMS_BEFORE,
    norm_after_ffn: false,
};

/// What is read, by `model_type`.
const SUPPORTED: [&str; 11] = [
    "llama",
    "mistral",
    "qwen2",
    "qwen3",
    "gemma",
    "gemma2",
    "gemma3_text",
    "phi3",
    "olmo2",
    "gpt2",
    "gpt_neox",
];

/// Reads the text of a `config.json`. Refuses what this program does not compute, rather than computing something else.
pub fn read(text: &str) -> Result<(Box<dyn Family>, Vec<u32>), String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))?;
    json::check_keys(text.as_bytes()).map_err(|e| e.to_string())?;
    let object = value.as_object().ok_or("is not a mapping")?;
    let keys = Keys(object);
    if keys.get("quantization_config").is_some() {
        return Err("`quantization_config`: quantised weights are not supported; use the original checkpoint".into());
    }
    keys.refuse_flag("add_cross_attention")?;
    keys.refuse_flag("use_bidirectional_attention")?;
    let family: Box<dyn Family> = match keys.get("model_type").and_then(Value::as_str) {
        Some("llama") => Box::new(llama::read(&keys)?),
        Some("mistral") => Box::new(mistral::read(&keys)?),
        Some("qwen2") => Box::new(qwen2::read(&keys)?),
        Some("qwen3") => Box::new(qwen3::read(&keys)?),
        Some("gemma") => Box::new(gemma::Gemma::read(&keys)?),
        Some("gemma2") => Box::new(gemma2::read(&keys)?),
        Some("gemma3_text") => Box::new(gemma3::read(&keys)?),
        Some("phi3") => Box::new(phi3::Phi3::read(&keys)?),
        Some("olmo2") => Box::new(olmo2::Olmo2::read(&keys)?),
        Some("gpt2") => Box::new(gpt2::Gpt2::read(&keys)?),
        Some("gpt_neox") => Box::new(gpt_neox::GptNeoX::read(&keys)?),
        Some("gemma3") => {
            return Err("`model_type` is `gemma3`, a model of text and images; its text model (`gemma3_text`) is supported, saved by itself".into());
        }
        Some(other) => {
            return Err(format!(
                "`model_type` is `{other}`; supported are {}",
                SUPPORTED.join(", ")
            ));
        }
        None => {
            return Err(format!(
                "has no `model_type`; supported are {}",
                SUPPORTED.join(", ")
            ));
        }
    };
    Ok((family, keys.token_ids("eos_token_id")?))
}

/// The tensors that a family needs.
pub fn expected(family: &dyn Family) -> Result<Vec<Expected>, ModelError> {
    let mut tensors = Tensors::listed();
    family.build(&mut tensors)?;
    Ok(tensors.into_expected())
}

/// What the law needs to know of a family's model.
pub fn shape(family: &dyn Family, expected: &[Expected]) -> Shape {
    let sizes = family.sizes();
    Shape {
        family: family.name().into(),
        layers: sizes.layers,
        d_model: sizes.d_model,
        d_ff: sizes.d_ff,
        vocab: sizes.vocab,
        context: sizes.context,
        norm_after_ffn: family.anatomy().norm_after_ffn,
        parameters: (expected.iter())
            .map(|tensor| tensor.dims.iter().product::<usize>())
            .sum(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 32"#;

    fn small(more: &str) -> Result<(Box<dyn Family>, Vec<u32>), String> {
        read(&format!("{SMALL}{more}}}"))
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let (family, ends) = small("").unwrap();
        let sizes = family.sizes();
        assert_eq!((sizes.heads.kv, sizes.heads.dim), (4, 2));
        assert_eq!(sizes.context, 2048);
        assert!(ends.is_empty());
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (more, named) in [
            (r#", "hidden_act": "relu""#, "hidden_act"),
            (
                r#", "rope_scaling": {"rope_type": "yarn", "factor": 2}"#,
                "yarn",
            ),
            (
                r#", "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 1}"#,
                "low_freq_factor",
            ),
            (
                r#", "rope_scaling": {"type": "dynamic", "factor": 2}"#,
                "dynamic",
            ),
            (r#", "partial_rotary_factor": 0.5"#, "partial_rotary_factor"),
            (r#", "num_key_value_heads": 3"#, "num_key_value_heads"),
            (r#", "head_dim": 3"#, "head_dim"),
            (r#", "head_dim": 1e30"#, "head_dim"),
            (r#", "rms_norm_eps": "x""#, "rms_norm_eps"),
            (r#", "attention_bias": 1"#, "attention_bias"),
            (
                r#", "max_position_embeddings": 99999999999"#,
                "max_position_embeddings",
            ),
            (
                r#", "quantization_config": {"bits": 4}"#,
                "quantization_config",
            ),
            (
                r#", "use_bidirectional_attention": true"#,
                "use_bidirectional_attention",
            ),
        ] {
            let error = small(more)
                .err()
                .unwrap_or_else(|| panic!("{more} is accepted"));
            assert!(error.contains(named), "{error}");
        }
        for (text, named) in [
            (r#"{"model_type": "mamba"}"#, "mamba"),
            (r#"{"model_type": "gemma3"}"#, "gemma3_text"),
            ("[]", "mapping"),
        ] {
            let error = read(text).err().unwrap();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn end_of_text_may_be_a_list() {
        assert_eq!(small(r#", "eos_token_id": [1, 2]"#).unwrap().1, [1, 2]);
        assert_eq!(small(r#", "eos_token_id": 7"#).unwrap().1, [7]);
    }
}
