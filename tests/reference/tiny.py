"""Makes the tiny random-weight models of the parity tests from the recipes in `families.py`.

Every weight comes from a seed, so that `make.py` can make the same files again, byte for byte.
"""

import copy
import filecmp
import json
import tempfile
from pathlib import Path

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from families import MODELS

# Sharp attention and a wide head, so that greedy rollouts vary with position and prompt.
SHARP = ("lm_head", "q_proj", "k_proj", "qkv_proj", "c_attn", "query_key_value")
LAST_NORMS = ("model.norm.weight", "transformer.ln_f.weight")


def make(name: str, parent: Path) -> Path:
    """Writes model `name` into `parent/name` and returns that folder."""
    recipe = MODELS[name]
    # transformers completes the dictionaries that it is given: the copy keeps what is written below as the recipe has it.
    config = AutoConfig.for_model(**copy.deepcopy(recipe["config"]))
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    fill(model, recipe["seed"], recipe.get("signs", False))
    folder = parent / name
    # save_pretrained drops old shards, and sizes the new ones; its two config files name library versions, so they are not kept.
    model.to(recipe["dtype"]).save_pretrained(folder, max_shard_size=recipe.get("shard_size", "1GB"))
    (folder / "generation_config.json").unlink()
    write_json(folder / "config.json", recipe["config"])
    write_json(folder / "tokenizer.json", word_level_tokenizer(recipe["config"]["vocab_size"]))
    return folder


def check(name: str, parent: Path) -> list[str]:
    """The files in `parent/name` that are not, byte for byte, what the recipe makes."""
    with tempfile.TemporaryDirectory() as scratch:
        made, kept = make(name, Path(scratch)), parent / name
        names = sorted({path.name for folder in (made, kept) for path in folder.glob("*")})
        _, different, missing = filecmp.cmpfiles(made, kept, names, shallow=False)
        return [f"models/{name}/{file} is not what tiny.py makes" for file in different + missing]


@torch.no_grad()
def fill(model: PreTrainedModel, seed: int, signs: bool) -> None:
    """Random weights of a size at which blocks matter, logits spread by a few units, and no bias is zero and no gain one.

    With `signs`, every other gain of the last norm is negative: where the head is tied, a token then does not predict itself.
    """
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        if name.endswith("bias"):
            parameter.copy_(0.3 * draw)
        elif "norm" in name or "ln_" in name:
            # Gains vary around what a new model has: one, or zero in the families that add one to it.
            gain = 1.0 + 0.3 * draw
            if signs and name in LAST_NORMS:
                gain[1::2] *= -1.0
            parameter.copy_(parameter - 1.0 + gain)
        elif any(part in name for part in ("embed_tokens", "wte", "wpe", "embed_in")):
            # Where the head is tied, small beside what the blocks write: otherwise each token predicts itself.
            parameter.copy_((0.25 if model.config.tie_word_embeddings and "wpe" not in name else 0.5) * draw)
        else:
            gain = 1.8 if any(part in name for part in SHARP) else 1.0
            # GPT-2 stores its weights [in, out].
            fan_in = parameter.shape[0 if model.config.model_type == "gpt2" else 1]
            parameter.copy_(gain * draw / fan_in**0.5)


def word_level_tokenizer(vocab: int) -> dict:
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
        "model": {"type": "WordLevel", "vocab": {f"w{i}": i for i in range(vocab)}, "unk_token": "w0"},
    }


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, indent=1) + "\n")
