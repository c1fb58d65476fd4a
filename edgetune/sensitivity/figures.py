"""Figures made from stored gradients, with how far they can be trusted.

The sensitivity of a layer is its relative gradient norm, ‖G‖ / ‖W‖, squared: the measure by which Auto-RGN chooses
what to tune (Lee and others, 2023, "Surgical fine-tuning improves adaptation to distribution shifts", arXiv
2210.11466). ‖G‖² is estimated without the noise of single rows; see :mod:`edgetune.sensitivity.gradients`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from edgetune.bench.statistics import student
from edgetune.sensitivity.record import RANKS, LayerGradients

#: What :func:`shares` are shares of.
DEFINITION = (
    "share of the squared relative gradient norms, (‖G‖/‖W‖)², of the layers in blocks; G is the gradient of "
    "the loss at the base's weights W (Auto-RGN: Lee and others, 2023, arXiv 2210.11466), its norm freed of noise by "
    "multiplying gradients of different rows"
)
KEPT_DEFINITION = (
    "of the loss that a step along the gradient takes away to first order, the share left when the step has that rank; "
    "directions from one half of the rows, judged on the other"
)


@dataclass(frozen=True)
class Figure:
    """A value with what it could be as well."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Share:
    """What a part of the model has of the whole.

    Attributes:
        name: of the part.
        layers: that are in it.
        figure: its share, with a 95 % jackknife interval over groups of rows.
        weights: its share of the weights of an adapter of any rank.
    """

    name: str
    layers: tuple[LayerGradients, ...]
    figure: Figure
    weights: float


def shares(layers: Sequence[LayerGradients], part: Callable[[LayerGradients], str]) -> list[Share]:
    """The parts' shares, in the order in which they come."""
    parts: dict[str, list[LayerGradients]] = {}
    for layer in layers:
        parts.setdefault(part(layer), []).append(layer)
    adapter = adapter_size(layers)
    return [
        Share(name, tuple(some), _jackknife(_share_of(some, layers), layers), adapter_size(some) / adapter)
        for name, some in parts.items()
    ]


def in_blocks(layers: Sequence[LayerGradients]) -> list[LayerGradients]:
    """Those that shares are of, and that can be left out of an adapter.

    What lies outside of the blocks, such as a pooler, is next to the head, small, and pulled hardest of all: beside it
    nothing else would be seen. It costs an adapter next to nothing, and stays in it.
    """
    return [layer for layer in layers if layer.block is not None] or list(layers)


def by_kind(layer: LayerGradients) -> str:
    """The part that a layer is of, by what it does."""
    return layer.kind


def by_block(layer: LayerGradients) -> str:
    """The part that a layer is of, by where it lies."""
    return "outside" if layer.block is None else str(layer.block)


def total(layers: Sequence[LayerGradients]) -> Figure:
    """The sum of squared relative gradient norms. Where its interval holds 0, the rows do not agree on a gradient."""
    return _jackknife(lambda left_out: _sum(layers, left_out), layers)


def adapter_size(layers: Collection[LayerGradients]) -> int:
    """Weights in an adapter of rank 1."""
    return sum(layer.inputs + layer.outputs for layer in layers)


def kept(layers: Sequence[LayerGradients], rank: int) -> Figure:
    """What a step of a rank keeps of the first-order decrease of the loss; from either half of the rows to the other.

    Args:
        layers: each weighs by 1/‖W‖², as in their sensitivity.
        rank: one of :data:`edgetune.sensitivity.record.RANKS`.
    """
    place = RANKS.index(rank)
    whole = sum(_across(layer) / layer.weight_norm**2 for layer in layers)
    ways = [sum(layer.kept[way][place] / layer.weight_norm**2 for layer in layers) / whole for way in (0, 1)]
    return Figure(sum(ways) / 2, min(ways), max(ways))


def _across(layer: LayerGradients) -> float:
    """⟨G, G'⟩ of the two halves."""
    half = len(layer.products) // 2
    cells = [cell for row in layer.products[:half] for cell in row[half:]]
    return sum(cells) / len(cells)


def squared(layer: LayerGradients, left_out: int | None = None) -> float:
    """‖G‖² / ‖W‖² without bias, from each two groups of rows but the one left out. It can come out below 0."""
    groups = [k for k in range(len(layer.products)) if k != left_out]
    cells = [layer.products[i][j] for i in groups for j in groups if i != j]
    return sum(cells) / len(cells) / layer.weight_norm**2


def _sum(layers: Sequence[LayerGradients], left_out: int | None) -> float:
    return sum(squared(layer, left_out) for layer in layers)


def _share_of(some: Sequence[LayerGradients], layers: Sequence[LayerGradients]) -> Callable[[int | None], float]:
    def share(left_out: int | None) -> float:
        whole = _sum(layers, left_out)
        return _sum(some, left_out) / whole if whole > 0 else math.nan

    return share


def _jackknife(estimate: Callable[[int | None], float], layers: Sequence[LayerGradients]) -> Figure:
    """An estimate with its 95 % interval, leaving out each group of rows in turn (Tukey, 1958)."""
    count = len(layers[0].products)
    without = [estimate(k) for k in range(count)]
    centre = sum(without) / count
    error = math.sqrt((count - 1) / count * sum((one - centre) ** 2 for one in without))
    value, reach = estimate(None), student(0.975, count - 1) * error
    return Figure(value, value - reach, value + reach)
