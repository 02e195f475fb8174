//! Writes the trained weights in Hugging Face's form.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use candle_core::{DType, Tensor};
use serde_json::{Value, json};

use crate::net::Net;
use crate::recipe::{Arch, Architecture};
use crate::tokenizer::{BOS, EOS, PAD};

/// Rounds to bf16: half the size, and the accuracies are measured on what was written.
pub fn weights(net: &Net, path: &Path) -> Result<()> {
    let rounded: BTreeMap<String, Tensor> = net
        .weights()
        .into_iter()
        .map(|(name, weight)| Ok((name, weight.as_tensor().to_dtype(DType::BF16)?)))
        .collect::<candle_core::Result<_>>()?;
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    safetensors::serialize_to_file(rounded.iter(), metadata, path)
        .with_context(|| format!("cannot write {}", path.display()))
}

pub fn config(a: &Architecture, vocabulary: usize) -> Value {
    let mut config = json!({
        "vocab_size": vocabulary,
        "hidden_size": a.hidden_size,
        "intermediate_size": a.intermediate_size,
        "num_hidden_layers": a.layers,
        "num_attention_heads": a.heads,
        "num_key_value_heads": a.kv_heads,
        "head_dim": a.head_dim(),
        "rms_norm_eps": a.rms_norm_eps,
        "rope_theta": a.rope_theta,
        "max_position_embeddings": a.max_positions,
        "tie_word_embeddings": true,
        "attention_bias": false,
        "bos_token_id": BOS,
        "eos_token_id": EOS,
        "pad_token_id": PAD,
        "torch_dtype": "bfloat16",
    });
    let of_family = match a.arch {
        Arch::Llama => json!({
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "hidden_act": "silu",
            "mlp_bias": false,
        }),
        Arch::Gemma2 => json!({
            "architectures": ["Gemma2ForCausalLM"],
            "model_type": "gemma2",
            "hidden_activation": "gelu_pytorch_tanh",
            // What scores are divided by the root of.
            "query_pre_attn_scalar": a.head_dim(),
            "attn_logit_softcapping": null,
            "final_logit_softcapping": null,
            // No text is longer, so that no layer forgets.
            "sliding_window": a.max_positions,
        }),
    };
    for (key, value) in of_family.as_object().into_iter().flatten() {
        config[key] = value.clone();
    }
    config
}
