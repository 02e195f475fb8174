"""The same sweep, made by reachspec and by Hugging Face transformers in two forms: tokens per second, and whether the tokens agree.

    python benches/peers/peers.py CELLS.json … [--threads 1 2] [--repeats 3] [--json FILE]

`loop` steers one cell at a time, as it is written by hand; `batched` is the strongest simple form. The README beside this file
says what a cells file holds, what each form computes, and what is fair about it. Exit code 1: tokens differ, and not by rounding.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers
from transformers import AutoModelForCausalLM, DynamicCache, StaticCache
from transformers.cache_utils import Cache

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_CELLS = REPOSITORY / "target/release/examples/run_cells"
FORMS = ("reachspec", "tokens only", "batched", "loop")
OURS = FORMS[:2]
ATTENTIONS = ("sdpa", "eager")
CACHES = ("dynamic", "static")
BATCHES = (32, 64, 128, 256, 512)
SEARCH_ROWS, SEARCH_TURNS, SEARCH_SECONDS = 256, 4, 60.0  # rows to try a small batch on, how often, and when it is enough
NEAR_TIE = 1e-3  # of the logits' spread (largest minus smallest): below it, another token may be rounding


# --- What is to be computed -------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One rollout; a clean one has neither layer, neuron nor dose."""

    prompt: int
    layer: int | None
    neuron: int | None
    dose: float | None  # in activation units
    apply: str  # "generation": from the last prompt token on; "all": at every position
    horizon: int

    @property
    def prompt_is_steered(self) -> bool:
        return self.layer is not None and self.apply == "all"


@dataclass(frozen=True)
class Sweep:
    """A cells file."""

    name: str
    file: Path
    model: str
    prompts: list[list[int]]
    cells: list[Cell]
    ends: frozenset[int]  # tokens after which a rollout stops

    @staticmethod
    def read(file: Path) -> "Sweep":
        read = json.loads(file.read_text())
        assert read["format"] == 1, f"{file}: unknown format {read['format']}"
        ends = frozenset(read["end_of_text"] if read["stop_at_end"] else ())
        cells = [Cell(**cell) for cell in read["cells"]]
        assert cells and all(read["prompts"]), f"{file}: no cells, or an empty prompt"
        assert all(cell.apply in ("generation", "all") for cell in cells), f"{file}: unknown `apply`"
        return Sweep(file.stem, file, read["model"], read["prompts"], cells, ends)

    def some_cells(self, count: int) -> list[int]:
        """Numbers of a seeded sample of the cells; of all when `count` is 0."""
        every = range(len(self.cells))
        return sorted(random.Random(0).sample(every, count)) if 0 < count < len(every) else list(every)

    def some_prompts(self, count: int) -> list[int]:
        """Numbers of at least `count` cells: all those of as many prompts, in seeded order, as that takes."""
        of_prompt = defaultdict(list)
        for number, cell in enumerate(self.cells):
            of_prompt[cell.prompt].append(number)
        order, chosen = sorted(of_prompt), []
        random.Random(0).shuffle(order)
        while order and (count == 0 or len(chosen) < count):
            chosen += of_prompt[order.pop()]
        return sorted(chosen)


Rollouts = dict[int, list[int]]  # the tokens of each cell, by its number


def cut(tokens: list[int], ends: frozenset[int]) -> list[int]:
    """Up to the first token that ends the text, which is kept."""
    return next((tokens[: i + 1] for i, token in enumerate(tokens) if token in ends), tokens)


# --- Form 1: one cell at a time ---------------------------------------------------------------------------------------------


@torch.inference_mode()
def loop(model, sweep: Sweep, numbers: list[int]) -> Rollouts:
    return {number: roll_out(model, sweep, sweep.cells[number]) for number in numbers}


def roll_out(model, sweep: Sweep, cell: Cell) -> list[int]:
    cache, tokens = DynamicCache(config=model.config), []
    ids = torch.tensor([sweep.prompts[cell.prompt]])
    first = 0 if cell.apply == "all" else -1  # a call sees either the prompt or one generated token
    with one_neuron(model, cell, first):
        while len(tokens) < cell.horizon and not (tokens and tokens[-1] in sweep.ends):
            logits = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[0, -1]
            tokens.append(int(logits.argmax()))  # argmax takes the first among equals
            ids = torch.tensor([[tokens[-1]]])
    return tokens


