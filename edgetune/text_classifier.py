"""Classifying from Python: what ``edgetune.load`` returns for a classifier. Needs the ``onnx`` extra only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from edgetune.artifact import Artifact, open_artifact
from edgetune.runtimes.classifier import BATCH, Classifier, log_probabilities

if TYPE_CHECKING:
    from edgetune.image_classifier import ImageClassifier


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
            return classify_all(self.runtime, [text])[0]
        return classify_all(self.runtime, text)

    def close(self) -> None:
        """Free the model."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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


def load_classifier(artifact: Artifact | Path | str, *, threads: int | None = None) -> TextClassifier | ImageClassifier:
    """Load an exported classifier.

    Args:
        artifact: or its folder.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: it is no classifier, or damaged.
        MissingExtra: the onnx extra is not installed; of an image classifier the images extra.
    """
    from edgetune.image_classifier import ImageClassifier
    from edgetune.runtimes.classifying import open_classifier

    opened = artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact))
    runtime = open_classifier(opened, threads=threads)
    images = opened.manifest is not None and opened.manifest.task == "image-classification"
    return ImageClassifier(runtime) if images else TextClassifier(runtime)
