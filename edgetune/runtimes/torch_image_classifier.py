"""The torch image classifier: the reference that exported ones are compared with.

Its pictures are prepared by transformers' own processor, so that a fault in edgetune's shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgetune.images.opening import Source, open_image

if TYPE_CHECKING:
    from PIL.Image import Image
    from transformers import PreTrainedModel


class TorchImageClassifier:
    """Runs a transformers image classifier where it lies.

    Args:
        model: with a head for the classes.
        processor: picture → (3, height, width), see :func:`edgetune.models.image_processor.open_processor`.
        labels: names of the classes.
    """

    name = "torch"
    max_tokens = 1

    def __init__(
        self, model: PreTrainedModel, processor: Callable[[Image], NDArray[np.float32]], labels: tuple[str, ...]
    ) -> None:
        self._model: PreTrainedModel | None = model
        self._processor = processor
        self.labels = labels

    def encode(self, asked: Source) -> NDArray[np.float32]:
        """A picture as the model reads it: (3, height, width)."""
        return self._processor(open_image(asked))

    def logits(self, asked: Sequence[Source]) -> NDArray[np.float32]:
        """Shape (pictures, classes)."""
        import torch

        assert self._model is not None, "it was closed"
        pixels = torch.from_numpy(np.stack([self.encode(picture) for picture in asked]))
        with torch.inference_mode():
            result = self._model(pixel_values=pixels.to(self._model.device)).logits
        found: NDArray[np.float32] = result.float().cpu().numpy()
        return found

    def close(self) -> None:
        """Let go of the model."""
        self._model = None
