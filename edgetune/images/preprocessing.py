"""From a picture to a model's numbers, as its ``preprocessor_config.json`` says, in Pillow and numpy alone.

The same function serves training, evaluation and devices. It computes what transformers' image processors (those with
Pillow's resampling) do for classifiers: BiT, ConvNeXT, DeiT, EfficientNet, MobileNet, ResNet, Swin, ViT. Nothing is
assumed that the file does not say; :mod:`edgetune.models.image_processor` has transformers fill in its defaults, and
compares.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import DataError, ModelError
from edgetune.images.opening import MOST_PIXELS, Source, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

CONFIG = "preprocessor_config.json"
#: ConvNeXT's processor resizes with room for a crop below this size, and without one from it on.
_CONVNEXT_WHOLE = 384


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a picture, in this order.

    Attributes:
        resize: (height, width), or the length of the shorter edge; None: it keeps its size.
        resample: Pillow's number of the filter: 0 nearest, 2 bilinear, 3 bicubic, 1 Lanczos.
        crop: (height, width) cut from the middle, black where the picture is smaller; None: no cut.
        scale: each value is multiplied by it.
        mean: subtracted from each channel.
        std: each channel is divided by it.
        channels: order of the channels.
    """

    resize: tuple[int, int] | int | None
    resample: int
    crop: tuple[int, int] | None
    scale: float
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    channels: str = "RGB"

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what the model gets."""
        if self.crop is not None:
            return self.crop
        assert isinstance(self.resize, tuple), "reading one asks for it"
        return self.resize

    def frame(self, image: Image) -> NDArray[np.uint8]:
        """A picture resized and cut: (height, width, 3), RGB.

        Raises:
            DataError: it is so narrow that resizing would make millions of pixels.
        """
        if self.resize is not None:
            height, width = self._resized(image)
            image = image.resize((width, height), self.resample)
        pixels = np.asarray(image, np.uint8)
        return pixels if self.crop is None else center_crop(pixels, *self.crop)

    def normalise(self, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
        """(…, height, width, 3) RGB → (…, 3, height, width), as the model reads it."""
        ordered = frames[..., ::-1] if self.channels == "BGR" else frames
        factor = np.float32(self.scale) / np.asarray(self.std, np.float32)
        shift = np.asarray(self.mean, np.float32) / np.asarray(self.std, np.float32)
        values = ordered.astype(np.float32) * factor - shift
        found: NDArray[np.float32] = np.ascontiguousarray(np.moveaxis(values, -1, -3), dtype=np.float32)
        return found

    def pixels(self, source: Source, name: str | None = None) -> NDArray[np.float32]:
        """One picture as the model reads it: (3, height, width).

        Raises:
            DataError: as :func:`edgetune.images.opening.open_image`.
        """
        return self.normalise(self.frame(open_image(source, name)))

    def for_size(self, size: int) -> Self:
        """The same for square pictures of another size: as large a part of the picture is seen as before."""
        if self.crop is None:
            return replace(self, resize=(size, size))
        share = size / min(self.crop)
        resize = self.resize
        if isinstance(resize, tuple):
            resize = (round(resize[0] * share), round(resize[1] * share))
        elif resize is not None:
            resize = max(size, round(resize * share))
        return replace(self, resize=resize, crop=(size, size))

    def to_json(self) -> str:
        """As a graph's metadata keeps it."""
        return json.dumps(asdict(self))

    def to_config(self) -> dict[str, Any]:
        """As ``preprocessor_config.json`` of a processor that transformers has, with every value written out."""
        resize = self.resize
        size = {"shortest_edge": resize} if isinstance(resize, int) else None
        if isinstance(resize, tuple):
            size = {"height": resize[0], "width": resize[1]}
        crop = {"height": self.crop[0], "width": self.crop[1]} if self.crop else None
        return {
            # BiT's processor does these steps and no others; MobileViT's is the one with blue first.
            "image_processor_type": "MobileViTImageProcessor" if self.channels == "BGR" else "BitImageProcessor",
            "do_convert_rgb": True,
            "do_resize": size is not None,
            **({"size": size} if size else {}),
            "resample": self.resample,
            "do_center_crop": crop is not None,
            **({"crop_size": crop} if crop else {}),
            "do_rescale": True,
            "rescale_factor": self.scale,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            **({"do_flip_channel_order": True} if self.channels == "BGR" else {}),
        }

    def _resized(self, image: Image) -> tuple[int, int]:
        """Height and width after resizing."""
        if isinstance(self.resize, tuple):
            return self.resize
        assert self.resize is not None
        short, long = sorted(image.size)
        longer = int(self.resize * long / short)
        if longer * self.resize > MOST_PIXELS:
            raise DataError(
                f"an image of {image.width} x {image.height} pixels is too narrow: resized it would be "
                f"{longer} pixels long",
                hint="cut it, or leave it out",
            )
        return (longer, self.resize) if image.width <= image.height else (self.resize, longer)


