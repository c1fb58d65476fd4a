"""What runs a classifier: texts or images in, one number a class out. Importable without torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

#: Texts or images classified side by side where nobody says otherwise.
BATCH = 32
#: What a graph takes, by the names of its inputs; the first axis counts them.
Features = dict[str, NDArray[np.generic]]


class Classifier(Protocol):
    """Runs one loaded classifier. Not thread-safe. Close it to free its memory.

    What is asked is a text, or of an image classifier an :data:`edgetune.images.opening.Source`.
    """

    name: str

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the outputs."""
        ...

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, special ones included; of a longer one the beginning is read. An image counts one."""
        ...

    def encode(self, asked: Any, /) -> Any:
        """What the model reads: token ids, special ones included, cut to :attr:`max_tokens`; or (3, height, width)."""
        ...

    def logits(self, asked: Sequence[Any], /) -> NDArray[np.float32]:
        """Shape (texts or images, classes); computed in one batch."""
        ...

    def close(self) -> None: ...


@runtime_checkable
class RunsRaw(Protocol):
    """A classifier whose graph can be run by itself, so that what stands around it can be told from it."""

    def features(self, inputs: Sequence[Any], /) -> Features:
        """What the graph takes for these inputs."""
        ...

    def compute(self, features: Features, /) -> NDArray[np.float32]:
        """Shape (inputs, classes)."""
        ...


def log_probabilities(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log-softmax over the last axis, in float64.

    >>> [round(float(value), 4) for value in log_probabilities(np.zeros((1, 2), np.float32))[0]]
    [-0.6931, -0.6931]
    """
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    found: NDArray[np.float64] = wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))
    return found


def padded(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """``input_ids`` and ``attention_mask`` of one batch: each (rows, longest)."""
    ids = np.full((len(rows), max(map(len, rows))), pad_id, np.int64)
    mask = np.zeros_like(ids)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
    return ids, mask
