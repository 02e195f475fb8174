"""Writes a Llama checkpoint of the 135M shape with random weights, to measure speed on: it has learnt nothing.

    python benches/peers/make_llama135m.py [--init spread] [FOLDER]      (default: target/peers/llama135m)

`--init transformers`, the default, draws every weight with a standard deviation of 0.02, as transformers does. The tied readout then says
the current token again for ever, until a dose changes it: about half of all histories of the benchmark's sweep are distinct.

`--init spread` draws weights whose text never agrees with another: every projection has 1/sqrt(inputs), the embeddings are small beside
that, and queries and keys are larger by QUERY_KEY_GAIN, so that attention chooses between positions. Clean rollouts of 32 tokens hold
about 30 different ones, and a dose of 0.05 budgets already changes later tokens, as no token is much likelier than the next. No trained
model is like that; it is the worst case for an engine that computes what texts share once.
"""

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file

REPOSITORY = Path(__file__).resolve().parents[2]
SEED = 135
VOCABULARY, WIDTH, LAYERS, FFN, HEADS, KV_HEADS, HEAD = 49152, 576, 30, 1536, 9, 3, 64
EMBEDDING_STD = 0.05
QUERY_KEY_GAIN = 2.0

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "bos_token_id": None,
    "eos_token_id": None,
    "head_dim": HEAD,
    "hidden_act": "silu",
    "hidden_size": WIDTH,
    "intermediate_size": FFN,
    "max_position_embeddings": 2048,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "num_key_value_heads": KV_HEADS,
    "pad_token_id": None,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "use_cache": True,
    "vocab_size": VOCABULARY,
}

TOKENIZER = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": None,
    "pre_tokenizer": {"type": "WhitespaceSplit"},
    "post_processor": None,
    "decoder": None,  # tokens are joined by spaces
    "model": {"type": "WordLevel", "vocab": {f"t{i}": i for i in range(VOCABULARY)}, "unk_token": "<unk>"},
}

TOKENIZER_CONFIG = {"clean_up_tokenization_spaces": False, "model_max_length": 2048, "tokenizer_class": "PreTrainedTokenizerFast"}


def weights(init: str) -> dict[str, torch.Tensor]:
    torch.manual_seed(SEED)
    embedding_std = {"transformers": 0.02, "spread": EMBEDDING_STD}[init]

    def projection(outputs: int, inputs: int, gain: float = 1.0) -> torch.Tensor:
        std = {"transformers": 0.02, "spread": gain / inputs**0.5}[init]
        return (torch.randn(outputs, inputs) * std).bfloat16()

    norm = lambda: torch.ones(WIDTH, dtype=torch.bfloat16)
    made = {"model.embed_tokens.weight": (torch.randn(VOCABULARY, WIDTH) * embedding_std).bfloat16(), "model.norm.weight": norm()}
    for layer in range(LAYERS):
        made |= {
            f"model.layers.{layer}.{name}.weight": weight
            for name, weight in {
                "input_layernorm": norm(),
                "self_attn.q_proj": projection(HEADS * HEAD, WIDTH, QUERY_KEY_GAIN),
                "self_attn.k_proj": projection(KV_HEADS * HEAD, WIDTH, QUERY_KEY_GAIN),
                "self_attn.v_proj": projection(KV_HEADS * HEAD, WIDTH),
                "self_attn.o_proj": projection(WIDTH, HEADS * HEAD),
                "post_attention_layernorm": norm(),
                "mlp.gate_proj": projection(FFN, WIDTH),
                "mlp.up_proj": projection(FFN, WIDTH),
                "mlp.down_proj": projection(WIDTH, FFN),
            }.items()
        }
    return made


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=REPOSITORY / "target/peers/llama135m")
    parser.add_argument("--init", choices=("transformers", "spread"), default="transformers")
    args = parser.parse_args()
    folder = args.folder
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "config.json": CONFIG,
        "generation_config.json": {"_from_model_config": True},
        "tokenizer.json": TOKENIZER,
        "tokenizer_config.json": TOKENIZER_CONFIG,
    }
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content, indent=1) + "\n")
    save_file(weights(args.init), folder / "model.safetensors", metadata={"format": "pt"})


if __name__ == "__main__":
    main()
