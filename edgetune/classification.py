"""Classifying from Python: what ``edgetune.load`` returns for a classifier, and the classes that it tells.

Needs the ``onnx`` extra only, and for images the ``images`` extra.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, overload

import numpy as np

from edgetune.artifact import Artifact, open_artifact
from edgetune.errors import DataError
from edgetune.runtimes.classifier import BATCH, Classifier, log_probabilities
from edgetune.runtimes.classifying import open_classifier

if TYPE_CHECKING:
    from edgetune.images.opening import Source


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


class LoadedClassifier:
    """A loaded classifier of texts or images. Close it, or use it in a ``with`` statement.

    Args:
        runtime: what runs the model; closed with it.

    >>> from edgetune.runtimes.fake_classifier import FakeClassifier
    >>> with LoadedClassifier(FakeClassifier(("bad", "good"))) as classifier:
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
    def classify(self, asked: list[Any] | tuple[Any, ...]) -> list[Classification]: ...
    @overload
    def classify(self, asked: Source) -> Classification: ...
    def classify(self, asked: Source | list[Any] | tuple[Any, ...]) -> Classification | list[Classification]:
        """The class of a text or an image, or of each of several; several are computed side by side.

        Args:
            asked: a text; or an image as a path, a file's bytes, a picture of Pillow's, or an array (height, width, 3),
                RGB, uint8. OpenCV's frames have blue first: give ``frame[:, :, ::-1]``.

        Raises:
            DataError: there is no such image, or it cannot be opened; a text is empty, or is none.
        """
        if isinstance(asked, list | tuple):
            return classify_all(self.runtime, asked)
        return classify_all(self.runtime, [asked])[0]

    def close(self) -> None:
        """Free the model."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def load_classifier(artifact: Artifact | Path | str, *, threads: int | None = None) -> LoadedClassifier:
    """Load an exported classifier.

    Args:
        artifact: or its folder.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: it is no classifier, or damaged.
        MissingExtra: the onnx extra is not installed; of an image classifier the images extra.
    """
    opened = artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact))
    return LoadedClassifier(open_classifier(opened, threads=threads))


def classify_all(runtime: Classifier, asked: Sequence[Any]) -> list[Classification]:
    """The class of each text or image, :data:`~edgetune.runtimes.classifier.BATCH` at a time."""
    found: list[Classification] = []
    for start in range(0, len(asked), BATCH):
        shares = np.exp(log_probabilities(runtime.logits(asked[start : start + BATCH])))
        found += [_ranked(runtime.labels, [float(share) for share in row]) for row in shares]
    return found


def answers_to(classifier: LoadedClassifier, asked: Sequence[Any]) -> Iterator[tuple[Any, Classification | DataError]]:
    """Each with its class, or with what is wrong with it: of many it takes nothing from the others.

    Raises:
        DataError: at the end, naming all that cannot.
    """
    failed: dict[int, DataError] = {}
    for start in range(0, len(asked), BATCH):
        chosen = list(asked[start : start + BATCH])
        for place, (one, found) in enumerate(zip(chosen, _tried_together(classifier, chosen), strict=True), start + 1):
            if isinstance(found, DataError):
                failed[place] = found
            yield one, found
    _raise_all(failed, len(asked))


def _tried_together(classifier: LoadedClassifier, asked: list[Any]) -> Sequence[Classification | DataError]:
    try:
        found: list[Classification] = classifier.classify(asked)
    except DataError:
        return [_tried(classifier, one) for one in asked]
    return found


def _tried(classifier: LoadedClassifier, one: Any) -> Classification | DataError:
    try:
        found: Classification = classifier.classify(one)
    except DataError as error:
        return error
    return found


def _raise_all(failed: Mapping[int, DataError], of: int) -> None:
    """Name what failed by its place among all, if anything did."""
    if not failed:
        return
    first = next(iter(failed.values()))
    if of == 1:
        raise first
    problems = [f"input {place}: {error.message}" for place, error in failed.items()]
    raise DataError(f"{len(failed)} of {of} cannot be classified", hint=first.hint, problems=problems)


def _ranked(labels: Sequence[str], shares: Sequence[float]) -> Classification:
    ranked = sorted(zip(labels, shares, strict=True), key=lambda pair: -pair[1])
    return Classification(ranked[0][0], dict(ranked))
