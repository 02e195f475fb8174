"""Freezes what Hugging Face transformers computes, as references for the Rust engine: logits, residual norms, neuron activations,
and greedy rollouts with and without a steered neuron. f32, eager attention, CPU, one thread.

    python tests/reference/make.py [MODEL_FOLDER …]          (re)makes the tiny models and <name>.json of each model
    python tests/reference/make.py --check [MODEL_FOLDER …]  makes everything again and compares: exit 1 when different
    python tests/reference/make.py --only NAME …             only these of the tiny models; also with --check

The README beside this file says how to install what it needs, and what the references hold.
"""

import argparse
import hashlib
import json
import random
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import transformers

import tiny
from families import MODELS
from frozen import close, differences, f32, to_text
from instrument import Instrument, Steering

HERE = Path(__file__).resolve().parent
PROMPT_LENGTHS = {"single": 1, "short": 8, "long": 40}
ALL_POSITIONS = "short"  # the prompt whose logits are kept at every position


@dataclass(frozen=True)
class Plan:
    """Which steered rollouts are kept: `budgets` are doses in budgets, `windows` the steered steps [from, to)."""

    neurons: tuple[int, ...]  # of those that `neurons` lists
    budgets: tuple[float, ...]
    windows: tuple[tuple[int, int], ...]  # step 0 is the last prompt token
    smallest_margin: float  # refused when a rollout has a smaller one: a rounding error would choose another token


FULL = Plan((0, 1, 2, 3, 4), (-3.0, -1.0, -0.3, 0.3, 1.0, 3.0), ((1, 4), (0, 2)), 0.0)
LEAN = Plan((0, 2, 3, 4), (-3.0, -1.0, 0.3, 1.0, 3.0), ((1, 4),), 2e-4)  # so that all families together stay small


def rollout(instrument: Instrument, name: str, prompt, budgets=None, steering=None) -> dict:
    """One rollout as it is stored. Made with a KV cache, and refused when a run without one says otherwise."""
    tokens, logits, residuals = instrument.greedy(prompt, steering)
    plain_tokens, plain_logits, _ = instrument.greedy(prompt, steering, cached=False)
    assert tokens == plain_tokens and close(logits, plain_logits), f"cache changes {name}, {steering}"
    top = logits.topk(2).values
    margins = top[:, 0] - top[:, 1]
    window = steering and steering.window and dict(zip(("from", "to"), steering.window))
    return {
        "prompt": name,
        "steering": steering and asdict(steering) | {"budgets": budgets, "window": window},
        "tokens": tokens,
        "ended": tokens[-1] in instrument.eos,
        "nll": f32(negative_log_likelihood(instrument, prompt, tokens)),
        "cosines": f32(cosines(residuals[:, steering.layer], instrument.effective_write(steering))) if steering else [],
        "min_margin": f32(margins.min()),
        "min_margin_step": int(margins.argmin()),
    }


def negative_log_likelihood(instrument, prompt, tokens):
    """Of each generated token under the unsteered model (nats), from one forward pass without cache."""
    logits = instrument.forward((prompt + tokens)[:-1])[len(prompt) - 1 :]
    return -logits.double().log_softmax(-1).gather(1, torch.tensor(tokens)[:, None])[:, 0]


def cosines(residuals, direction) -> torch.Tensor:
    """Between each row and the direction: `[steps]`."""
    return torch.nn.functional.cosine_similarity(residuals.double(), direction.double()[None], dim=1)


def rollouts(instrument: Instrument, plan: Plan, name: str, prompt) -> list[dict]:
    """The unsteered rollout, and the steered ones in budgets of this prompt."""
    made = [rollout(instrument, name, prompt)]
    _, clean_logits, clean_residuals = instrument.greedy(prompt)
    places = neurons(instrument)
    for neuron in (places[i] for i in plan.neurons):
        silent = Steering(*neuron, 0.0)
        assert torch.equal(clean_logits, instrument.greedy(prompt, silent)[1]), f"dose 0 changes {name}, {neuron}"
        # B = mean ‖r_L‖ / ‖v‖ over the unsteered rollout's steps: last prompt token, and each generated token but the last.
        norm = clean_residuals[:, neuron[0]].double().norm(dim=-1).mean()
        budget = float(norm / instrument.write_direction(silent).double().norm())
        applies = ["generation"] if len(prompt) == 1 else ["generation", "all"]
        cases = [(g, apply, None) for apply in applies for g in plan.budgets]
        cases += [(1.0, "generation", window) for window in plan.windows]
        for g, apply, window in cases:
            steering = Steering(*neuron, f32(g * budget), apply, window)
            made.append(rollout(instrument, name, prompt, g, steering))
    thin = [r["steering"] for r in made if r["min_margin"] < plan.smallest_margin]
    assert not thin, f"a token hangs on rounding in {name}, {thin}: choose another seed"
    return made


