"""Stored records are read whole, or refused with a reason."""

from __future__ import annotations

from typing import Literal

import pytest
from pydantic import ValidationError

from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.stored import Stored, read_if_sound, read_stored, write_stored


class Note(Stored):
    schema_version: Literal[1] = 1
    text: str


def read(path, error=EdgetuneError):
    return read_stored(path, Note, "a note", hint="write one", error=error)


def test_what_was_written_is_read(tmp_path):
    write_stored(tmp_path / "note.json", Note(text="höre"))
    assert read(tmp_path / "note.json") == Note(text="höre") == read_if_sound(tmp_path / "note.json", Note)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a note: Invalid JSON"),
        ('{"text": "a", "colour": "red"}', "is not a note: Extra inputs are not permitted"),
        ('{"text": "a", "schema_version": 2}', "is not a note: Input should be 1"),
    ],
)
def test_damage_is_told_or_passed_over(tmp_path, content, message):
    path = tmp_path / "note.json"
    path.write_text(content)
    with pytest.raises(ArtifactError, match=message) as caught:
        read(path, ArtifactError)
    assert caught.value.hint == "write one"
    assert read_if_sound(path, Note) is None


def test_one_that_is_not_there(tmp_path):
    with pytest.raises(EdgetuneError, match=r"cannot read .*gone\.json: No such file"):
        read(tmp_path / "gone.json")
    assert read_if_sound(tmp_path / "gone.json", Note) is None


def test_a_record_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Note(text="a").text = "b"
