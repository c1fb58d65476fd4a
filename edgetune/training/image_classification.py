"""How the class of an image is learnt: one picture a row, changed a little in each pass where the recipe says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune.data.conversation import Conversation
from edgetune.data.labelled import asked_of, balanced_weights, label_of, own_rows
from edgetune.data.splitting import take
from edgetune.errors import ModelError
from edgetune.images.augmenting import Augmentation, drawing
from edgetune.images.opening import open_image
from edgetune.images.preprocessing import Preprocessing, read_preprocessing
from edgetune.models.classifier import open_classifier_base
from edgetune.recipe import Recipe
from edgetune.run import Run
from edgetune.training.batches import Collate, Loss
from edgetune.training.classification import class_loss
from edgetune.training.devices import Choice
from edgetune.training.lessons import Loaded, Rows
from edgetune.training.memory import available_memory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Share of free memory that pictures may fill once they are opened; further ones are opened in every pass.
KEPT_SHARE = 0.25


@dataclass(frozen=True)
class Picture:
    """One row.

    Attributes:
        path: of the image.
        label: number of its class.
        number: its place among the training rows, which its changes depend on; None: it is never changed.
    """

    path: Path
    label: int
    number: int | None = None

    @property
    def labels(self) -> tuple[int, ...]:
        """What it teaches, as of a row of text."""
        return (self.label,)


class ImageLesson:
    """A :class:`edgetune.training.lessons.Lesson`."""

    def encode(self, run: Run, recipe: Recipe) -> Rows:
        """Where images lie, and the number of each one's class."""
        names = run.manifest.labels
        kept = own_rows(run, run.train_file)
        chosen = take(own_rows(run, run.evaluation_rows_file), recipe.train.evaluate_rows, recipe.train.seed)
        train = [_picture(row, names, number) for number, row in enumerate(kept)]
        weights = balanced_weights(kept, names) if recipe.train.class_weights == "balanced" else ()
        return Rows(train, [_picture(row, names) for row in chosen], weights=weights)

    def load(self, run: Run, recipe: Recipe, dtype: str, device: str) -> Loaded:
        """An image model with a head for the run's classes, in float32 as the other classifiers are.

        Raises:
            ModelError: it does not take images as the run prepares them.
        """
        import torch

        opened = open_classifier_base(
            Path(run.manifest.base_folder),
            run.manifest.labels,
            task="image-classification",
            device=device,
            trust_remote_code=recipe.model.trust_remote_code,
        )
        require_size(opened.model, read_preprocessing(run.preprocessing_folder))
        model: Any = opened.model
        # Convolutions run over the channels of a pixel: stored side by side, they are read in one go.
        model.to(memory_format=torch.channels_last)
        packing = Choice("off", "each image is classified by itself")
        return Loaded(model, packing, autocast=dtype == "bfloat16", head=opened.head)

    def step(self, run: Run, recipe: Recipe, rows: Rows, packing: str) -> tuple[Collate, Loss | None]:
        """Batches of pictures, and the cross entropy of their classes."""
        del packing
        augmentation = Augmentation(**recipe.augment.model_dump())
        frames = Frames(read_preprocessing(run.preprocessing_folder), augmentation, recipe.train.seed)
        return frames, class_loss(rows.weights)


def _picture(row: Conversation, names: Sequence[str], number: int | None = None) -> Picture:
    return Picture(Path(asked_of(row)), names.index(label_of(row)), number)


def require_size(model: PreTrainedModel, preprocessing: Preprocessing) -> None:
    """Let a model look at a black picture: what has positions for each patch takes one size only.

    Raises:
        ModelError: it does not take pictures of that size, or with three channels.
    """
    import torch

    height, width = preprocessing.size
    try:
        with torch.inference_mode():
            model(pixel_values=torch.zeros(1, 3, height, width, device=model.device))
    except (ValueError, RuntimeError) as error:
        said = str(error).splitlines()[0].rstrip(".")
        raise ModelError(
            f"this {type(model).__name__} does not take images of {width} x {height} pixels: {said}",
            hint="leave data.image_size out, or give the size that it was built for",
        ) from error


class Frames:
    """Makes batches of pictures. Opened ones stay in memory while there is room, before any change.

    Args:
        preprocessing: of the model.
        augmentation: of training pictures.
        seed: of what is drawn.
    """

    def __init__(self, preprocessing: Preprocessing, augmentation: Augmentation, seed: int) -> None:
        self.preprocessing = preprocessing
        self.augmentation = augmentation
        self.seed = seed
        self.visit = 0
        self._kept: dict[Path, NDArray[np.uint8]] = {}
        self._room: float | None = None

    def start_pass(self, number: int) -> None:
        """Draw other changes than in the pass before. The same number, the same changes."""
        self.visit = number

    def __call__(self, rows: Sequence[Picture]) -> dict[str, torch.Tensor]:
        """A batch.

        Returns:
            ``pixel_values``: (rows, 3, height, width); ``shift_labels``: (rows,) classes; ``tokens``: (), the rows.
        """
        import torch

        pixels = self.preprocessing.normalise(np.stack([self._shown(row) for row in rows]))
        return {
            "pixel_values": torch.from_numpy(pixels).contiguous(memory_format=torch.channels_last),
            "shift_labels": torch.tensor([row.label for row in rows]),
            "tokens": torch.tensor(len(rows)),
        }

    def _shown(self, row: Picture) -> NDArray[np.uint8]:
        frame = self._frame(row.path)
        if row.number is None or not self.augmentation:
            return frame
        return self.augmentation.apply(frame, drawing(self.seed, self.visit, row.number))

    def _frame(self, path: Path) -> NDArray[np.uint8]:
        if (known := self._kept.get(path)) is not None:
            return known
        frame = self.preprocessing.frame(open_image(path))
        if self._left() >= frame.nbytes:
            self._kept[path] = frame
            self._room = self._left() - frame.nbytes
        return frame

    def _left(self) -> float:
        """Bytes that may still be filled."""
        import torch

        if self._room is None:
            self._room = KEPT_SHARE * available_memory(torch.device("cpu"))
        return self._room
