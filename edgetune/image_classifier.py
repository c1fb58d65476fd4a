"""Classifying images from Python: what ``edgetune.load`` returns for an image classifier.

Needs the ``onnx`` and ``images`` extras only.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self, overload

from edgetune.classification import Classification, classify_all
from edgetune.images.opening import Source
from edgetune.runtimes.classifier import Classifier


class ImageClassifier:
    """A loaded image classifier. Close it, or use it in a ``with`` statement.

    Args:
        runtime: what runs the model; closed with it.

    >>> from edgetune.runtimes.fake_classifier import FakeClassifier
    >>> with ImageClassifier(FakeClassifier(("cat", "dog"))) as classifier:
    ...     classifier.classify("a dog").label
    'dog'
    """

    def __init__(self, runtime: Classifier) -> None:
        self.runtime = runtime

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.runtime.labels

    @overload
    def classify(self, image: list[Source] | tuple[Source, ...]) -> list[Classification]: ...
    @overload
    def classify(self, image: Source) -> Classification: ...
    def classify(self, image: Source | list[Source] | tuple[Source, ...]) -> Classification | list[Classification]:
        """The class of an image, or of each of several; several are computed side by side.

        Args:
            image: a path, a file's bytes, a picture of Pillow's, or an array (height, width, 3), RGB, uint8. OpenCV's
                frames have blue first: give ``frame[:, :, ::-1]``.

        Raises:
            DataError: there is no such image, or it cannot be opened.
        """
        if isinstance(image, list | tuple):
            return classify_all(self.runtime, image)
        return classify_all(self.runtime, [image])[0]

    def close(self) -> None:
        """Free the model."""
        self.runtime.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
