"""A picture as a model sees it: RGB, eight bits a channel, the right way up, whatever its file holds.

====================  ====================================================================
what there is         what becomes of it
====================  ====================================================================
EXIF orientation      turned as it says
grey, black and white the same value in all three channels
16 bits a channel     the upper eight; grey of 16 bits is divided by 257
32-bit integers       taken as they are where none is above 255, else refused: no one says which is white
a palette             its colours
transparency          laid over white
CMYK, YCbCr, LAB      converted to RGB by Pillow
several frames        the first
====================  ====================================================================
"""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgetune.errors import DataError
from edgetune.extras import require

if TYPE_CHECKING:
    from PIL.Image import Image

#: What can be opened: a file, its bytes, a picture of Pillow's, or an array of shape (height, width, 3), RGB, uint8.
Source = Path | str | bytes | NDArray[np.uint8] | Any
#: More pixels than this are refused: a file of a few kilobytes can claim any number. Pillow's own limit.
MOST_PIXELS = 89_478_485
_EXTRA = {"extra": "images", "needed_for": "reading images"}
#: Modes in which Pillow gives one number of more than eight bits a pixel.
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I")
#: Pillow's formats whose pictures have that mode only where their files have 16 bits.
_SIXTEEN = ("PNG", "PPM")


def open_image(source: Source, name: str | None = None) -> Image:
    """A picture of mode RGB.

    Args:
        source: see :data:`Source`.
        name: what messages call it; default: its path.

    Raises:
        DataError: no such file, not a picture, damaged, or too large.
        MissingExtra: Pillow is not installed.
    """
    pillow: Any = require("PIL.Image", **_EXTRA)
    if isinstance(source, np.ndarray):
        return _of_array(pillow, source, name or "the array")
    if isinstance(source, pillow.Image):
        return to_rgb(source, name or "the image")
    if not isinstance(source, bytes | str | os.PathLike):
        raise DataError(
            f"{name or 'the image'} is {type(source).__name__}, not an image",
            hint="give a path, a file's bytes, a picture of Pillow's, or an array (height, width, 3)",
        )
    said = name or ("the image" if isinstance(source, bytes) else str(source))
    content = source if isinstance(source, bytes) else _read(Path(source), said)
    return to_rgb(_decoded(pillow, content, said), said)


def longer_side(path: Path) -> int:
    """Pixels of an image's longer side, of a file that could be opened before; only its header is read."""
    with require("PIL.Image", **_EXTRA).open(path) as image:
        side: int = max(image.size)
    return side


def to_rgb(image: Image, name: str = "the image") -> Image:
    """A picture of Pillow's, as the table above says.

    Raises:
        DataError: its values have no range that is known.
    """
    ops: Any = require("PIL.ImageOps", **_EXTRA)
    turned = ops.exif_transpose(image)
    if turned.mode in _DEEP:
        return _of_deep(turned, name, sixteen=image.format in _SIXTEEN)
    if turned.mode == "F":
        raise DataError(
            f"{name} holds floating-point values, whose range is not known", hint="save it with 8 bits a channel"
        )
    if turned.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in turned.info:
        own = turned.convert("RGBA")
        white = require("PIL.Image", **_EXTRA).new("RGBA", own.size, "white")
        white.alpha_composite(own)
        turned = white
    found: Image = turned.convert("RGB")
    return found


def _read(path: Path, name: str) -> bytes:
    try:
        return path.expanduser().read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"no such image: {name}", hint="check the path") from error
    except OSError as error:
        raise DataError(f"cannot read the image {name}: {error.strerror}", hint="give a file you may read") from error


def _decoded(pillow: Any, content: bytes, name: str) -> Image:
    """Read whole, so that a file that ends too early is seen here."""
    if not content:
        raise DataError(f"{name} is empty", hint="copy the image again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; what is too large is asked below
            image: Image = pillow.open(io.BytesIO(content))
            _require_room(image, name)
            image.load()
    except pillow.DecompressionBombError as error:
        raise _too_large(name) from error
    except pillow.UnidentifiedImageError as error:
        raise DataError(
            f"{name} is not an image that Pillow can read", hint="give a PNG, JPEG, WebP, BMP, GIF or TIFF file"
        ) from error
    except DataError:
        raise
    except Exception as error:  # Pillow's readers raise OSError, SyntaxError, ValueError, struct.error, and more
        first = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{name} is a damaged image: {first}", hint="copy it again, or leave it out") from error
    return image


def _require_room(image: Image, name: str) -> None:
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(name, f": {image.width} x {image.height}")


def _too_large(name: str, size: str = "") -> DataError:
    return DataError(
        f"{name} has more than {MOST_PIXELS / 1e6:.0f} million pixels{size}", hint="scale it down, or leave it out"
    )


def _of_deep(image: Image, name: str, *, sixteen: bool) -> Image:
    """Grey of up to 32 bits: 16 are scaled to eight, and integers that fit into eight are taken as they are.

    Args:
        image: one number a pixel.
        name: what messages call it.
        sixteen: its file has 16 bits, however dark the picture is.

    Raises:
        DataError: integers of 32 bits that do not fit into eight: scaled by their own largest, pictures of one camera
            would differ by one bright pixel.
    """
    pillow: Any = require("PIL.Image", **_EXTRA)
    values = np.asarray(image).astype(np.int64)
    if image.mode == "I" and not sixteen:
        if values.max(initial=0) > 255:
            raise DataError(
                f"{name} holds integers of 32 bits above 255, and nothing says which of them is white",
                hint="save it with 8 bits a channel, or as a PNG with 16",
            )
        scaled = values.clip(0)
    else:
        scaled = np.rint(values.clip(0, 65535) / 257)
    grey: Image = pillow.fromarray(scaled.astype(np.uint8), "L")
    return grey.convert("RGB")


def _of_array(pillow: Any, array: NDArray[Any], name: str) -> Image:
    if (
        array.dtype != np.uint8
        or array.ndim not in (2, 3)
        or (array.ndim == 3 and array.shape[2] != 3)
        or not array.size
    ):
        raise DataError(
            f"{name} is of type {array.dtype} and shape {array.shape}",
            hint="give uint8 of shape (height, width, 3), red first; OpenCV has blue first: frame[:, :, ::-1]",
        )
    found: Image = pillow.fromarray(np.ascontiguousarray(array))
    return found.convert("RGB")
