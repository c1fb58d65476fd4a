"""Classifying from Python: what ``edgetune.load`` returns for a classifier. Needs the ``onnx`` extra only."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Self, overload

from edgetune.artifact import Artifact, open_artifact
from edgetune.classification import Classification, classify_all
from edgetune.runtimes.classifier import Classifier

if TYPE_CHECKING:
    from edgetune.image_classifier import ImageClassifier


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

    def __exit__(self, *error: object) -> None:
        self.close()


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
