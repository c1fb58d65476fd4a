"""What a source's rows are for."""

from __future__ import annotations

import pytest
from rowfiles import write_rows
from tinyimages import write_pictures

from edgetune.data import kinds, reading
from edgetune.data.initialise import write_recipe
from edgetune.data.kinds import kind_of, layout_of
from edgetune.data.reading import read_records
from edgetune.errors import DataError, WrongUsage


def rows_of(tmp_path, *rows):
    return str(write_rows(tmp_path / "rows.jsonl", rows))


def test_most_rows_decide(tmp_path):
    classed = [{"text": f"text {n}", "label": "a"} for n in range(5)]
    some = rows_of(tmp_path, *classed, {"text": "no class", "label": ""}, {"text": "none"})
    assert kind_of(some).task == "text-classification", "the check tells which rows lack one"
    assert kind_of(some).reason == "keys 'text' and 'label' in 5 of 7 rows"
    few = rows_of(tmp_path, classed[0], *({"text": f"text {n}"} for n in range(5)))
    assert kind_of(few).task == "generation"


def test_an_image_column_is_known_by_its_key_or_as_named(tmp_path):
    rows = rows_of(tmp_path, {"image": "a.png", "klass": "a"})
    assert kind_of(rows, None, {"label": "klass"}).task == "image-classification"
    assert kind_of(rows, None, {"label": "klass"}).columns == {"image": "image", "label": "klass"}
    named = kind_of(rows_of(tmp_path, {"file": "a.png", "label": "a"}), None, {"image": "file"})
    assert (named.task, named.layout) == ("image-classification", "images")


def test_a_label_alone_means_texts(tmp_path):
    assert kind_of(rows_of(tmp_path, {"body": "x", "team": "a"}), None, {"label": "team"}).task == "text-classification"


def test_folders_of_images_and_of_other_things(tmp_path):
    assert kind_of(str(write_pictures(tmp_path / "pictures", 2))).task == "image-classification"
    (tmp_path / "other" / "part").mkdir(parents=True)
    (tmp_path / "other" / "part" / "rows.jsonl").write_text("{}")
    with pytest.raises(DataError, match="not one written by save_to_disk") as caught:
        kind_of(str(tmp_path / "other"))
    assert "give a file inside it" in caught.value.hint


@pytest.mark.parametrize(
    ("task", "columns", "said"),
    [
        ("generation", {"label": "team"}, "--task generation has no --label-column"),
        ("text-classification", {"image": "file"}, "--task text-classification has no --image-column"),
        ("image-classification", {"text": "body"}, "--task image-classification has no --text-column"),
        (None, {"text": "body", "image": "file"}, "two kinds of task"),
        (None, {"text": "team", "label": "team"}, "named twice"),
    ],
)
def test_what_does_not_go_together_is_wrong_usage(tmp_path, task, columns, said):
    with pytest.raises(WrongUsage, match=said):
        kind_of(rows_of(tmp_path, {"text": "x", "label": "a"}), task, columns)


@pytest.mark.parametrize(
    ("format", "columns", "task", "layout"),
    [
        ("auto", {}, "text-classification", "labelled"),
        ("text", {}, "generation", "text"),
        ("labelled", {"label": "team"}, "text-classification", "labelled"),
        ("auto", {"image": "file"}, "image-classification", "images"),
    ],
)
def test_the_layout_that_was_said_goes_first(tmp_path, format, columns, task, layout):
    found = layout_of(rows_of(tmp_path, {"text": "x", "label": "a"}), format, columns)
    assert (found.task, found.layout) == (task, layout)


def test_what_was_read_to_know_is_not_read_again(tmp_path, monkeypatch):
    source = rows_of(tmp_path, *({"text": f"text {n}", "label": "ab"[n % 2]} for n in range(30)))
    read = []
    monkeypatch.setattr(kinds, "read_records", lambda one: read.append(one) or read_records(one))
    monkeypatch.setattr(reading, "read_records", lambda one: read.append(one) or read_records(one))
    write_recipe(source, tmp_path / "r.yaml")
    assert read == [source]


def test_a_layout_without_such_columns_is_wrong_usage(tmp_path):
    with pytest.raises(WrongUsage, match="--format text has no --label-column"):
        layout_of(rows_of(tmp_path, {"text": "x"}), "text", {"label": "team"})
