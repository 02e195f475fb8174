"""A transformers model whose block outputs and neuron activations are read, and of which one neuron can be steered."""

from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, DynamicCache
from transformers.pytorch_utils import Conv1D

HORIZON = 24  # generated tokens per rollout, at most

# Where each family keeps its blocks, and in a block the projection whose input channels are the neurons.
BLOCKS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}
SITES = {"gpt2": "mlp.c_proj", "gpt_neox": "mlp.dense_4h_to_h"}


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
    """One model, f32 and with eager attention, and what its last forward pass showed."""

    def __init__(self, folder: Path):
        self.model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", local_files_only=True
        ).eval()
        self.config = self.model.config
        eos = self.config.eos_token_id
        self.eos = eos if isinstance(eos, list) else [] if eos is None else [eos]
        family = self.config.model_type
        blocks = self.model.get_submodule(BLOCKS.get(family, "model.layers"))
        # What stands between a down projection and the residual stream: a norm, or nothing.
        self.after = [getattr(block, "post_feedforward_layernorm", None) for block in blocks]
        self.downs = [block.get_submodule(SITES.get(family, "mlp.down_proj")) for block in blocks]
        self.d_ff = self._columns(0).shape[1]
        self.residuals = [None] * len(blocks)  # block outputs (before the final norm), [positions, d_model] per layer
        self.activations = [None] * len(blocks)  # down projection inputs as steered, [positions, d_ff] per layer
        self.steered = None  # (Steering, bool [positions]) of the forward pass under way
        for number, (block, down) in enumerate(zip(blocks, self.downs)):
            block.register_forward_hook(lambda _, __, output, n=number: self._after_block(n, output))
            down.register_forward_pre_hook(lambda _, inputs, n=number: self._before_down(n, inputs[0]))

    def _after_block(self, layer, output):
        self.residuals[layer] = (output[0] if isinstance(output, tuple) else output)[0]

    def _before_down(self, layer, activations):
        if self.steered and self.steered[0].layer == layer:
            steering, mask = self.steered
            activations = activations.clone()
            activations[:, mask, steering.index] += steering.dose
        self.activations[layer] = activations[0]
        return (activations,)

    def _columns(self, layer: int) -> torch.Tensor:
        """Weight of the down projection, `[d_model, d_ff]`; GPT-2 stores its transpose."""
        down = self.downs[layer]
        weight = down.weight.detach()
        return weight.T if isinstance(down, Conv1D) else weight

    def write_direction(self, steering: Steering) -> torch.Tensor:
        """Column of the down projection, `[d_model]`."""
        return self._columns(steering.layer)[:, steering.index]

    @torch.no_grad()
    def effective_write(self, steering: Steering) -> torch.Tensor:
        """Where a dose moves the residual stream, `[d_model]`: the column, times the gain of the RMSNorm after it if there is one."""
        norm, direction = self.after[steering.layer], self.write_direction(steering)
        if norm is None:
            return direction
        gain = norm.weight if self.config.model_type == "olmo2" else 1 + norm.weight  # Gemma stores its gain less 1
        return gain * direction

    @torch.no_grad()
    def forward(self, tokens, first=0, prompt_length=1, steering=None, cache=None) -> torch.Tensor:
        """Logits `[len(tokens), vocab]` of the tokens at positions `first …`; what stands before them is in `cache`."""
        mask = steering and steering.positions(first, len(tokens), prompt_length)
        self.steered = steering and (steering, mask)
        positions = torch.arange(first, first + len(tokens))[None]
        out = self.model(torch.tensor([tokens]), position_ids=positions, past_key_values=cache, use_cache=cache is not None)
        return out.logits[0]

    def greedy(self, prompt, steering=None, cached=True):
        """Greedy rollout, lowest id among equals: tokens, logits `[steps, vocab]`, block outputs `[steps, layers, d_model]`.

        One step per generated token: step 0 is the forward pass whose last position is the last prompt token.
        """
        cache = DynamicCache(config=self.config) if cached else None  # forgets what has left the window of a sliding layer
        tokens, logits, residuals = [], [], []
        while len(tokens) < HORIZON and not (tokens and tokens[-1] in self.eos):
            sequence = prompt + tokens
            first = len(sequence) - 1 if cached and tokens else 0
            logits.append(self.forward(sequence[first:], first, len(prompt), steering, cache)[-1])
            residuals.append(torch.stack([r[-1] for r in self.residuals]))
            tokens.append(int((logits[-1] == logits[-1].max()).nonzero()[0]))
        return tokens, torch.stack(logits), torch.stack(residuals)

    @torch.no_grad()
    def padded(self, prompts: list[list[int]]) -> list[list[int]]:
        """Unsteered greedy rollouts of all prompts as one left-padded batch of `generate`."""
        self.steered = None
        width = max(map(len, prompts))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        made = self.model.generate(
            ids, attention_mask=mask, do_sample=False, max_new_tokens=HORIZON, eos_token_id=self.eos or None, pad_token_id=0
        )[:, width:].tolist()
        ends = [next((i + 1 for i, token in enumerate(row) if token in self.eos), len(row)) for row in made]
        return [row[:end] for row, end in zip(made, ends)]