@contextmanager
def one_neuron(model, cell: Cell, first: int):
    """Adds the cell's dose at position `first` of every call and behind it."""
    if cell.layer is None:
        yield
        return

    def add(_, inputs):
        inputs[0][:, first:, cell.neuron] += cell.dose  # in place: nobody else holds the activations

    handle = model.model.layers[cell.layer].mlp.down_proj.register_forward_pre_hook(add)
    try:
        yield
    finally:
        handle.remove()


# --- Form 2: rows of a batch, each with its own layer, neuron and dose --------------------------------------------------------


@dataclass(frozen=True)
class Setting:
    """What is free to choose in the batched form."""

    attention: str
    cache: str
    batch: int


@torch.inference_mode()
def batched(model, sweep: Sweep, numbers: list[int], setting: Setting) -> Rollouts:
    model.set_attn_implementation(setting.attention)
    made = {}
    for group in groups(sweep, numbers):
        cells = [sweep.cells[number] for number in group]
        prefix = None if cells[0].prompt_is_steered else Prefix(model, sweep, cells)
        for part in parts(len(group), setting.batch):
            rows = roll_out_rows(model, sweep, cells[part], prefix, setting.cache)
            made.update(zip(group[part], (cut(row, sweep.ends) for row in rows)))
    return made


def groups(sweep: Sweep, numbers: list[int]) -> list[list[int]]:
    """Cells that can share a batch without padding, ordered by layer, so that a batch needs few hooks."""
    alike = defaultdict(list)
    for number in numbers:
        cell = sweep.cells[number]
        alike[len(sweep.prompts[cell.prompt]), cell.prompt_is_steered, cell.horizon].append(number)
    by_layer = lambda number: -1 if sweep.cells[number].layer is None else sweep.cells[number].layer
    return [sorted(group, key=by_layer) for group in alike.values()]