def center_crop(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The middle of (rows, columns, 3); where that is smaller, black around it."""
    rows, columns = pixels.shape[:2]
    if rows < height or columns < width:
        larger = (max(rows, height), max(columns, width))
        top, left = (math.ceil((new - old) / 2) for new, old in zip(larger, (rows, columns), strict=True))
        padded = np.zeros((*larger, 3), np.uint8)
        padded[top : top + rows, left : left + columns] = pixels
        pixels, (rows, columns) = padded, larger
    top, left = (rows - height) // 2, (columns - width) // 2
    return pixels[top : top + height, left : left + width]


def read_preprocessing(folder: Path) -> Preprocessing:
    """What a model folder says of its pictures.

    Raises:
        ModelError: it does not say, or says what is not known here.
    """
    path = folder / CONFIG
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(settings, dict):
            raise TypeError("it holds no JSON object")  # noqa: TRY301  # damaged in the same way
        return parse(settings)
    except FileNotFoundError as error:
        raise ModelError(
            f"{folder} does not say how pictures are prepared for the model: no {CONFIG}",
            hint="copy it from the model's original; without it size, mean and order of colours would be guessed",
        ) from error
    except (OSError, ValueError, TypeError) as error:
        raise ModelError(f"{path} cannot be used: {error}", hint="copy it from the model's original") from error
    except KeyError as error:
        raise ModelError(f"{path} lacks {error}", hint="copy it from the model's original") from error


def parse(settings: Mapping[str, Any]) -> Preprocessing:
    """The same from the file's content.

    Raises:
        ValueError, TypeError, KeyError: it is incomplete, or asks for what is not known here.
    """
    kind = str(settings.get("image_processor_type", ""))
    if settings.get("do_pad"):
        raise ValueError("do_pad is not known here")
    resize, crop = _sizes(settings, convnext=kind.startswith("ConvNext"))
    mean, std = _normalisation(settings, efficientnet=kind.startswith("EfficientNet"))
    scale = float(settings["rescale_factor"]) if settings.get("do_rescale") else 1.0
    found = Preprocessing(
        resize=resize,
        resample=int(settings["resample"]) if resize is not None else 0,
        crop=crop,
        scale=scale,
        mean=mean,
        std=std,
        channels="BGR" if settings.get("do_flip_channel_order") else "RGB",
    )
    if crop is None and not isinstance(resize, tuple):
        raise ValueError("it gives pictures of no one size: neither height and width nor a crop")
    return found


def _sizes(
    settings: Mapping[str, Any], *, convnext: bool
) -> tuple[tuple[int, int] | int | None, tuple[int, int] | None]:
    """Resize and crop."""
    resize: tuple[int, int] | int | None = None
    if settings.get("do_resize"):
        resize = _size(settings["size"], "size")
    crop = _size(settings["crop_size"], "crop_size") if settings.get("do_center_crop") else None
    if isinstance(crop, int):
        crop = (crop, crop)
    if convnext and isinstance(resize, int):
        if resize >= _CONVNEXT_WHOLE:
            return (resize, resize), crop
        room = int(resize / float(settings["crop_pct"]))
        return room, crop or (resize, resize)
    return resize, crop


def _size(value: Any, key: str) -> tuple[int, int] | int:
    """Height and width, or the shorter edge."""
    if isinstance(value, int):
        return (value, value)
    if isinstance(value, Mapping) and {"height", "width"} <= set(value):
        return int(value["height"]), int(value["width"])
    if isinstance(value, Mapping) and set(value) == {"shortest_edge"}:
        return int(value["shortest_edge"])
    raise ValueError(f"{key} is {value!r}; expected height and width, or shortest_edge")


def _normalisation(
    settings: Mapping[str, Any], *, efficientnet: bool
) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    """Mean and standard deviation of each channel."""
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if settings.get("do_normalize"):
        mean, std = _three(settings["image_mean"]), _three(settings["image_std"])
    if efficientnet and settings.get("rescale_offset"):
        mean = _three([value + 1 for value in mean])  # it subtracts one before the mean
    if efficientnet and settings.get("include_top"):  # its processor divides a second time
        again = _three(settings["image_std"])
        std = _three([one * other for one, other in zip(std, again, strict=True)])
    if not all(math.isfinite(value) for value in (*mean, *std)) or 0.0 in std:
        raise ValueError(f"image_mean is {mean} and image_std is {std}")
    return mean, std


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
