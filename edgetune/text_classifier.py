"""Classifying from Python: what ``edgetune.load`` returns for a classifier. Needs the ``onnx`` extra only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, overload

import numpy as np

from edgetune.artifact import Artifact, open_artifact
from edgetune.runtimes.classifier import BATCH, Classifier, log_probabilities


@dataclass(frozen=True)
class Classification:
    """One text's class.

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


class TextClassifier:
    """A loaded classifier. Close it, or use it in a ``with`` statement.

    Args:
        runtime: what runs the model; closed with it.

    >>> from edgetune.runtimes.fake_classifier import FakeClassifier
    >>> with TextClassifier(FakeClassifier(("bad", "good"))) as classifier:
    ...     classifier.classify("a good film").label
    'good'
    """

    def __init__(self, runtime: Classifier) -> None:
        self.runtime = runtime

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.runtime.labels

    @overload
    def classify(self, text: str) -> Classification: ...
    @overload
    def classify(self, text: list[str] | tuple[str, ...]) -> list[Classification]: ...
    def classify(self, text: str | list[str] | tuple[str, ...]) -> Classification | list[Classification]:
        """The class of a text, or of each of several; several are computed side by side."""
        if isinstance(text, str):
            return self._some([text])[0]
        return [found for start in range(0, len(text), BATCH) for found in self._some(text[start : start + BATCH])]

    def _some(self, texts: Sequence[str]) -> list[Classification]:
        shares = np.exp(log_probabilities(self.runtime.logits(texts)))
        return [self._one([float(share) for share in row]) for row in shares]

    def _one(self, shares: Sequence[float]) -> Classification:
        ranked = sorted(zip(self.labels, shares, strict=True), key=lambda pair: -pair[1])
        return Classification(ranked[0][0], dict(ranked))

    def close(self) -> None:
        """Free the model."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load_classifier(artifact: Artifact | Path | str, *, threads: int | None = None) -> TextClassifier:
    """Load an exported classifier.

    Args:
        artifact: or its folder.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: it is no classifier, or damaged.
        MissingExtra: the onnx extra is not installed.
    """
    from edgetune.runtimes.onnx_classifier import OnnxClassifier

    opened = artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact))
    return TextClassifier(OnnxClassifier(opened, threads=threads))
