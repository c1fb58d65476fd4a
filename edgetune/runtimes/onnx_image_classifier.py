"""Image classifiers in plain onnxruntime: for phones, boards and servers. Needs ``onnx`` and ``images``, no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError, DataError, ModelError
from edgetune.images.opening import Source
from edgetune.images.preprocessing import CONFIG, Preprocessing, read_preprocessing
from edgetune.runtimes.classifier import Features
from edgetune.runtimes.onnx_session import logits_of, open_session, require_classes, require_task
from edgetune.runtimes.threads import chosen_threads


class OnnxImageClassifier:
    """Runs one exported image classifier on the CPU. Not thread-safe.

    Args:
        artifact: an export for image-classification.
        threads: default: the physical cores this process may use.

    Raises:
        ArtifactError: it is no such classifier, or damaged.
        MissingExtra: the onnx extra is not installed.
    """

    name = "onnxruntime"
    max_tokens = 1

    def __init__(self, artifact: Artifact, *, threads: int | None = None) -> None:
        manifest = require_task(artifact, "image-classification")
        self.labels: tuple[str, ...] = manifest.labels
        self.threads = chosen_threads(threads)
        self._path = artifact.path
        self.preprocessing = _preprocessing(artifact)
        self._session: Any = open_session(artifact.main_file, self.threads, needed_for="running a classifier")
        require_classes(self._session, self.labels, artifact.path)
        _require_size(self._session, self.preprocessing, artifact)

    def encode(self, asked: Source) -> NDArray[np.float32]:
        """A picture as the model reads it: (3, height, width)."""
        return self.preprocessing.pixels(asked)

    def logits(self, asked: Sequence[Source]) -> NDArray[np.float32]:
        """Shape (pictures, classes).

        Raises:
            DataError: pictures that cannot be opened; all are named.
        """
        return self.compute(self.features(asked))

    def features(self, inputs: Sequence[Source]) -> Features:
        """What the graph takes: (pictures, 3, height, width). Errors: as for :meth:`logits`."""
        return {"pixel_values": stacked(self.preprocessing, inputs)}

    def compute(self, features: Features) -> NDArray[np.float32]:
        """The graph alone: shape (pictures, classes)."""
        return logits_of(self._session, features, self._path)

    def close(self) -> None:
        """Free the model."""
        self._session = None


def stacked(preprocessing: Preprocessing, asked: Sequence[Source]) -> NDArray[np.float32]:
    """Several pictures as a batch: (pictures, 3, height, width).

    Raises:
        DataError: as for one; where several cannot be opened, all are named.
    """
    found: list[NDArray[np.float32]] = []
    failed: list[DataError] = []
    for picture in asked:
        try:
            found.append(preprocessing.pixels(picture))
        except DataError as error:
            failed.append(error)
    if len(failed) == 1:
        raise failed[0]
    if failed:
        raise DataError(
            f"{len(failed)} of {len(asked)} images cannot be opened",
            hint=failed[0].hint,
            problems=[error.message for error in failed],
        )
    return np.stack(found)


def _preprocessing(artifact: Artifact) -> Preprocessing:
    try:
        return read_preprocessing(artifact.path)
    except ModelError as error:
        raise ArtifactError(
            f"{artifact.path / CONFIG} cannot be used: {error.message}", hint="export it again"
        ) from error


def _require_size(session: Any, preprocessing: Preprocessing, artifact: Artifact) -> None:
    (taken,) = session.get_inputs()
    if list(taken.shape[1:]) != [3, *preprocessing.size]:
        raise ArtifactError(
            f"{artifact.path}: its graph takes images of {taken.shape[1:]}, {CONFIG} makes (3, "
            f"{preprocessing.size[0]}, {preprocessing.size[1]})",
            hint="export it again",
        )
