"""Whatever a file holds becomes RGB of eight bits, the right way up, or one clear message."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from edgetune.errors import DataError
from edgetune.images import opening
from edgetune.images.opening import open_image


def saved(tmp_path, image, name="it.png", **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


def corner(image):
    return tuple(int(value) for value in np.asarray(image)[0, 0])


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (3, 2), 90), (90, 90, 90)),
        (Image.new("1", (3, 2), 1), (255, 255, 255)),
        (Image.new("RGB", (3, 2), (1, 2, 3)), (1, 2, 3)),
        (Image.new("RGBA", (3, 2), (10, 20, 30, 0)), (255, 255, 255)),
        (Image.new("RGBA", (3, 2), (10, 20, 30, 255)), (10, 20, 30)),
        (Image.new("LA", (3, 2), (100, 255)), (100, 100, 100)),
        (Image.new("RGB", (3, 2), (200, 0, 7)).quantize(4), (200, 0, 7)),
        (Image.fromarray(np.full((2, 3), 40_000, np.uint16)), (156, 156, 156)),
    ],
    ids=["grey", "bit", "rgb", "clear", "opaque", "grey alpha", "palette", "16 bits"],
)
def test_every_mode_becomes_rgb(tmp_path, image, expected):
    found = open_image(saved(tmp_path, image))
    assert found.mode == "RGB"
    assert found.size == (3, 2)
    assert corner(found) == expected


def test_32_bit_integers_that_fit_into_eight_are_taken_as_they_are():
    assert corner(open_image(Image.fromarray(np.full((2, 2), 90, np.int32)))) == (90, 90, 90)
    with pytest.raises(DataError, match="integers of 32 bits above 255"):
        open_image(Image.fromarray(np.full((2, 2), 65_535, np.int32)))


@pytest.mark.parametrize("value", [200, 51_400])
def test_16_bits_are_16_bits_however_dark_the_picture(value):
    content = b"P5 2 2 65535\n" + np.full((2, 2), value, ">u2").tobytes()
    assert corner(open_image(content)) == (round(value / 257),) * 3


def test_cmyk_jpegs_and_transparent_palettes_open(tmp_path):
    assert open_image(saved(tmp_path, Image.new("CMYK", (8, 8)), "it.jpg")).mode == "RGB"
    clear = Image.new("RGB", (4, 4), (5, 5, 5)).quantize(2)
    found = open_image(saved(tmp_path, clear, "it.png", transparency=clear.getpixel((0, 0))))
    assert corner(found) == (255, 255, 255)


def test_exif_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (4, 2), "white")
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees clockwise
    found = open_image(saved(tmp_path, image, "it.png", exif=exif))
    assert found.size == (2, 4)
    assert np.asarray(found)[0, 1].tolist() == [255, 0, 0]


def test_bytes_arrays_and_the_first_frame(tmp_path):
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    path = saved(tmp_path, frames[0], "it.gif", save_all=True, append_images=frames[1:])
    assert corner(open_image(path)) == (10, 10, 10)
    assert corner(open_image(path.read_bytes())) == (10, 10, 10)
    assert corner(open_image(np.full((2, 2, 3), 7, np.uint8))) == (7, 7, 7)
    assert corner(open_image(np.full((2, 2), 7, np.uint8))) == (7, 7, 7)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello, this is a text", "is not an image that Pillow can read"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 40, "is (a damaged image|not an image)"),
    ],
)
def test_what_is_no_image_is_told(tmp_path, content, message):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(DataError, match=rf"x\.png {message}"):
        open_image(tmp_path / "x.png")


def test_a_truncated_image_is_told(tmp_path):
    stored = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(stored, "JPEG")
    (tmp_path / "x.jpg").write_bytes(stored.getvalue()[:-600])
    with pytest.raises(DataError, match=r"x\.jpg is a damaged image: .*truncated"):
        open_image(tmp_path / "x.jpg")


def test_a_missing_file_and_a_folder_are_told(tmp_path):
    with pytest.raises(DataError, match=r"no such image: .*nowhere\.png"):
        open_image(tmp_path / "nowhere.png")
    with pytest.raises(DataError, match=r"cannot read the image .*: Is a directory"):
        open_image(tmp_path)


@pytest.mark.parametrize("over", [1.0, 3.0], ids=["warned of", "refused by Pillow"])
def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path, monkeypatch, over):
    monkeypatch.setattr(opening, "MOST_PIXELS", 1000)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    path = saved(tmp_path, Image.new("L", (101, int(10 * over)), 0))
    decoded = []
    monkeypatch.setattr(Image.Image, "load", decoded.append)
    with pytest.raises(DataError, match="more than 0 million pixels"):
        open_image(path)
    assert decoded == []


def test_floating_point_values_are_refused():
    with pytest.raises(DataError, match="floating-point values"):
        open_image(Image.fromarray(np.zeros((2, 2), np.float32)))


@pytest.mark.parametrize("array", [np.zeros((2, 2, 3)), np.zeros((2, 2, 4), np.uint8), np.zeros((0, 2, 3), np.uint8)])
def test_arrays_of_another_kind_are_refused(array):
    with pytest.raises(DataError, match="is of type") as error:
        open_image(array)
    assert "OpenCV has blue first" in error.value.hint
