//! `config.json` of the Llama family.

use serde::Deserialize;
use serde_json::Value;

use super::{ModelError, Shape};

/// A Llama model's configuration, with every default of transformers' `LlamaConfig` filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct LlamaConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Feed-forward neurons per layer.
    pub intermediate_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides the query heads.
    pub num_key_value_heads: usize,
    /// Width of one head; even.
    pub head_dim: usize,
    /// Vocabulary size.
    pub vocab_size: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMSNorm.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// Scaling of the rotary frequencies.
    pub rope_scaling: RopeScaling,
    /// Whether the attention projections have biases.
    pub attention_bias: bool,
    /// Whether the feed-forward projections have biases.
    pub mlp_bias: bool,
    /// Whether the unembedding is the embedding.
    pub tie_word_embeddings: bool,
    /// End-of-text tokens.
    pub eos_token_ids: Vec<u32>,
}

/// Scaling of the rotary frequencies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RopeScaling {
    /// None.
    Default,
    /// Positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1's: low frequencies divided by a factor, high ones kept, those between blended.
    Llama3 {
        /// Divisor of low frequencies.
        factor: f64,
        /// Context ÷ wavelength below which a frequency is low.
        low_freq_factor: f64,
        /// Context ÷ wavelength above which a frequency is high.
        high_freq_factor: f64,
        /// The context the model was first trained on.
        original_max_position_embeddings: f64,
    },
}

/// The file as it is written; absent keys get transformers' defaults.
#[derive(Deserialize)]
struct Written {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    vocab_size: usize,
    #[serde(default = "default_context")]
    max_position_embeddings: usize,
    #[serde(default = "default_eps")]
    rms_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<Value>,
    /// Newer transformers write the rotary settings here.
    rope_parameters: Option<Value>,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default = "default_act")]
    hidden_act: String,
    #[serde(default = "default_pretraining_tp")]
    pretraining_tp: usize,
    eos_token_id: Option<Value>,
}

fn default_context() -> usize {
    2048
}
fn default_eps() -> f64 {
    1e-6
}
fn default_act() -> String {
    "silu".into()
}
fn default_pretraining_tp() -> usize {
    1
}

impl LlamaConfig {
    /// Reads the text of a `config.json`. Refuses what this program does not compute, rather than computing something else.
    pub fn parse(text: &str) -> Result<Self, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|e| format!("not valid JSON: {e}"))?;
        match value.get("model_type").and_then(Value::as_str) {
            Some("llama") => {}
            Some(other) => {
                return Err(format!("`model_type` is `{other}`; supported is `llama`"));
            }
            None => return Err("has no `model_type`; supported is `llama`".into()),
        }
        if value
            .get("quantization_config")
            .is_some_and(|v| !v.is_null())
        {
            return Err("`quantization_config`: quantised weights are not supported; use the original checkpoint".into());
        }
        let written: Written = serde_json::from_value(value).map_err(|e| e.to_string())?;
        written.resolve()
    }

    /// What the law needs of it.
    pub fn shape(&self) -> Shape {
        Shape {
            family: "llama".into(),
            layers: self.num_hidden_layers,
            d_model: self.hidden_size,
            d_ff: self.intermediate_size,
            vocab: self.vocab_size,
            context: self.max_position_embeddings,
            norm_after_ffn: false,
            parameters: (super::checkpoint::expected_tensors(self).iter())
                .map(|(_, shape)| shape.iter().product::<usize>())
                .sum(),
        }
    }

    /// Rotary inverse frequencies, `[head_dim / 2]`.
    pub fn inverse_frequencies(&self) -> Vec<f32> {
        let half = self.head_dim / 2;
        (0..half)
            .map(|i| {
                // In f32 throughout, as transformers computes them.
                let base = (self.rope_theta as f32).powf((2 * i) as f32 / self.head_dim as f32);
                self.rope_scaling.apply(1.0 / base)
            })
            .collect()
    }
}

impl RopeScaling {
    fn apply(self, frequency: f32) -> f32 {
        match self {
            RopeScaling::Default => frequency,
            RopeScaling::Linear { factor } => frequency / factor as f32,
            // transformers, modeling_rope_utils.py, _compute_llama3_parameters.
            RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: context,
            } => {
                let wavelength = 2.0 * std::f64::consts::PI / frequency as f64;
                if wavelength < context / high_freq_factor {
                    frequency
                } else if wavelength > context / low_freq_factor {
                    frequency / factor as f32
                } else {
                    let smooth = ((context / wavelength - low_freq_factor)
                        / (high_freq_factor - low_freq_factor))
                        as f32;
                    (1.0 - smooth) * frequency / factor as f32 + smooth * frequency
                }
            }
        }
    }

    fn parse(value: &Value) -> Result<Self, String> {
        let kind = (value.get("rope_type").or_else(|| value.get("type")))
            .and_then(Value::as_str)
            .unwrap_or("default");
        let number = |key: &str| {
            (value.get(key).and_then(Value::as_f64))
                .filter(|n| n.is_finite() && *n > 0.0)
                .ok_or_else(|| format!("rope scaling `{kind}` needs a positive number `{key}`"))
        };
        match kind {
            "default" => Ok(RopeScaling::Default),
            "linear" => Ok(RopeScaling::Linear {
                factor: number("factor")?,
            }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: number("original_max_position_embeddings")?,
            }),
            other => Err(format!(
                "rope scaling `{other}` is not supported; supported are `default`, `linear` and `llama3`"
            )),
        }
    }
}