def parts(rows: int, batch: int) -> list[slice]:
    """Batches of as equal a size as can be, none above `batch`."""
    count = -(-rows // batch)
    edges = [rows * i // count for i in range(count + 1)]
    return [slice(*edge) for edge in zip(edges, edges[1:])]


class Prefix:
    """Keys and values of unsteered prompts of one length without their last token, computed once for each prompt."""

    def __init__(self, model, sweep: Sweep, cells: list[Cell]):
        prompts = sorted({cell.prompt for cell in cells})
        self.place = {prompt: i for i, prompt in enumerate(prompts)}
        ids = torch.tensor([sweep.prompts[prompt][:-1] for prompt in prompts])
        self.layers = []  # nothing stands before the last token of a prompt of one token
        if ids.shape[1] > 0:
            cache = DynamicCache(config=model.config)
            model.model(ids, past_key_values=cache, use_cache=True)  # without the language-model head
            self.layers = [(layer.keys, layer.values) for layer in cache.layers]

    def copy_to(self, cache: Cache, cells: list[Cell]):
        rows = torch.tensor([self.place[cell.prompt] for cell in cells])
        for number, (keys, values) in enumerate(self.layers):
            cache.update(keys[rows], values[rows], number)


def roll_out_rows(model, sweep: Sweep, cells: list[Cell], prefix: Prefix | None, kind: str) -> list[list[int]]:
    ids = torch.tensor([sweep.prompts[cell.prompt] for cell in cells])
    horizon = cells[0].horizon
    cache = new_cache(model, kind, ids.shape[1] + horizon - 1)
    if prefix is not None:
        prefix.copy_to(cache, cells)
        ids = ids[:, -1:]
    tokens = torch.empty(len(cells), horizon, dtype=torch.long)
    ended = torch.zeros(len(cells), dtype=torch.bool)
    ends = torch.tensor(sorted(sweep.ends))
    with neuron_of_each_row(model, cells):
        for step in range(horizon):
            logits = model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
            ids = logits.argmax(-1, keepdim=True)
            tokens[:, step : step + 1] = ids
            if sweep.ends:
                ended |= torch.isin(ids[:, 0], ends)
                if ended.all():
                    return tokens[:, : step + 1].tolist()
    return tokens.tolist()


@contextmanager
def neuron_of_each_row(model, cells: list[Cell]):
    """One hook in each steered layer. A call steers every position that it sees: unsteered ones are in the prefix."""
    of_layer = defaultdict(list)
    for row, cell in enumerate(cells):
        if cell.layer is not None:
            of_layer[cell.layer].append(row)
    handles = [
        model.model.layers[layer].mlp.down_proj.register_forward_pre_hook(adder([(row, cells[row]) for row in rows]))
        for layer, rows in of_layer.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def adder(steered: list[tuple[int, Cell]]):
    rows = torch.tensor([row for row, _ in steered])[:, None]
    neurons = torch.tensor([cell.neuron for _, cell in steered])[:, None]
    doses = torch.tensor([cell.dose for _, cell in steered], dtype=torch.float32)[:, None]
    spots = {}  # where the doses go in the flat activations, by the number of positions

    def add(_, inputs):
        activations = inputs[0]  # [rows, positions, neurons]
        _, positions, width = activations.shape
        if positions not in spots:
            where = ((rows * positions + torch.arange(positions)) * width + neurons).flatten()
            spots[positions] = where, doses.expand(-1, positions).flatten()
        activations.view(-1).index_add_(0, *spots[positions])

    return add


def new_cache(model, kind: str, capacity: int) -> Cache:
    return DynamicCache(config=model.config) if kind == "dynamic" else StaticCache(config=model.config, max_cache_len=capacity)


# --- reachspec --------------------------------------------------------------------------------------------------------------


def reachspec(program: Path, sweep: Sweep, threads: int, more: list[str]) -> tuple[float, Rollouts]:
    """Seconds of the rollouts without loading, as the program says, and all rollouts."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out.json"
        command = [program.resolve(), "--cells", sweep.file, "--threads", str(threads), "--out", out, *more]
        subprocess.run(command, check=True, stdout=sys.stderr)
        said = json.loads(out.read_text())
    assert len(said["tokens"]) == len(sweep.cells), "reachspec did not answer every cell"
    return said["seconds"], dict(enumerate(said["tokens"]))


# --- Measuring --------------------------------------------------------------------------------------------------------------


def timed(work) -> tuple[float, Rollouts]:
    start = time.perf_counter()
    made = work()
    return time.perf_counter() - start, made


def speed(seconds: float, made: Rollouts) -> float:
    return sum(map(len, made.values())) / seconds


def best_setting(model, sweep: Sweep, numbers: list[int], args) -> tuple[Setting, list[dict]]:
    """Attention and cache at a middle batch size, then the batch size, each at its best of a few tries on the largest group."""
    short = replace(sweep, cells=[replace(c, horizon=min(c.horizon, args.search_horizon)) for c in sweep.cells])
    group = max(groups(short, numbers), key=len)
    random.Random(0).shuffle(group)
    rates = defaultdict(float)

    def fastest(candidates: list[Setting]) -> Setting:
        """In turns, so that a disturbance meets all alike; after the first turn, only those still in reach."""
        start = time.perf_counter()
        for turn in range(SEARCH_TURNS):
            reach = 0.7 * max(rates[setting] for setting in candidates) if turn > 0 else 0.0
            for setting in (candidate for candidate in candidates if rates[candidate] >= reach):
                sample = group[: max(setting.batch, SEARCH_ROWS)]
                rates[setting] = max(rates[setting], speed(*timed(lambda: batched(model, short, sample, setting))))
            if time.perf_counter() - start > SEARCH_SECONDS:
                break
        return max(candidates, key=rates.get)

    middle = args.batch[len(args.batch) // 2]
    best = fastest([Setting(attention, cache, middle) for attention in args.attention for cache in args.cache])
    best = fastest([replace(best, batch=batch) for batch in args.batch if batch <= len(group)] or [best])
    search = sorted((asdict(setting) | {"tokens_per_second": rate} for setting, rate in rates.items()), key=str)
    for tried in search:
        note(f"  {tried['attention']}, {tried['cache']} cache, batch {tried['batch']}: {tried['tokens_per_second']:.0f} tokens/s")
    note(f"  chosen: {best.attention}, {best.cache} cache, batch {best.batch}")
    return best, search


def measure(model, sweep: Sweep, threads: int, args) -> dict:
    """All forms of one case at one number of threads."""
    torch.set_num_threads(threads)
    numbers = {
        "reachspec": sweep.some_cells(0),
        "tokens only": sweep.some_cells(0),
        "batched": sweep.some_prompts(args.batched_cells),
        "loop": sweep.some_cells(args.loop_cells),
    }
    setting, search = None, []
    if "batched" in args.forms:
        note(f"{sweep.name}, threads {threads}: looking for the best setting")
        setting, search = best_setting(model, sweep, numbers["batched"], args)

    def run(form: str) -> tuple[float, Rollouts]:
        match form:
            case "reachspec":
                return reachspec(args.reachspec, sweep, threads, [])
            case "tokens only":
                return reachspec(args.reachspec, sweep, threads, ["--tokens-only"])
            case "batched":
                return timed(lambda: batched(model, sweep, numbers[form], setting))
            case "loop":
                model.set_attn_implementation("sdpa")  # the default of transformers
                return timed(lambda: loop(model, sweep, numbers[form]))

    rounds, rollouts = defaultdict(list), {}
    for number in range(args.repeats):
        for form in args.forms:
            seconds, made = run(form)
            unsteady = rollouts.setdefault(form, made) != made
            rounds[form].append({"seconds": seconds, "tokens_per_second": speed(seconds, made), "unsteady": unsteady})
            note(f"  round {number + 1}, {form}: {seconds:.2f} s, {speed(seconds, made):.0f} tokens/s")
    medians = {form: statistics.median(r["tokens_per_second"] for r in rounds[form]) for form in args.forms}
    reference = args.forms[0]
    return {
        "case": sweep.name,
        "threads": threads,
        "setting": setting and asdict(setting),
        "search": search,
        "forms": {
            form: {
                "cells": len(numbers[form]),
                "tokens": sum(map(len, rollouts[form].values())),
                "tokens_per_second": medians[form],
                "rounds": rounds[form],
                "faster_by": {ours: medians[ours] / medians[form] for ours in OURS if ours in medians and form not in OURS},
                "differences": differences(model, sweep, rollouts[reference], rollouts[form]),
            }
            for form in args.forms
        },
        "compared_with": reference,
    }


# --- Do they compute the same? ------------------------------------------------------------------------------------------------


def differences(model, sweep: Sweep, left: Rollouts, right: Rollouts) -> list[dict]:
    """Rows whose tokens differ, with how far the two choices stand apart in torch at the first difference."""
    model.set_attn_implementation("eager")
    differing = [number for number in sorted(left.keys() & right.keys()) if left[number] != right[number]]
    return [difference(model, sweep, number, left[number], right[number]) for number in differing]


@torch.inference_mode()
def difference(model, sweep: Sweep, number: int, left: list[int], right: list[int]) -> dict:
    cell = sweep.cells[number]
    at = next((i for i, pair in enumerate(zip(left, right)) if pair[0] != pair[1]), min(len(left), len(right)))
    found = {"number": number, "cell": asdict(cell), "position": at, "near_tie": False}
    if at == min(len(left), len(right)):
        return found | {"tokens": None, "top_two": None, "apart": None}  # one of them ended sooner
    logits = logits_after(model, sweep, cell, left[:at])
    spread = float(logits.max() - logits.min())
    first, second = logits.topk(2).values.tolist()
    apart = float(logits.max() - logits[[left[at], right[at]]].min()) / spread  # the worse choice, below the best token
    tokens = [left[at], right[at]]
    return found | {"tokens": tokens, "top_two": (first - second) / spread, "apart": apart, "near_tie": apart <= NEAR_TIE}


def logits_after(model, sweep: Sweep, cell: Cell, tokens: list[int]) -> torch.Tensor:
    """Next-token logits after the prompt and these tokens, steered as in the rollout, from one pass without a cache."""
    prompt = sweep.prompts[cell.prompt]
    first = 0 if cell.apply == "all" else len(prompt) - 1
    with one_neuron(model, cell, first):
        return model(torch.tensor([prompt + tokens]), use_cache=False, logits_to_keep=1).logits[0, -1]


# --- Telling ----------------------------------------------------------------------------------------------------------------


def note(text: str):
    print(text, file=sys.stderr, flush=True)


def machine() -> dict:
    names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),  # should be near 0
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def table(results: list[dict]) -> str:
    lines = [
        "| case | threads | form | batch | cells | tokens/s | reachspec is | tokens only | rows that differ |",
        "|---|---:|---|---:|---:|---:|---:|---:|---|",
    ]
    for result in results:
        for form, row in result["forms"].items():
            batch = result["setting"]["batch"] if form == "batched" else 1 if form == "loop" else "—"
            ratios = [f"{row['faster_by'][ours]:.2f} ×" if ours in row["faster_by"] else "—" for ours in OURS]
            lines.append(
                f"| {result['case']} | {result['threads']} | {form} | {batch} | {row['cells']} | {row['tokens_per_second']:.0f} "
                f"| {ratios[0]} | {ratios[1]} | {'—' if form == result['compared_with'] else in_words(row)} |"
            )
    return "\n".join(lines)


def in_words(row: dict) -> str:
    ties = sum(found["near_tie"] for found in row["differences"])
    faults = len(row["differences"]) - ties
    parts = [f"{ties} near ties"] * (ties > 0) + [f"**{faults} real**"] * (faults > 0)
    return f"{', '.join(parts) or 'none'} of {row['cells']}"


def details(results: list[dict]) -> str:
    lines = []
    for result in results:
        for form, row in result["forms"].items():
            if any(measured["unsteady"] for measured in row["rounds"]):
                lines.append(f"{result['case']}, threads {result['threads']}: {form} gave other tokens in another round")
            for found in sorted(row["differences"], key=lambda found: found["near_tie"])[:3]:
                gaps = "one of them ended there"
                if found["tokens"]:
                    gaps = (
                        f"{result['compared_with']} took {found['tokens'][0]}, {form} took {found['tokens'][1]}; of the logits' spread, "
                        f"the top two stand {found['top_two']:.1e} apart, the worse choice {found['apart']:.1e} below the best"
                    )
                kind = "near tie" if found["near_tie"] else "REAL DIFFERENCE"
                lines.append(
                    f"{result['case']}, threads {result['threads']}, {form}, cell {found['number']} {found['cell']}: "
                    f"{kind} at generated token {found['position']}: {gaps}"
                )
    return "\n".join(lines)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", nargs="+", type=Path, help="cells files, each a case")
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="numbers of threads to measure with")
    parser.add_argument("--repeats", type=int, default=3, help="rounds; in each, every form runs once")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS), help="what to run; all are compared with the first")
    parser.add_argument("--loop-cells", type=int, default=64, help="cells of the loop form, a seeded sample; 0: all")
    parser.add_argument("--batched-cells", type=int, default=0, help="cells of the batched form, as whole prompts; 0: all")
    parser.add_argument("--attention", nargs="+", choices=ATTENTIONS, default=list(ATTENTIONS), help="batched form: attention to try")
    parser.add_argument("--cache", nargs="+", choices=CACHES, default=list(CACHES), help="batched form: KV caches to try")
    parser.add_argument("--batch", nargs="+", type=int, default=list(BATCHES), help="batched form: batch sizes to try")
    parser.add_argument("--search-horizon", type=int, default=32, help="tokens of a rollout at most, while settings are tried")
    parser.add_argument("--reachspec", type=Path, default=RUN_CELLS, help="the program that runs a cells file")
    parser.add_argument("--json", type=Path, help="write the raw numbers to this file")
    args = parser.parse_args()
    if set(OURS) & set(args.forms) and not args.reachspec.exists():
        parser.error(f"{args.reachspec} is not there: cargo build --release --example run_cells")
    return args


def main() -> int:
    args = arguments()
    transformers.utils.logging.disable_progress_bar()
    facts, results = machine(), []
    for file in args.cells:
        sweep = Sweep.read(file)
        model = AutoModelForCausalLM.from_pretrained(sweep.model, dtype=torch.float32).eval()
        results += [measure(model, sweep, threads, args) for threads in args.threads]
        if args.json:
            args.json.write_text(json.dumps({"machine": facts, "results": results}, indent=1) + "\n")
    print(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in facts.items()), end="\n\n")
    print(table(results), details(results), sep="\n\n")
    rows = [found for result in results for row in result["forms"].values() for found in row["differences"]]
    return 0 if all(found["near_tie"] for found in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
