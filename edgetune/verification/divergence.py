"""How far the artifact's next-token distributions are from the trained model's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetune.stored import Stored

#: How much likelier than the next a token must be to count as a clear favourite, in nats.
LEAD = 0.5


@dataclass(frozen=True)
class Distributions:
    """Next-token log-probabilities of one row, one line a position.

    Attributes:
        log_probs: (positions, kept), float32. Whole distributions, or the likeliest tokens only.
        ids: (positions, kept), the tokens that the columns stand for; None: all tokens in order.
    """

    log_probs: NDArray[np.float32]
    ids: NDArray[np.int64] | None = None

    def likeliest(self, count: int) -> Distributions:
        """The ``count`` likeliest tokens of each position, at least two: what fits beside an artifact."""
        assert self.ids is None, "cut already"
        assert count > 1, "one token alone does not tell how far it leads"
        count = min(count, self.log_probs.shape[1])
        ids = np.argpartition(-self.log_probs, count - 1, axis=1)[:, :count].astype(np.int64)
        return Distributions(np.take_along_axis(self.log_probs, ids, axis=1), ids)


class Divergence(Stored):
    """Over all positions of all rows.

    Where the reference keeps the likeliest tokens only, the others count as one: that is a lower bound.
    """

    positions: int
    kl_mean: float
    """Kullback-Leibler divergence KL(trained ‖ artifact), nats a position."""
    kl_p99: float
    kl_max: float
    clear: int
    """Positions where the trained model's likeliest token leads the next by :data:`LEAD` nats or more."""
    top1: float
    """Share of the clear positions where both think the same token likeliest. (Of two tokens that are all but
    equally likely, rounding may prefer either.)"""
    top1_all: float
    """The same share of all positions."""


def log_softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """(positions, vocabulary) logits → log-probabilities, computed in float64."""
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=1, keepdims=True)
    wide -= np.log(np.exp(wide).sum(axis=1, keepdims=True))
    return wide.astype(np.float32)


@dataclass(frozen=True)
class Divergences:
    """Of one row.

    Attributes:
        kl: of each position.
        clear: at how many positions the reference has a clear favourite.
        agreeing: at how many of those the artifact has the same.
        agreeing_all: at how many of all positions both have the same likeliest token.
    """

    kl: NDArray[np.float64]
    clear: int
    agreeing: int
    agreeing_all: int


def divergences(reference: Distributions, log_probs: NDArray[np.float32]) -> Divergences:
    """KL(reference ‖ log_probs) at each position of one row, and how often both favour the same token.

    Args:
        reference: of the row.
        log_probs: the artifact's whole distributions there, (positions, vocabulary).
    """
    ids = reference.ids
    theirs = log_probs if ids is None else np.take_along_axis(log_probs, ids, axis=1)
    p, log_p, log_q = np.exp(reference.log_probs.astype(np.float64)), reference.log_probs, theirs.astype(np.float64)
    kl = (p * (log_p - log_q)).sum(axis=1)
    if ids is not None:
        kl += _rest(p, np.exp(log_q))
    own = reference.log_probs.argmax(axis=1)
    likeliest = own if ids is None else np.take_along_axis(ids, own[:, None], axis=1)[:, 0]
    clear = -np.diff(np.partition(-reference.log_probs, 1, axis=1)[:, :2], axis=1)[:, 0] <= -LEAD
    same = likeliest == log_probs.argmax(axis=1)
    return Divergences(np.maximum(kl, 0.0), int(clear.sum()), int((clear & same).sum()), int(same.sum()))


def _rest(p: NDArray[np.float64], q: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of KL that all tokens left out add, taken as one."""
    tiny = 1e-12  # what rounding leaves of a sum of probabilities near 1
    left, theirs = np.maximum(1 - p.sum(axis=1), tiny), np.maximum(1 - q.sum(axis=1), tiny)
    rest: NDArray[np.float64] = left * np.log(left / theirs)
    return rest


def summarise(rows: Sequence[Divergences]) -> Divergence:
    """One figure each, over the positions of all rows."""
    every = np.concatenate([row.kl for row in rows])
    clear = sum(row.clear for row in rows)
    return Divergence(
        positions=len(every),
        kl_mean=float(every.mean()),
        kl_p99=float(np.percentile(every, 99)),
        kl_max=float(every.max()),
        clear=clear,
        top1=sum(row.agreeing for row in rows) / clear if clear else 1.0,
        top1_all=sum(row.agreeing_all for row in rows) / len(every),
    )
