"""Rows of images from folders, files of paths, and data sets; what is wrong with one is told with its place."""

from __future__ import annotations

import json

import pytest
from PIL import Image
from tinyimages import picture, write_pictures

from edgetune.data.pictures import SUFFIXES, Album, changed_images, load_images, placed
from edgetune.data.reading import load_rows
from edgetune.data.splitting import find_leaks
from edgetune.errors import DataError

COLUMNS = {"image": "image", "label": "label"}


def load(source, tmp_path, **columns):
    return load_images(str(source), COLUMNS | columns, tmp_path / "scratch")


def labels(loaded):
    return [row.messages[1]["content"] for row in loaded.raise_on_problems().rows]


def test_a_folder_for_each_class(tmp_path):
    folder = write_pictures(tmp_path / "photos", 6)
    (folder / "red" / "deeper").mkdir()
    picture(9).save(folder / "red" / "deeper" / "x.JPG", "JPEG")
    for litter in (".DS_Store", "Thumbs.db"):
        (folder / "red" / litter).write_text("x")
    (folder / "empty").mkdir()
    (folder / "red" / "notes.md").write_text("x")
    (folder / "read me.txt").write_text("x")
    found = load(folder, tmp_path)
    assert labels(found) == ["blue"] * 3 + ["red"] * 4
    assert found.reason == "as given; 3 folders, one for each class"
    told = [str(problem) for problem in found.warnings]
    assert told == [
        f"{folder}/empty: holds no images, so there is no such class",
        f"{folder}/red/notes.md: is not taken for an image: its name ends in none of {', '.join(SUFFIXES)}",
    ]


def test_a_folder_without_folders_says_what_was_expected(tmp_path):
    (tmp_path / "photos").mkdir()
    picture(1).save(tmp_path / "photos" / "1.png")
    with pytest.raises(DataError, match="holds no folders: expected one for each class"):
        load(tmp_path / "photos", tmp_path)


def test_a_file_of_paths_relative_to_itself_with_its_own_columns(tmp_path):
    write_pictures(tmp_path / "deep" / "photos", 2)
    (tmp_path / "deep" / "rows.csv").write_text("file;kind\nphotos/blue/000.png;0\nphotos/red/001.png;1\n")
    found = load(tmp_path / "deep" / "rows.csv", tmp_path, image="file", label="kind")
    assert labels(found) == ["0", "1"]
    assert found.rows[0].messages[0]["content"] == str(tmp_path / "deep" / "photos" / "blue" / "000.png")


def test_every_image_that_cannot_be_used_is_named_with_its_line(tmp_path):
    picture(1).save(tmp_path / "good.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    (tmp_path / "text.png").write_text("no image")
    rows = [
        ("good.png", "a"),
        ("cut.png", "a"),
        ("text.png", "b"),
        ("gone.png", "b"),
        ("good.png", ""),
        ("", "a"),
        (3, "a"),
    ]
    lines = [json.dumps({"image": image, "label": label}) for image, label in rows]
    (tmp_path / "rows.jsonl").write_text("\n".join([*lines, '{"label": "a"}']) + "\n")
    with pytest.raises(DataError) as error:
        load(tmp_path / "rows.jsonl", tmp_path).raise_on_problems()
    told = [problem.rpartition("rows.jsonl:")[2] for problem in error.value.problems]
    assert [one.split(":")[0] for one in told] == ["2", "3", "4", "5", "6", "7", "8"]
    assert told[0].startswith("2: cut.png is a damaged image")
    assert told[1:] == [
        "3: text.png is not an image that Pillow can read",
        "4: no such image: gone.png",
        "5: 'label' is empty",
        "6: 'image' is empty",
        "7: 'image' is int, not text",
        "8: lacks the keys image+label (it has: 'label')",
    ]
    assert error.value.hint.endswith("--format images lists them all")


def test_a_datasets_folder_keeps_its_images_and_the_names_of_its_classes(tmp_path):
    import datasets

    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["blue", "red"])})
    rows = {"image": [picture(n) for n in range(4)], "label": [n % 2 for n in range(4)]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "set")
    found = load(tmp_path / "set", tmp_path)
    assert labels(found) == ["blue", "red", "blue", "red"]
    assert Image.open(found.rows[0].messages[0]["content"]).size == (40, 30)


def test_the_copies_are_named_by_content_so_a_leak_shows_wherever_it_lies(tmp_path):
    folder = write_pictures(tmp_path / "a", 4)
    write_pictures(tmp_path / "b", 2, start=2)
    for file in (tmp_path / "b").rglob("*.png"):
        file.rename(file.with_suffix(".jpeg"))  # whatever its ending
    album = Album()
    train, heldout = (album.named(load(tmp_path / name, tmp_path).rows) for name in "ab")
    assert [leak.kind for leak in find_leaks(train, heldout)] == ["row", "row"]
    album.write(tmp_path / "data", [*train, *heldout])
    assert len(list((tmp_path / "data" / "images").iterdir())) == 4
    for row in placed(train, tmp_path / "data"):
        assert Image.open(row.messages[0]["content"]).size == (40, 30)
    assert changed_images(tmp_path / "data") == []
    first = tmp_path / "data" / train[0].messages[0]["content"]
    first.write_bytes((folder / "red" / "001.png").read_bytes())
    assert changed_images(tmp_path / "data") == [f"{first}: changed since the run was prepared"]


def test_rows_of_images_are_never_taken_for_conversations(tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"image": "a.png", "label": "cat"}\n')
    assert load_rows(tmp_path / "rows.jsonl").format is None
