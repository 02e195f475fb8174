"""How a reference is written down, and when two of them are the same."""

import json

import numpy as np
import torch

SAME = 1e-4  # largest difference (absolute, or relative above 1) between two correct f32 computations


def f32(value):
    """Single-precision numbers as the shortest decimals that read back as the same single-precision numbers."""
    if isinstance(value, torch.Tensor) and value.dim():
        return [f32(row) for row in value]
    single = np.float32(float(value))
    shortest = float(str(single))
    assert np.isfinite(single) and np.float32(shortest) == single, f"{value} is not finite or does not round-trip"
    return shortest


def close(a, b) -> bool:
    return bool(torch.allclose(torch.as_tensor(a), torch.as_tensor(b), rtol=SAME, atol=SAME))


def to_text(value: dict) -> str:
    """Canonical JSON: keys sorted, and one prompt or rollout a line."""
    entries = (f"{_compact(key)}:{_rows(value[key])}" for key in sorted(value))
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _rows(value) -> str:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return "[\n" + ",\n".join(map(_compact, value)) + "\n]"
    return _compact(value)


def _compact(value) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def differences(old, new, place: str):
    """Places at which two references differ: exactly, except that fractional numbers may differ by rounding."""
    if isinstance(old, dict) and isinstance(new, dict) and old.keys() == new.keys():
        for key in old:
            yield from differences(old[key], new[key], f"{place}.{key}") if key != "made_with" else []
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new)):
            yield from differences(a, b, f"{place}[{i}]")
    elif old != new and not (isinstance(old, float) and isinstance(new, float) and close(old, new)):
        yield f"{place}: {str(old)[:60]} is now {str(new)[:60]}"
