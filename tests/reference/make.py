"""Freezes what Hugging Face transformers computes, as references for the Rust engine: logits, residual norms, neuron activations,
and greedy rollouts with and without a steered neuron. f32, eager attention, CPU, one thread.

    python tests/reference/make.py [MODEL_FOLDER …]          (re)makes the tiny models and <name>.json of each model
    python tests/reference/make.py --check [MODEL_FOLDER …]  makes everything again and compares; writes nothing, exit 1 when different

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
from transformers import DynamicCache, LlamaForCausalLM

import tiny
from frozen import close, differences, f32, to_text

HERE = Path(__file__).resolve().parent
HORIZON = 24  # generated tokens per rollout, at most
PROMPT_LENGTHS = {"single": 1, "short": 8, "long": 40}
ALL_POSITIONS = "short"  # the prompt whose logits are kept at every position
BUDGETS = [-3.0, -1.0, -0.3, 0.3, 1.0, 3.0]  # doses in budgets
WINDOWS = [(1, 4), (0, 2)]  # steered steps [from, to); step 0 is the last prompt token


@dataclass(frozen=True)
class Steering:
    """`dose` is added to channel `index` of the input of layer `layer`'s down projection, at the positions that `apply` names."""

    layer: int
    index: int
    dose: float
    apply: str = "generation"
    window: tuple[int, int] | None = None

    def positions(self, first: int, count: int, prompt_length: int) -> torch.Tensor:
        """Which of the positions `first … first + count - 1` are steered: bool `[count]`."""
        if self.apply == "all":
            return torch.ones(count, dtype=torch.bool)
        step = torch.arange(first, first + count) - (prompt_length - 1)
        begin, end = self.window or (0, 1 << 30)
        return (step >= begin) & (step < end)


class Instrument:
    """A model whose block outputs and neuron activations are read, and of which one neuron can be steered."""

    def __init__(self, folder: Path):
        self.model = LlamaForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()
        eos = self.model.config.eos_token_id
        self.eos = eos if isinstance(eos, list) else [] if eos is None else [eos]
        self.layers = self.model.model.layers
        self.residuals = [None] * len(self.layers)  # block outputs (before the final norm), [positions, d_model] per layer
        self.activations = [None] * len(self.layers)  # down projection inputs as steered, [positions, d_ff] per layer
        self.steered = None  # (Steering, bool [positions]) of the forward pass under way
        for number, layer in enumerate(self.layers):
            layer.register_forward_hook(lambda _, __, output, n=number: self._after_block(n, output))
            layer.mlp.down_proj.register_forward_pre_hook(lambda _, inputs, n=number: self._before_down(n, inputs[0]))

    def _after_block(self, layer, output):
        self.residuals[layer] = (output[0] if isinstance(output, tuple) else output)[0]

    def _before_down(self, layer, activations):
        if self.steered and self.steered[0].layer == layer:
            steering, mask = self.steered
            activations = activations.clone()
            activations[:, mask, steering.index] += steering.dose
        self.activations[layer] = activations[0]
        return (activations,)

    @torch.no_grad()
    def forward(self, tokens, first=0, prompt_length=1, steering=None, cache=None) -> torch.Tensor:
        """Logits `[len(tokens), vocab]` of the tokens at positions `first …`; what stands before them is in `cache`."""
        mask = steering and steering.positions(first, len(tokens), prompt_length)
        self.steered = steering and (steering, mask)
        positions = torch.arange(first, first + len(tokens))[None]
        out = self.model(torch.tensor([tokens]), position_ids=positions, past_key_values=cache, use_cache=cache is not None)
        return out.logits[0]

    def write_direction(self, steering: Steering) -> torch.Tensor:
        """Column of the down projection, `[d_model]`."""
        return self.layers[steering.layer].mlp.down_proj.weight.detach()[:, steering.index]

    def greedy(self, prompt, steering=None, cached=True):
        """Greedy rollout, lowest id among equals: tokens, logits `[steps, vocab]`, block outputs `[steps, layers, d_model]`.

        One step per generated token: step 0 is the forward pass whose last position is the last prompt token.
        """
        cache = DynamicCache(config=self.model.config) if cached else None
        tokens, logits, residuals = [], [], []
        while len(tokens) < HORIZON and not (tokens and tokens[-1] in self.eos):
            sequence = prompt + tokens
            first = len(sequence) - 1 if cached and tokens else 0
            logits.append(self.forward(sequence[first:], first, len(prompt), steering, cache)[-1])
            residuals.append(torch.stack([r[-1] for r in self.residuals]))
            tokens.append(int((logits[-1] == logits[-1].max()).nonzero()[0]))
        return tokens, torch.stack(logits), torch.stack(residuals)


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
        "cosines": f32(cosines(residuals[:, steering.layer], instrument.write_direction(steering))) if steering else [],
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


