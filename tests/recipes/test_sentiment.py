"""The sentiment recipe's data, from a small file laid out as the package's."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from edgetune.errors import DataError
from edgetune.recipes import shipped_recipe


@pytest.fixture
def prepare(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(shipped_recipe("sentiment").folder))
    monkeypatch.delitem(sys.modules, "prepare", raising=False)
    import prepare

    monkeypatch.setattr(prepare, "HELDOUT_ROWS", 10)
    monkeypatch.setattr(prepare, "VALIDATION_ROWS", 5)
    rows = [(f"sentence  {n} .", str(n % 2), "rotten_tomatoes") for n in range(60)]
    rows += [("Sentence 1 .", "1", "rotten_tomatoes"), ("SENTENCE 2 .", "1", "rotten_tomatoes"), ("long", "0", "imdb")]
    file = tmp_path / "reviews.csv"
    with file.open("w", newline="") as lines:
        csv.writer(lines).writerows([("text", "label", "source"), *rows])
    monkeypatch.setattr(prepare, "find_file", lambda: file)
    yield prepare
    sys.modules.pop("prepare", None)


def read(path: Path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_no_sentence_is_twice_and_contradictions_are_left_out(prepare, tmp_path):
    counts = prepare.prepare(tmp_path / "data", seed=1)
    assert counts == {"heldout": 10, "validation": 5, "train": 44}
    rows = [row for name in counts for row in read(tmp_path / "data" / f"{name}.jsonl")]
    texts = [" ".join(row["text"].casefold().split()) for row in rows]
    assert len(set(texts)) == len(texts) == 59
    assert "sentence 2 ." not in texts
    assert {row["label"] for row in rows} == {"negative", "positive"}


def test_the_split_depends_on_the_seed_alone(prepare, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        prepare.prepare(tmp_path / name, seed)
    held = {name: (tmp_path / name / "heldout.jsonl").read_text() for name in "abc"}
    assert held["a"] == held["b"] != held["c"]


def test_too_few_sentences_are_an_error(prepare, tmp_path, monkeypatch):
    monkeypatch.setattr(prepare, "HELDOUT_ROWS", 1000)
    with pytest.raises(DataError, match="only 59 sentences"):
        prepare.prepare(tmp_path / "data", seed=1)
