"""Small changes to training pictures, drawn anew for each pass, so that a model learns what does not matter.

A change depends on the seed, the pass and the picture alone: a resumed training sees what an uninterrupted one would.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetune.extras import require


@dataclass(frozen=True)
class Augmentation:
    """How far pictures are changed; the default is not at all.

    Attributes:
        shift: at most this share of the width and of the height, to any side.
        rotate: at most so many degrees, either way.
        zoom: scaled by a factor between 1 - zoom and 1 + zoom.
        flip: mirrored, left to right, every second time.
        brightness: multiplied by a factor between 1 - brightness and 1 + brightness.
        contrast: the distance from the mean grey is multiplied by a factor between 1 - contrast and 1 + contrast.
    """

    shift: float = 0.0
    rotate: float = 0.0
    zoom: float = 0.0
    flip: bool = False
    brightness: float = 0.0
    contrast: float = 0.0

    @property
    def moves(self) -> bool:
        """Whether pixels change their places, mirroring aside."""
        return bool(self.shift or self.rotate or self.zoom)

    def __bool__(self) -> bool:
        """Whether anything is changed."""
        return self != Augmentation()

    def apply(self, frame: NDArray[np.uint8], draw: np.random.Generator) -> NDArray[np.uint8]:
        """A changed copy of a picture: (height, width, 3), as before."""
        # Every draw is made, wanted or not: one setting does not change what another draws.
        sides, angle, factor, mirrored, light, spread = (draw.uniform(-1, 1, n) for n in (2, 1, 1, 1, 1, 1))
        if self.flip and mirrored[0] < 0:
            frame = frame[:, ::-1]
        if self.moves:
            frame = _moved(frame, sides * self.shift, float(angle[0]) * self.rotate, 1 + float(factor[0]) * self.zoom)
        if self.brightness or self.contrast:
            frame = _lit(frame, 1 + float(light[0]) * self.brightness, 1 + float(spread[0]) * self.contrast)
        return frame


def drawing(seed: int, visit: int, number: int) -> np.random.Generator:
    """The draws for one picture in one pass."""
    return np.random.default_rng((seed, visit, number))


def _moved(frame: NDArray[np.uint8], shift: NDArray[np.float64], degrees: float, zoom: float) -> NDArray[np.uint8]:
    """Turned and scaled around the middle, then shifted; what comes in from outside repeats the edge."""
    pillow = require("PIL.Image", extra="images", needed_for="changing training images")
    height, width = frame.shape[:2]
    room = (height + width) // 4
    padded = pillow.fromarray(np.pad(frame, ((room, room), (room, room), (0, 0)), mode="edge"))
    cosine, sine = (function(math.radians(degrees)) / zoom for function in (math.cos, math.sin))
    # Pillow asks where each pixel of the result comes from: (x, y) -> (a x + b y + c, d x + e y + f).
    right, down = width * (0.5 + shift[0]), height * (0.5 + shift[1])
    left = width / 2 + room - cosine * right - sine * down
    top = height / 2 + room + sine * right - cosine * down
    numbers = (cosine, sine, left, -sine, cosine, top)
    found = padded.transform((width, height), pillow.Transform.AFFINE, numbers, pillow.Resampling.BILINEAR)
    return np.asarray(found, np.uint8)


def _lit(frame: NDArray[np.uint8], brightness: float, contrast: float) -> NDArray[np.uint8]:
    values = frame.astype(np.float32) * brightness
    grey = values.mean()
    found: NDArray[np.uint8] = np.rint((values - grey) * contrast + grey).clip(0, 255).astype(np.uint8)
    return found
