"""A mixture of types that fits a size: bits go where rounding costs most, by what was measured of this model.

What a type costs a tensor is c/2·Σ_ij E[x_j²]·ΔW_ij², the divergence to second order
(:mod:`edgetune.importance.curving`), with ΔW what ggml's own quantiser makes of some of its rows. The sum over all
tensors is least, for the bytes, where every tensor minds one price of a byte, and that price is searched for
(Lagrange; Shoham and Gersho, 1988).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import ExportError
from edgetune_gguf.imatrix import Imatrix
from edgetune_gguf.mixture import BLOCK, MIXED, Choice
from edgetune_gguf.quantiser import rounded_values
from edgetune_gguf.tensors import FileTensor
from edgetune_gguf.writing import data_bytes

#: Types to choose from, where rows are whole blocks of them. Without IQ types: they gave nothing more
#: (docs/decisions/0019-types-by-sensitivity.md), and run slower.
TYPES = ("Q3_K", "Q4_0", "Q4_1", "Q4_K", "Q5_0", "Q5_1", "Q5_K", "Q6_K", "Q8_0", "F16")
#: Rows of each tensor that are rounded to see what that costs, in pieces spread over it.
SAMPLED, PIECES = 64, 4
#: Prices of a byte that are tried: each halves, on a logarithmic scale, what is left between too small and too large.
_ROUNDS = 60

_EMBEDDING, _HEAD = "token_embd.weight", "output.weight"

#: Type → (divergence in nats a position, bytes).
Costs = Mapping[str, tuple[float, int]]


def wanted_bytes(precision: str) -> int | None:
    """The size that a precision's name asks for; None: it is no mixture by size.

    >>> wanted_bytes("mixed_92mb"), wanted_bytes("q4_0")
    (92000000, None)
    """
    found = MIXED.fullmatch(precision)
    return int(float(found[1]) * 1e6) if found else None


def choose_mixed(
    tensors: Sequence[FileTensor], fixed: Mapping[str, Choice], imatrix: Imatrix, budget: int
) -> dict[str, Choice]:
    """Type of every tensor, so that all together fit.

    Args:
        tensors: of the file.
        fixed: what each gets in a precision of whole types: those in F32 keep it.
        imatrix: with the curvature of every other tensor.
        budget: bytes for all tensors.

    Raises:
        ExportError: even the smallest types are too large, or the imatrix has no curvature.
    """
    curvature = dict(imatrix.curvature)
    if all(tensor.name != _HEAD for tensor in tensors) and _EMBEDDING in curvature:  # one matrix is both
        curvature[_EMBEDDING] += curvature.get(_HEAD, 0.0)
    free = [tensor for tensor in tensors if fixed[tensor.name].type != "F32"]
    if missing := [tensor.name for tensor in free if tensor.name not in curvature]:
        raise ExportError(
            f"the imatrix {imatrix.name} does not say how much {missing[0]} matters: it was collected elsewhere",
            hint="collect one of a run: --imatrix auto; or choose a precision such as q4_k_m",
        )
    whole = [tensor for tensor in tensors if fixed[tensor.name].type == "F32"]
    taken = data_bytes(whole, fixed)
    costs = {tensor.name: _costs(tensor, imatrix.means.get(tensor.name), curvature[tensor.name]) for tensor in free}
    smallest = sum(min(size for _, size in one.values()) for one in costs.values())
    if taken + smallest > budget:
        raise ExportError(
            f"no mixture of types fits: the smallest takes {math.ceil((taken + smallest) / 1e5) / 10:.1f} MB",
            hint="ask for more, or train a smaller base",
        )
    types = _filled(costs, _cheapest(costs, budget - taken), budget - taken)
    return {tensor.name: Choice(types.get(tensor.name, "F32")) for tensor in tensors}


def _cheapest(costs: Mapping[str, Costs], budget: int) -> dict[str, str]:
    """The types at the lowest price of a byte at which all fit."""
    low, high = 1e-30, 1.0
    best = {name: min(one, key=lambda kind: one[kind][1]) for name, one in costs.items()}
    for _ in range(_ROUNDS):
        price = math.sqrt(low * high)
        found = _at(costs, price)
        if sum(costs[name][kind][1] for name, kind in found.items()) <= budget:
            best, high = found, price
        else:
            low = price
    return best


def _filled(costs: Mapping[str, Costs], types: Mapping[str, str], budget: int) -> dict[str, str]:
    """What one price leaves of the bytes goes to the change of one tensor that gains most a byte, until none fits."""
    found = dict(types)
    left = budget - sum(costs[name][kind][1] for name, kind in found.items())
    while True:
        gains = [
            ((one[found[name]][0] - cost) / max(1, size - one[found[name]][1]), name, kind)
            for name, one in costs.items()
            for kind, (cost, size) in one.items()
            if cost < costs[name][found[name]][0] and size - costs[name][found[name]][1] <= left
        ]
        if not gains:
            return found
        _, name, kind = max(gains)
        left -= costs[name][kind][1] - costs[name][found[name]][1]
        found[name] = kind


def _at(costs: Mapping[str, Costs], price: float) -> dict[str, str]:
    return {
        name: min(one, key=lambda kind: (one[kind][0] + price * one[kind][1], one[kind][1]))
        for name, one in costs.items()
    }


def _costs(tensor: FileTensor, weights: NDArray[np.float32] | None, curvature: float) -> Costs:
    """Of every type that the tensor's rows are whole blocks of."""
    rows = _sample(tensor)
    scale = 0.5 * curvature * tensor.shape[0] / len(rows)
    aim = np.ones(rows.shape[1], np.float32) if weights is None else weights
    found = {}
    for kind in TYPES:
        if tensor.shape[-1] % BLOCK[kind] == 0:
            error = (rounded_values(rows, kind, weights if kind != "F16" else None) - rows) ** 2
            cost = scale * float((error.sum(0, dtype=np.float64) * aim).sum())
            found[kind] = (cost, data_bytes([tensor], {tensor.name: Choice(kind)}))
    return found


def _sample(tensor: FileTensor) -> NDArray[np.float32]:
    """Some of its rows."""
    if tensor.rows is None:
        values = tensor.make()
        return values[:: max(1, len(values) // SAMPLED)]
    read, unit, rows = tensor.rows.open(), tensor.rows.unit, tensor.shape[0]
    length = max(1, SAMPLED // PIECES // unit) * unit
    starts = sorted({max(0, min(rows - length, k * rows // PIECES)) // unit * unit for k in range(PIECES)})
    return np.concatenate([read(start, min(rows, start + length)) for start in starts])
