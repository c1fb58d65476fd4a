"""GPTQ: rounding that makes up for its errors.

Columns are rounded one after another, and what each is off by is taken out of those that are still to come, as far as
their inputs go together with its own. For a row w of a matrix that is the least of (w - q) H (w - q)ᵀ, greedily, with H
the mean of x xᵀ (Frantar et al., 2023, https://arxiv.org/abs/2210.17323, algorithm 1). Rows do not need one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgetune.readback import Values

if TYPE_CHECKING:
    import torch

BITS = 4
_TOP = 2**BITS - 1
#: Of H's mean diagonal, added to it: the authors' own.
DAMPING = 0.01
#: Columns whose errors are taken out of the rest at once.
_BATCH = 128
#: Rows at a time: memory.
_ROWS = 16_384
#: Of a block's range, what scales may reach; and steps that its zero point may be off from where the range puts it.
_REACHES, _ZEROS = (1.0, 0.93, 0.86, 0.79), (0, -1, 1)


@dataclass(frozen=True)
class Blocks:
    """A matrix whose blocks of columns share a scale and a zero point: (code - zero point) · scale.

    Attributes:
        codes: (rows, columns) uint8 below 16.
        scales: (rows, blocks) float32.
        zero_points: (rows, blocks) uint8 below 16.
    """

    codes: NDArray[np.uint8]
    scales: NDArray[np.float32]
    zero_points: NDArray[np.uint8]


@dataclass(frozen=True)
class Inputs:
    """What rounding has to know of the inputs of a matrix; matrices that read the same tensor share it.

    Attributes:
        root: (columns, columns) float32, upper triangular U with H⁻¹ = Uᵀ U.
        aim: (columns,) float32, the diagonal of H.
    """

    root: torch.Tensor
    aim: torch.Tensor


def understand(products: NDArray[np.float64]) -> Inputs:
    """Factorise what is known of some inputs.

    Args:
        products: (columns, columns), symmetric and not negative: E[x xᵀ] of what a matrix is multiplied with.
    """
    import torch

    whole = torch.from_numpy(products).clone()
    weights = whole.diagonal()
    weights[weights <= 0] = weights.mean() if weights.mean() > 0 else 1.0  # inputs that were never seen
    aim = weights.float()
    return Inputs(_inverse_root(whole), aim)


def quantise(values: Values, inputs: Inputs, block: int) -> Blocks:
    """Round a matrix to four bits.

    Args:
        values: (rows, columns).
        inputs: of as many columns.
        block: columns that share a scale.
    """
    import torch

    whole = torch.from_numpy(np.ascontiguousarray(values, np.float32))
    with torch.inference_mode():
        starts = range(0, len(whole), _ROWS)
        parts = [_quantise(whole[start : start + _ROWS].clone(), inputs, block) for start in starts]
    return Blocks(*(torch.cat(one).numpy() for one in zip(*parts, strict=True)))


def _inverse_root(products: torch.Tensor) -> torch.Tensor:
    """U with H⁻¹ = Uᵀ U, upper triangular; what H lacks to have one is added to its diagonal, in place."""
    import torch

    diagonal = products.diagonal().clone()
    damping = DAMPING * diagonal.mean()
    while True:
        products.diagonal().copy_(diagonal + damping)
        lower, failed = torch.linalg.cholesky_ex(products)
        if not failed:
            root: torch.Tensor = torch.linalg.cholesky(torch.cholesky_inverse(lower), upper=True)
            return root.float()
        damping *= 10


def _quantise(left: torch.Tensor, inputs: Inputs, block: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, scales and zero points of some rows; ``left`` is what is still to be rounded, and is written to."""
    import torch

    root, columns, batch = inputs.root, left.shape[1], max(_BATCH, block)
    codes = torch.empty_like(left, dtype=torch.uint8)
    scales, zeros = [], []
    for start in range(0, columns, batch):
        stop = min(columns, start + batch)
        errors = torch.empty_like(left[:, start:stop])
        for at in range(start, stop):
            if at % block == 0:
                scale, zero = _grid(left[:, at : at + block], inputs.aim[at : at + block])
                scales.append(scale)
                zeros.append(zero)
            code = ((left[:, at : at + 1] / scale).round() + zero).clamp(0, _TOP)
            codes[:, at : at + 1] = code.to(torch.uint8)
            error = (left[:, at : at + 1] - (code - zero) * scale) / root[at, at]
            errors[:, at - start : at - start + 1] = error
            left[:, at + 1 : stop] -= error @ root[at : at + 1, at + 1 : stop]
        left[:, stop:] -= errors @ root[start:stop, stop:]
    return codes, torch.cat(scales, 1), torch.cat(zeros, 1).to(torch.uint8)


def _grid(values: torch.Tensor, aim: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Scale and zero point of a block, (rows, 1) each.

    Of some, those with the least error, columns weighed by ``aim``.
    """
    import torch

    low, high = values.amin(1, keepdim=True).clamp_max(0), values.amax(1, keepdim=True).clamp_min(0)
    span = high - low
    span[span == 0] = 1.0  # all zero: any scale does
    middle = (-low / span * _TOP).round()
    best: tuple[torch.Tensor, torch.Tensor] | None = None
    least = torch.empty(0)
    for step in _ZEROS:
        zero = (middle + step).clamp(0, _TOP)
        for reach in _REACHES:
            first = span * (reach / _TOP)
            code = ((values / first).round() + zero).clamp(0, _TOP) - zero
            weighed = aim * code
            square = (weighed * code).sum(1, keepdim=True)
            scale = torch.where(square > 0, (weighed * values).sum(1, keepdim=True) / square, first)
            error = (aim * (values - scale * code) ** 2).sum(1, keepdim=True)
            if best is None:
                best, least = (scale, zero), error
                continue
            better = error < least
            least = torch.where(better, error, least)
            best = (torch.where(better, scale, best[0]), torch.where(better, zero, best[1]))
    assert best is not None, "there are reaches and zeros to try"
    return best