def neurons(instrument: Instrument) -> list[tuple[int, int]]:
    """(layer, index) of neurons to steer: both ends of the layers and of the channels, and between."""
    layer, index = instrument.config.num_hidden_layers - 1, instrument.d_ff - 1  # the last ones
    return [(0, 0), (0, index // 3), (layer // 2, index // 2), (layer, index // 5), (layer, index)]


def observation(instrument: Instrument, name: str, prompt, indices) -> dict:
    """The unsteered forward pass over one prompt."""
    logits = instrument.forward(prompt)
    return {
        "name": name,
        "tokens": prompt,
        "logits": f32(logits[-1]),
        "all_logits": f32(logits) if name == ALL_POSITIONS else None,
        "residual_norms": f32(torch.stack([r.double().norm(dim=-1) for r in instrument.residuals])),
        "activations": f32(torch.stack([a[-1, indices] for a in instrument.activations])),
    }


def sample_prompts(instrument: Instrument) -> dict[str, list[int]]:
    """Prompts in the model's own language, without need of its tokenizer: the beginning of a seeded sample from the model."""
    rng = random.Random(260)
    tokens = [instrument.config.bos_token_id or 0]
    while len(tokens) < max(PROMPT_LENGTHS.values()):
        logits = instrument.forward(tokens)[-1].double()
        logits[instrument.eos] = -torch.inf
        share = logits.softmax(-1).cumsum(-1)
        tokens.append(min(int((share < rng.random()).sum()), len(share) - 1))
    return {name: tokens[:length] for name, length in PROMPT_LENGTHS.items()}


def assert_padding_is_silent(instrument: Instrument, prompts: dict[str, list[int]]) -> None:
    """A left-padded batch of all prompts must say what its rows say alone.

    Not so with longrope, where transformers lets a batch's longest row choose the factors of all rows.
    """
    if (instrument.config.to_dict().get("rope_parameters") or {}).get("rope_type") != "longrope":
        alone = [instrument.greedy(prompt)[0] for prompt in prompts.values()]
        assert instrument.padded(list(prompts.values())) == alone, "padding changes a rollout"


def reference(folder: Path) -> dict:
    """Everything that is frozen about one model."""
    instrument = Instrument(folder)
    config = instrument.config
    plan = FULL if config.model_type == "llama" else LEAN
    indices = [round(i * (instrument.d_ff - 1) / 7) for i in range(8)]
    prompts = sample_prompts(instrument)
    assert_padding_is_silent(instrument, prompts)
    shape = {"layers": "num_hidden_layers", "d_model": "hidden_size", "vocab": "vocab_size"}
    return {
        "activation_indices": indices,
        "eos": instrument.eos,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in model_files(folder)},
        "made_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "model": folder.name,
        "prompts": [observation(instrument, name, prompt, indices) for name, prompt in prompts.items()],
        "rollouts": [made for name, prompt in prompts.items() for made in rollouts(instrument, plan, name, prompt)],
        "shape": {key: getattr(config, name) for key, name in shape.items()} | {"d_ff": instrument.d_ff},
    }


def model_files(folder: Path) -> list[Path]:
    """The files that influence results, by name."""
    named = {"config.json", "tokenizer.json", "model.safetensors.index.json"}
    return sorted(path for path in folder.iterdir() if path.name in named or path.suffix == ".safetensors")


def check(folder: Path) -> list[str]:
    """What is no longer as it was frozen."""
    path = HERE / f"{folder.name}.json"
    if not path.exists():
        return [f"{path.name} is missing: run make.py without --check"]
    new = json.loads(to_text(reference(folder)))
    return list(differences(json.loads(path.read_text()), new, folder.name))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="*", type=Path, metavar="MODEL_FOLDER", help="further models in Hugging Face form")
    parser.add_argument("--check", action="store_true", help="make everything again and compare")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=MODELS, default=list(MODELS), help="tiny models")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()

    problems = []
    for name in args.only:
        if args.check:
            problems += tiny.check(name, HERE / "models")
        else:
            tiny.make(name, HERE / "models")
    for folder in [HERE / "models" / name for name in args.only] + [folder.resolve() for folder in args.folders]:
        if args.check:
            problems += check(folder)
        else:
            (HERE / f"{folder.name}.json").write_text(to_text(reference(folder)))
        print("checked" if args.check else "wrote", f"{folder.name}.json", flush=True)
    print("\n".join(problems) or "no problems")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
