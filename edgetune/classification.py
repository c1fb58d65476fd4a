"""The class of a text or an image, as an application gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgetune.runtimes.classifier import BATCH, Classifier, log_probabilities


@dataclass(frozen=True)
class Classification:
    """The class of one text or image.

    Attributes:
        label: name of the likeliest class.
        scores: class → probability, the likeliest first.
    """

    label: str
    scores: dict[str, float]

    @property
    def score(self) -> float:
        """Probability of the likeliest class."""
        return self.scores[self.label]


def classify_all(runtime: Classifier, asked: Sequence[Any]) -> list[Classification]:
    """The class of each text or image, :data:`~edgetune.runtimes.classifier.BATCH` at a time."""
    found: list[Classification] = []
    for start in range(0, len(asked), BATCH):
        shares = np.exp(log_probabilities(runtime.logits(asked[start : start + BATCH])))
        found += [_ranked(runtime.labels, [float(share) for share in row]) for row in shares]
    return found


def _ranked(labels: Sequence[str], shares: Sequence[float]) -> Classification:
    ranked = sorted(zip(labels, shares, strict=True), key=lambda pair: -pair[1])
    return Classification(ranked[0][0], dict(ranked))