impl Written {
    fn resolve(self) -> Result<LlamaConfig, String> {
        if self.hidden_act != "silu" {
            return Err(format!(
                "`hidden_act` is `{}`; supported is `silu`",
                self.hidden_act
            ));
        }
        if self.pretraining_tp != 1 {
            return Err(format!(
                "`pretraining_tp` is {}; supported is 1",
                self.pretraining_tp
            ));
        }
        let rope = self
            .rope_parameters
            .or(self.rope_scaling)
            .filter(|v| !v.is_null());
        let rope_theta = (rope.as_ref().and_then(|r| r.get("rope_theta")?.as_f64()))
            .or(self.rope_theta)
            .unwrap_or(10_000.0);
        let config = LlamaConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_hidden_layers: self.num_hidden_layers,
            num_attention_heads: self.num_attention_heads,
            num_key_value_heads: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            head_dim: self
                .head_dim
                .unwrap_or(self.hidden_size / self.num_attention_heads.max(1)),
            vocab_size: self.vocab_size,
            max_position_embeddings: self.max_position_embeddings,
            rms_norm_eps: self.rms_norm_eps,
            rope_theta,
            rope_scaling: rope
                .as_ref()
                .map_or(Ok(RopeScaling::Default), RopeScaling::parse)?,
            attention_bias: self.attention_bias,
            mlp_bias: self.mlp_bias,
            tie_word_embeddings: self.tie_word_embeddings,
            eos_token_ids: token_ids("eos_token_id", self.eos_token_id.as_ref())?,
        };
        config.check()?;
        Ok(config)
    }
}

impl LlamaConfig {
    fn check(&self) -> Result<(), String> {
        // Larger than any model; small enough that products of a few of them cannot overflow.
        const LARGEST: usize = 1 << 24;
        let sizes = [
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.num_key_value_heads),
            ("head_dim", self.head_dim),
            ("vocab_size", self.vocab_size),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        if let Some((key, size)) = sizes.iter().find(|(_, size)| *size == 0 || *size > LARGEST) {
            return Err(format!("`{key}` is {size}, which no model has"));
        }
        if !self
            .num_attention_heads
            .is_multiple_of(self.num_key_value_heads)
        {
            return Err(format!(
                "`num_attention_heads` ({}) is not a multiple of `num_key_value_heads` ({})",
                self.num_attention_heads, self.num_key_value_heads
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!(
                "`head_dim` is {}; rotary embeddings need an even one",
                self.head_dim
            ));
        }
        if !(self.rms_norm_eps >= 0.0 && self.rms_norm_eps < 1.0) {
            return Err(format!(
                "`rms_norm_eps` is {}, which is not a small number",
                self.rms_norm_eps
            ));
        }
        if !(self.rope_theta.is_finite() && self.rope_theta > 0.0) {
            return Err(format!(
                "`rope_theta` is {}, which is not a positive number",
                self.rope_theta
            ));
        }
        Ok(())
    }
}

/// A token id or a list of them, as `eos_token_id` may be.
pub fn token_ids(key: &str, value: Option<&Value>) -> Result<Vec<u32>, String> {
    let one = |v: &Value| {
        (v.as_u64().and_then(|id| u32::try_from(id).ok()))
            .ok_or_else(|| format!("`{key}` is neither a token id nor a list of token ids"))
    };
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(ids)) => ids.iter().map(one).collect(),
        Some(id) => Ok(vec![one(id)?]),
    }
}

impl From<(&std::path::Path, String)> for ModelError {
    fn from((file, problem): (&std::path::Path, String)) -> Self {
        ModelError::File {
            file: file.display().to_string(),
            problem,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"{"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
        "num_attention_heads": 4, "vocab_size": 32"#;

    fn parse(more: &str) -> Result<LlamaConfig, String> {
        LlamaConfig::parse(&format!("{SMALL}{more}}}"))
    }

    #[test]
    fn defaults_are_those_of_transformers() {
        let config = parse("").unwrap();
        assert_eq!((config.num_key_value_heads, config.head_dim), (4, 2));
        assert_eq!((config.rope_theta, config.rms_norm_eps), (10_000.0, 1e-6));
        assert_eq!(config.inverse_frequencies(), [1.0]);
    }

    #[test]
    fn what_is_not_computed_is_refused_by_name() {
        for (more, named) in [
            (r#", "hidden_act": "relu""#, "hidden_act"),
            (
                r#", "rope_scaling": {"rope_type": "yarn", "factor": 2}"#,
                "yarn",
            ),
            (r#", "num_key_value_heads": 3"#, "num_key_value_heads"),
            (r#", "head_dim": 3"#, "head_dim"),
            (r#", "quantization_config": {}"#, "quantization_config"),
        ] {
            let error = parse(more).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
        assert!(
            LlamaConfig::parse(r#"{"model_type": "mamba"}"#)
                .unwrap_err()
                .contains("mamba")
        );
    }

    #[test]
    fn end_of_text_may_be_a_list() {
        assert_eq!(
            parse(r#", "eos_token_id": [1, 2]"#).unwrap().eos_token_ids,
            [1, 2]
        );
        assert_eq!(parse(r#", "eos_token_id": 7"#).unwrap().eos_token_ids, [7]);
    }
}
