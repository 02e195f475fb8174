"""The tiny random-weight Llama models of the parity tests: odd shapes that a trained model does not show.

Every weight comes from a seed, so that `make.py` can make the same files again, byte for byte.
"""

import filecmp
import json
import tempfile
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForCausalLM

VOCAB = 97
COMMON = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_act": "silu",
    "max_position_embeddings": 128,
    "rms_norm_eps": 1e-5,
    "bos_token_id": 1,
}

# `config` is written as it stands, in the spellings that are met in the wild: `rope_parameters` (transformers 5) and `rope_theta`
# beside `rope_scaling` (before). Seeds were chosen so that greedy rollouts are varied and some end with end-of-text.
MODELS = {
    # Grouped queries 6:2, wide heads (6·10 ≠ 24), biases everywhere, untied head.
    "tiny-gqa-bias": {
        "seed": 9,
        "dtype": torch.float32,
        "config": {
            "hidden_size": 24,
            "intermediate_size": 40,
            "num_hidden_layers": 3,
            "num_attention_heads": 6,
            "num_key_value_heads": 2,
            "head_dim": 10,
            "attention_bias": True,
            "mlp_bias": True,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "default", "rope_theta": 500.0},
            "eos_token_id": 2,
            "dtype": "float32",
        },
    },
    # llama3 scaling whose first context (32) is shorter than the long prompt; kept (wavelength 6.3), blended (19.9) and divided
    # frequencies all occur. Tied head.
    "tiny-llama3-rope": {
        "seed": 9,
        "dtype": torch.float32,
        "config": {
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": 16,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": True,
            "rope_theta": 10000.0,
            "rope_scaling": {
                "rope_type": "llama3",
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 32,
            },
            "eos_token_id": 2,
            "torch_dtype": "float32",
        },
    },
    # bf16 in several files with an index, one key/value head, linear scaling, attention biases only, a list of end-of-text tokens.
    "tiny-bf16-sharded": {
        "seed": 12,
        "dtype": torch.bfloat16,
        "config": {
            "hidden_size": 20,
            "intermediate_size": 36,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "num_key_value_heads": 1,
            "head_dim": 8,
            "attention_bias": True,
            "mlp_bias": False,
            "tie_word_embeddings": False,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0},
            "eos_token_id": [2, 19],
            "dtype": "bfloat16",
        },
    },
}


def make(name: str, parent: Path) -> Path:
    """Writes model `name` into `parent/name` and returns that folder."""
    recipe = MODELS[name]
    config = COMMON | recipe["config"]
    model = LlamaForCausalLM(LlamaConfig(**config))
    fill(model, recipe["seed"])
    folder = parent / name
    # save_pretrained drops old shards, and sizes the new ones; its two config files name library versions, so they are not kept.
    model.to(recipe["dtype"]).save_pretrained(folder, max_shard_size="10KB" if "sharded" in name else "1GB")
    (folder / "generation_config.json").unlink()
    write_json(folder / "config.json", config)
    write_json(folder / "tokenizer.json", word_level_tokenizer())
    return folder


def check(name: str, parent: Path) -> list[str]:
    """The files in `parent/name` that are not, byte for byte, what the recipe makes."""
    with tempfile.TemporaryDirectory() as scratch:
        made, kept = make(name, Path(scratch)), parent / name
        names = sorted({path.name for folder in (made, kept) for path in folder.glob("*")})
        _, different, missing = filecmp.cmpfiles(made, kept, names, shallow=False)
        return [f"models/{name}/{file} is not what tiny.py makes" for file in different + missing]


@torch.no_grad()
def fill(model: LlamaForCausalLM, seed: int) -> None:
    """Random weights of a size at which blocks matter, logits spread by a few units, and no bias is zero and no gain one."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        if "norm" in name:
            parameter.copy_(1.0 + 0.3 * draw)
        elif name.endswith("bias"):
            parameter.copy_(0.3 * draw)
        elif "embed_tokens" in name:
            # Where the head is tied, small beside what the blocks write: otherwise each token predicts itself.
            parameter.copy_((0.25 if model.config.tie_word_embeddings else 0.5) * draw)
        else:
            # Sharp attention and a wide head, so that greedy rollouts vary with position and prompt.
            gain = 1.8 if any(part in name for part in ("lm_head", "q_proj", "k_proj")) else 1.0
            parameter.copy_(gain * draw / parameter.shape[1] ** 0.5)


def word_level_tokenizer() -> dict:
    """The words `w0` … `w96`, separated by spaces; a word's number is its id, and unknown words are `w0`."""
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": {f"w{i}": i for i in range(VOCAB)}, "unk_token": "w0"},
    }


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
