"""The weights in an artifact beside those of the trained model, tensor by tensor.

Of each tensor three figures, from W (what the trained model holds) and W' (what the artifact holds, dequantised):

    error     ‖W' - W‖ / ‖W‖                          what quantisation, or a fault, changed
    kept      1 + ⟨W' - W, Δ⟩ / ‖Δ‖²                  share of the fine-tune Δ that is in the file; what an adapter's
                                                      format said it cannot hold counts as there
    residue   ⟨W' - W, R⟩ / ‖R‖²                      share of the rounding R that training undid in the base
    unlike    ‖W' - Q(W)‖ / ‖W' - W‖, some rows       how much of the difference is not what the quantiser Q does

Where the quantiser is known, ``unlike`` is nearly 0 whatever the type does to a fine-tune, and the shares say nothing
more; other weights show even where they differ by a hundredth of a step, since some are rounded the other way.
Elsewhere rounding errors lie in no particular direction, so ``kept`` is 1 and ``residue`` 0 however coarse the type, if
Δ is not far smaller than the rounding (over a base of sixteen values a block, too small a Δ moves few weights over a
threshold, or many). A layer whose adapter was left out has ``kept`` 0, an rsLoRA adapter at the wrong scale 1/√r, one
that was trained on longer something else; and an adapter merged into the 16-bit base, where it was trained over the NF4
one, has ``residue`` 1. (R is W16 - dequant(W4): the NF4 base lacks it, the 16-bit base has it.)
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgetune.readback import TensorPair, Values
from edgetune.stored import Stored

#: Of a tensor, those that are rounded again.
ROWS = 16


class Share(Stored):
    """A projection on a known direction, with the standard error that rounding alone gives it."""

    value: float
    error: float
    blur: float
    """‖W' - W‖ over the length of the direction: how much larger than it the rounding is."""


class TensorFinding(Stored):
    """What was measured of one tensor."""

    name: str
    type: str
    """As stored; empty where the tensor is missing."""
    problem: str | None = None
    """What is wrong with the tensor as a whole."""
    error: float | None = None
    kept: Share | None = None
    residue: Share | None = None
    allowed: float = 0.0
    """Of ``error``, what the format said it cannot hold."""
    searched: bool = False
    """Scales were searched for with the importance of inputs."""
    compensated: bool = False
    """Errors of rounding were made up for in other columns."""
    unlike: float | None = None
    """Length of what is not the quantiser's doing, over that of the whole difference."""


def compare_tensors(pair: TensorPair) -> TensorFinding:
    """Compare one tensor. Memory: about six float32 copies of it."""
    if pair.stored is None or pair.trained is None:
        return TensorFinding(name=pair.name, type=pair.type, problem=pair.problem or "nothing to compare")
    trained = pair.trained()
    difference = pair.stored() - trained.tuned
    if not np.isfinite(difference).all():
        return TensorFinding(name=pair.name, type=pair.type, problem="holds values that are not finite numbers")
    kept = residue = None
    size, lost = _norm(trained.tuned), 0.0
    if trained.beneath is not None:
        change = trained.tuned - trained.beneath
        # What is missing of an approximation is orthogonal to what is there.
        kept = _share(difference, change, origin=1.0 + pair.missing**2)
        lost = pair.missing * _norm(change)
        if trained.unrounded is not None:
            residue = _share(difference, trained.unrounded - trained.beneath, origin=0.0)
    unlike = _unlike(pair.rounded, trained.tuned, difference) if pair.rounded else None
    error = _norm(difference) / size if size else float(_norm(difference) > 0)
    allowed = lost / size if size else 0.0
    return TensorFinding(
        name=pair.name,
        type=pair.type,
        error=error,
        kept=kept,
        residue=residue,
        allowed=allowed,
        searched=pair.searched,
        compensated=pair.compensated,
        unlike=unlike,
    )


def _unlike(rounded: Callable[[Values], Values], trained: Values, difference: Values) -> float:
    """Rows are rounded each by itself, so some from all over the tensor stand for all."""
    own = trained.reshape(-1, trained.shape[-1])
    rows = np.linspace(0, len(own) - 1, min(ROWS, len(own)), dtype=int)
    found = difference.reshape(own.shape)[rows]
    length = _norm(found)
    return _norm(own[rows] + found - rounded(np.ascontiguousarray(own[rows]))) / length if length else 0.0


def _share(difference: Values, direction: Values, *, origin: float) -> Share | None:
    """``origin`` plus the part of ``difference`` along ``direction``; None where there is no direction."""
    square = _norm(direction) ** 2
    if square == 0:
        return None
    product = float(np.vdot(difference, direction)) / square
    # Were the errors of the values independent, the product would scatter by this much.
    scatter = math.sqrt(float(np.vdot(difference**2, direction**2))) / square
    return Share(value=origin + product, error=scatter, blur=_norm(difference) / math.sqrt(square))


def _norm(values: Values) -> float:
    return math.sqrt(float(np.vdot(values, values)))
