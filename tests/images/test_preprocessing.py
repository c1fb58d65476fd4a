"""The numbers are those of transformers' own processors, for every family, and round-trip through the file."""

from __future__ import annotations

import json

import numpy as np
import pytest
import transformers
from PIL import Image

from edgetune.errors import DataError, ModelError
from edgetune.images.preprocessing import CONFIG, Preprocessing, parse, read_preprocessing
from edgetune.models.image_processor import checked_preprocessing, open_processor

SMALL = Preprocessing(36, 2, (32, 32), 1 / 255, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PROCESSORS = {
    "ViT": ("ViTImageProcessor", {"size": {"height": 32, "width": 24}}),
    "ViT without normalising": ("ViTImageProcessor", {"size": {"height": 32, "width": 24}, "do_normalize": False}),
    "MobileNetV2": (
        "MobileNetV2ImageProcessor",
        {"size": {"shortest_edge": 40}, "crop_size": {"height": 31, "width": 32}},
    ),
    "ConvNeXT": ("ConvNextImageProcessor", {"size": {"shortest_edge": 32}, "crop_pct": 0.875}),
    "ConvNeXT, large": ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
    "EfficientNet": ("EfficientNetImageProcessor", {"size": {"height": 40, "width": 40}}),
    "EfficientNet, offset": (
        "EfficientNetImageProcessor",
        {
            "size": {"height": 40, "width": 40},
            "rescale_offset": True,
            "rescale_factor": 1 / 127.5,
            "include_top": False,
        },
    ),
    "DeiT": ("DeiTImageProcessor", {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}}),
    "BiT": ("BitImageProcessor", {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}),
    "larger crop": ("BitImageProcessor", {"size": {"shortest_edge": 20}, "crop_size": {"height": 33, "width": 32}}),
}


def write(folder, settings):
    folder.mkdir(exist_ok=True)
    (folder / CONFIG).write_text(json.dumps(settings))
    return folder


def pictures():
    random = np.random.default_rng(3)
    return [Image.fromarray(random.integers(0, 256, (h, w, 3), np.uint8)) for h, w in ((50, 41), (28, 28), (19, 90))]


@pytest.mark.parametrize(("kind", "settings"), PROCESSORS.values(), ids=PROCESSORS)
def test_the_numbers_are_those_of_transformers(tmp_path, kind, settings):
    folder = write(tmp_path / "m", {"image_processor_type": kind, **settings})
    own, theirs = checked_preprocessing(folder), open_processor(folder)
    for picture in pictures():
        assert np.allclose(own.pixels(picture), theirs(picture), atol=2e-5)


@pytest.mark.parametrize("kind", ["ViTImageProcessor", "MobileNetV2ImageProcessor", "ConvNextImageProcessor"])
def test_a_file_that_transformers_wrote_is_understood(tmp_path, kind):
    getattr(transformers, f"{kind}Pil")().save_pretrained(tmp_path)
    assert checked_preprocessing(tmp_path).size[0] >= 224


@pytest.mark.parametrize(("kind", "settings"), PROCESSORS.values(), ids=PROCESSORS)
def test_what_is_written_out_is_the_same_for_both(tmp_path, kind, settings):
    own = checked_preprocessing(write(tmp_path / "base", {"image_processor_type": kind, **settings}))
    folder = write(tmp_path / "m", own.to_config())
    assert read_preprocessing(folder) == own
    theirs = open_processor(folder)
    for picture in pictures():
        assert np.allclose(own.pixels(picture), theirs(picture), atol=2e-5)


def test_a_processor_that_does_more_is_refused(tmp_path, monkeypatch):
    folder = write(tmp_path / "m", SMALL.to_config())
    checked_preprocessing(folder)
    monkeypatch.setattr(Preprocessing, "normalise", lambda self, frames: np.moveaxis(frames, -1, -3) / 255)
    with pytest.raises(ModelError, match="transformers makes other numbers of it"):
        checked_preprocessing(folder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ("{", "cannot be used"),
        ("[]", "holds no JSON object"),
        ({"size": {"longest_edge": 3}}, "expected height and width, or shortest_edge"),
        ({"do_center_crop": False}, "pictures of no one size"),
        ({"image_std": [0, 1, 1]}, "image_std"),
        ({"image_mean": [0.5]}, "cannot be used"),
        ({"image_mean": None}, "cannot be used"),
        ({"do_pad": True}, "do_pad is not known"),
        ({"do_resize": None, "do_center_crop": None}, "pictures of no one size"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, settings, message):
    whole = settings if isinstance(settings, str) else json.dumps(SMALL.to_config() | settings)
    (tmp_path / CONFIG).write_text(whole)
    with pytest.raises(ModelError, match=message):
        read_preprocessing(tmp_path)


def test_a_missing_value_is_not_guessed(tmp_path):
    settings = SMALL.to_config()
    del settings["image_mean"]
    with pytest.raises(ModelError, match="lacks 'image_mean'"):
        read_preprocessing(write(tmp_path, settings))


def test_a_folder_without_the_file_is_told_why_it_is_needed(tmp_path):
    with pytest.raises(ModelError, match="does not say how pictures are prepared") as error:
        read_preprocessing(tmp_path)
    assert "would be guessed" in error.value.hint


def test_another_size_sees_the_same_part():
    assert SMALL.for_size(64).size == (64, 64)
    assert SMALL.for_size(64).resize == 72
    assert Preprocessing((40, 40), 2, None, 1.0, SMALL.mean, SMALL.std).for_size(20).size == (20, 20)
    square = Preprocessing((40, 40), 2, (32, 32), 1.0, SMALL.mean, SMALL.std).for_size(16)
    assert (square.resize, square.crop) == ((20, 20), (16, 16))


def test_blue_first_swaps_the_channels():
    from dataclasses import replace

    plain = replace(SMALL, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    red = Image.new("RGB", (40, 40), (255, 0, 0))
    assert plain.pixels(red).mean((1, 2)).tolist() == [1.0, 0.0, 0.0]
    assert replace(plain, channels="BGR").pixels(red).mean((1, 2)).tolist() == [0.0, 0.0, 1.0]
    assert parse(replace(plain, channels="BGR").to_config()).channels == "BGR"


def test_a_ribbon_is_refused_before_it_fills_the_memory():
    with pytest.raises(DataError, match="is too narrow: resized it would be"):
        SMALL.frame(Image.new("RGB", (200_000, 1)))
