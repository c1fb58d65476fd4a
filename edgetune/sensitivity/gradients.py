"""Gradients of single weights over groups of rows, and what of them is kept.

The gradient of a few rows is mostly noise, so its norm says little. Two groups of rows have the same expected gradient
and independent noise: their product ⟨Gᵢ, Gⱼ⟩ is an unbiased estimate of the squared norm of the expected gradient. In
the same way the directions of one half of the rows are judged by the other half.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgetune.data.encoding import IGNORE
from edgetune.sensitivity.record import RANKS
from edgetune.training.batches import Loss

if TYPE_CHECKING:
    import torch

    Batch = dict[str, torch.Tensor]

#: Groups of rows: enough for a jackknife, few enough to hold a gradient for each.
GROUPS = 4
#: Share of the free memory that gradients may take; where all at once would take more, they are taken in turns.
MEMORY_SHARE = 0.4
#: Rounds of power iteration for the leading singular vectors (Halko, Martinsson and Tropp, 2011).
ITERATIONS = 4


@dataclass(frozen=True)
class Found:
    """What is kept of one layer's gradients; see :class:`edgetune.sensitivity.record.LayerGradients`."""

    products: tuple[tuple[float, ...], ...]
    kept: tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Work:
    """How gradients are computed.

    Attributes:
        model: with all its weights.
        groups: batches of each group of rows, on the model's device.
        loss: summed over what a batch teaches.
        autocast: compute in bfloat16 over weights in float32.
        advance: called after each batch.
    """

    model: torch.nn.Module
    groups: Sequence[Sequence[Batch]]
    loss: Loss
    autocast: bool
    advance: Callable[[], None]


def find(work: Work, weights: Mapping[str, torch.Tensor], turns: Sequence[Sequence[str]]) -> dict[str, Found]:
    """Each layer's figures.

    Args:
        work: what to compute with.
        weights: of each layer, by its name: (outputs, inputs), or of a convolution (outputs, inputs, height, width).
        turns: names of those whose gradients are held at the same time.
    """
    found = {}
    for names in turns:
        gradients = [_of_group(work, {name: weights[name] for name in names}, batches) for batches in work.groups]
        for name in names:
            # Both factors of a convolution's adapter make a matrix of that shape.
            found[name] = reduce([group.pop(name).flatten(1) for group in gradients])
    return found


def in_turns(sizes: Mapping[str, int], free: int) -> list[list[str]]:
    """Share layers out over as few passes as memory allows.

    Args:
        sizes: name → weights in the layer.
        free: bytes.

    >>> in_turns({"a": 10, "b": 10, "c": 10}, 800)
    [['a', 'b'], ['c']]
    """
    turns: list[list[str]] = []
    room = 0.0
    for name, size in sizes.items():
        needed = 4.0 * GROUPS * size
        if not turns or needed > room:
            turns.append([])
            room = MEMORY_SHARE * free
        turns[-1].append(name)
        room -= needed
    return turns


def _of_group(work: Work, weights: Mapping[str, torch.Tensor], batches: Sequence[Batch]) -> Batch:
    """Gradients of the loss per learnt token of one group, in float32."""
    import torch

    work.model.requires_grad_(False)
    sums = {}
    for name, weight in weights.items():
        weight.requires_grad_(True)
        sums[name] = torch.zeros_like(weight, dtype=torch.float32)
    learnt = sum(int((batch["shift_labels"] != IGNORE).sum()) for batch in batches)
    for batch in batches:
        with torch.autocast(weight.device.type, dtype=torch.bfloat16, enabled=work.autocast):
            loss = work.loss(work.model, batch)
        (loss / learnt).backward()  # type: ignore[no-untyped-call]
        for name, weight in weights.items():
            if weight.grad is not None:
                sums[name] += weight.grad
            weight.grad = None
        work.advance()
    return sums


def reduce(gradients: Sequence[torch.Tensor]) -> Found:
    """What is kept of the gradients of each group.

    Args:
        gradients: (outputs, inputs) of each group.
    """
    import torch

    flat = torch.stack([gradient.flatten() for gradient in gradients])
    products = (flat @ flat.T).tolist()
    half = len(gradients) // 2
    one, other = (torch.stack(list(part)).mean(dim=0) for part in (gradients[:half], gradients[half:]))
    return Found(tuple(map(tuple, products)), (_kept(one, other), _kept(other, one)))


def _kept(gradient: torch.Tensor, judge: torch.Tensor) -> tuple[float, ...]:
    """⟨the r strongest directions of a gradient, judge⟩ for each r of :data:`RANKS`."""
    import torch

    count = min(RANKS[-1], *gradient.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        left, strength, right = torch.svd_lowrank(gradient, q=count, niter=ITERATIONS)
    shares = strength * ((left.T @ judge) * right.T).sum(dim=1)
    total = shares.cumsum(dim=0)
    return tuple(float(total[min(rank, count) - 1]) for rank in RANKS)


def averaged(draws: Sequence[Found]) -> Found:
    """The mean over draws of a random head."""
    return Found(
        _mean([draw.products for draw in draws]),
        (_mean([draw.kept[:1] for draw in draws])[0], _mean([draw.kept[1:] for draw in draws])[0]),
    )


def _mean(tables: Sequence[Sequence[Sequence[float]]]) -> tuple[tuple[float, ...], ...]:
    return tuple(
        tuple(sum(cell) / len(tables) for cell in zip(*rows, strict=True)) for rows in zip(*tables, strict=True)
    )
