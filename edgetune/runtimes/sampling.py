"""Choosing the next token from logits."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.runtimes.protocol import Decoding


class Sampler:
    """Chooses tokens for one answer.

    Args:
        decoding: greedy at temperature 0, else temperature and top-p.
        index: number of the prompt; each prompt has its own random stream, so that an answer
            does not depend on which others are computed beside it.
    """

    def __init__(self, decoding: Decoding, index: int = 0) -> None:
        self._temperature = decoding.temperature
        self._top_p = decoding.top_p
        self._random = np.random.default_rng((decoding.seed, index))

    def choose(self, logits: NDArray[np.floating[Any]]) -> int:
        """The next token from ``logits`` of shape (vocabulary,)."""
        if self._temperature <= 0:
            return int(logits.argmax())
        probabilities = nucleus(softmax(logits / self._temperature), self._top_p)
        cumulated = np.cumsum(probabilities)
        return int(np.searchsorted(cumulated, self._random.random() * cumulated[-1], side="right"))


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """exp(x)/Σexp(x) in float64, shifted by the maximum so that nothing overflows.

    >>> softmax(np.array([0.0, np.log(3.0)])).round(2).tolist()
    [0.25, 0.75]
    """
    shifted = np.exp(logits.astype(np.float64) - float(logits.max()))
    result: NDArray[np.float64] = shifted / shifted.sum()
    return result


def nucleus(probabilities: NDArray[np.float64], top_p: float) -> NDArray[np.float64]:
    """Keep the fewest most likely tokens that sum to ``top_p``, rescaled to 1 (Holtzman et al., 2020).

    >>> nucleus(np.array([0.5, 0.1, 0.4]), 0.8).round(3).tolist()
    [0.556, 0.0, 0.444]
    """
    if top_p < 1:
        order = np.argsort(probabilities)[::-1]
        count = int(np.searchsorted(np.cumsum(probabilities[order]), top_p)) + 1
        kept = np.zeros_like(probabilities)
        kept[order[:count]] = probabilities[order[:count]]
        probabilities = kept
    result: NDArray[np.float64] = probabilities / probabilities.sum()
    return result