def rollouts(instrument: Instrument, name: str, prompt) -> list[dict]:
    """The unsteered rollout, and the steered ones in budgets of this prompt."""
    made = [rollout(instrument, name, prompt)]
    _, clean_logits, clean_residuals = instrument.greedy(prompt)
    for neuron in neurons(instrument.model.config):
        silent = Steering(*neuron, 0.0)
        assert torch.equal(clean_logits, instrument.greedy(prompt, silent)[1]), f"dose 0 changes {name}, {neuron}"
        # B = mean ‖r_L‖ / ‖v‖ over the unsteered rollout's steps: the last prompt token, and each generated token but the last.
        norm = clean_residuals[:, neuron[0]].double().norm(dim=-1).mean()
        budget = float(norm / instrument.write_direction(silent).double().norm())
        applies = ["generation"] if len(prompt) == 1 else ["generation", "all"]
        cases = [(g, apply, None) for apply in applies for g in BUDGETS]
        cases += [(1.0, "generation", window) for window in WINDOWS]
        for g, apply, window in cases:
            steering = Steering(*neuron, f32(g * budget), apply, window)
            made.append(rollout(instrument, name, prompt, g, steering))
    return made


def neurons(config) -> list[tuple[int, int]]:
    """(layer, index) of the steered neurons: both ends of the layers and of the channels, and between."""
    last_layer, last_index = config.num_hidden_layers - 1, config.intermediate_size - 1
    return [(0, 0), (0, last_index // 3), (last_layer // 2, last_index // 2), (last_layer, last_index // 5), (last_layer, last_index)]


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
    tokens = [instrument.model.config.bos_token_id or 0]
    while len(tokens) < max(PROMPT_LENGTHS.values()):
        logits = instrument.forward(tokens)[-1].double()
        logits[instrument.eos] = -torch.inf
        share = logits.softmax(-1).cumsum(-1)
        tokens.append(min(int((share < rng.random()).sum()), len(share) - 1))
    return {name: tokens[:length] for name, length in PROMPT_LENGTHS.items()}


def reference(folder: Path) -> dict:
    """Everything that is frozen about one model."""
    instrument = Instrument(folder)
    config = instrument.model.config
    indices = [round(i * (config.intermediate_size - 1) / 7) for i in range(8)]
    prompts = sample_prompts(instrument)
    shape = {"layers": "num_hidden_layers", "d_model": "hidden_size", "d_ff": "intermediate_size", "vocab": "vocab_size"}
    return {
        "activation_indices": indices,
        "eos": instrument.eos,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in model_files(folder)},
        "made_with": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "model": folder.name,
        "prompts": [observation(instrument, name, prompt, indices) for name, prompt in prompts.items()],
        "rollouts": [made for name, prompt in prompts.items() for made in rollouts(instrument, name, prompt)],
        "shape": {key: getattr(config, name) for key, name in shape.items()},
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
    parser.add_argument("folders", nargs="*", type=Path, metavar="MODEL_FOLDER", help="further models in Hugging Face Llama form")
    parser.add_argument("--check", action="store_true", help="make everything again and compare")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.utils.logging.disable_progress_bar()

    problems = []
    for name in tiny.MODELS:
        if args.check:
            problems += tiny.check(name, HERE / "models")
        else:
            tiny.make(name, HERE / "models")
    for folder in [HERE / "models" / name for name in tiny.MODELS] + [folder.resolve() for folder in args.folders]:
        if args.check:
            problems += check(folder)
        else:
            (HERE / f"{folder.name}.json").write_text(to_text(reference(folder)))
        print("checked" if args.check else "wrote", f"{folder.name}.json", flush=True)
    print("\n".join(problems) or "no problems")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
