"""transformers' own image processors: the reference that edgetune's preprocessing is compared with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune import extras
from edgetune.errors import ModelError
from edgetune.images.preprocessing import CONFIG, Preprocessing, parse, read_preprocessing

if TYPE_CHECKING:
    from PIL.Image import Image

#: Largest difference of a value that counts as the same: rounding in float32, where values are of a few units.
TOLERANCE = 1e-4


def open_processor(folder: Path) -> Callable[[Image], NDArray[np.float32]]:
    """Picture → (3, height, width), by transformers' processor with Pillow's resampling.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    processor = _load(folder)

    def pixels(image: Image) -> NDArray[np.float32]:
        found: NDArray[np.float32] = np.asarray(processor(image, return_tensors="np")["pixel_values"][0], np.float32)
        return found

    return pixels


def checked_preprocessing(folder: Path, size: int | None = None) -> Preprocessing:
    """What a model folder says of its pictures, with transformers' defaults, if edgetune computes the same.

    Args:
        folder: of the model.
        size: of square pictures, where they shall have another than the folder says.

    Raises:
        ModelError: it says nothing, or what is not known, or the two differ on a test picture.
    """
    file = folder / CONFIG
    if not file.is_file():
        read_preprocessing(folder)  # says what is missing
    try:
        found = parse(json.loads(_load(folder).to_json_string()))
    except (ValueError, TypeError, KeyError) as error:
        raise ModelError(f"{file} asks for what edgetune does not do to a picture: {error}", hint=_PLAIN) from error
    picture = _picture()
    own, theirs = found.pixels(picture), open_processor(folder)(picture)
    if own.shape != theirs.shape or float(np.abs(own - theirs).max()) > TOLERANCE:
        raise ModelError(
            f"{file} asks for more than edgetune does to a picture: transformers makes other numbers of it", hint=_PLAIN
        )
    return found if size is None else found.for_size(size)


_PLAIN = "use a model with a plain processor: resize, crop, rescale, normalise"


def _load(folder: Path) -> Any:
    """Transformers' processor.

    Raises:
        ModelError: there is none, or it cannot be read.
    """
    transformers = extras.require("transformers", extra="train", needed_for="preparing images as transformers does")
    # transformers 5 renamed it.
    chosen = {"use_fast": False} if transformers.__version__.startswith("4.") else {"backend": "pil"}
    try:
        return transformers.AutoImageProcessor.from_pretrained(folder, local_files_only=True, **chosen)
    except Exception as error:  # what a wrong value leads to has no common base
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(
            f"transformers cannot use {folder / CONFIG}: {first}", hint="copy it from the model's original"
        ) from error


def _picture() -> Image:
    """Colours that differ, edges, noise; sides of different and odd length."""
    from PIL import Image

    rows, columns = np.mgrid[0:141, 0:97]
    noise = np.random.default_rng(0).integers(0, 60, (141, 97, 3))
    plain = np.stack([rows, 190 - columns, (rows // 7 + columns // 11) % 2 * 190], axis=-1)
    return Image.fromarray((plain + noise).clip(0, 255).astype(np.uint8))
