"""Plain text in passages."""

from __future__ import annotations

import pytest

from edgetune.errors import DataError
from edgetune.general.passages import LONGEST, SHORTEST, cut, read_passages


def test_paragraphs_are_joined_until_they_are_long_enough():
    paragraph = "word " * 50
    passages = cut("\n\n".join([paragraph] * 7))
    assert len(passages) == 3
    assert all(len(one.opening + one.rest) >= SHORTEST for one in passages[:2])
    assert [one.row for one in passages] == [0, 1, 2]


def test_a_long_paragraph_is_cut_at_a_word():
    (passage,) = cut("abcdefg " * 500)
    assert len(passage.opening + passage.rest) <= LONGEST
    assert passage.rest.endswith(" abcdefg")


def test_nothing_to_predict_is_no_passage():
    assert cut("word") == ()
    assert cut(" \n\n ") == ()


def test_python_carries_enough_text(tmp_path):
    found = read_passages(None)
    assert len(found.passages) > 100
    assert "Python" in found.name
    (tmp_path / "own.txt").write_text("Some words of my own.")
    assert len(read_passages(tmp_path / "own.txt").passages) == 1
    with pytest.raises(DataError, match="cannot read"):
        read_passages(tmp_path / "none.txt")
