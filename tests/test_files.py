"""A target is whole, old or new, whatever goes wrong while it is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgetune import files


def folder_with(path: Path, text: str) -> Path:
    path.mkdir()
    (path / "file").write_text(text)
    return path


def test_a_folder_replaces_a_folder(tmp_path):
    target = folder_with(tmp_path / "artifact", "old")
    with files.atomic_path(target) as temporary:
        folder_with(temporary, "new")

    assert (target / "file").read_text() == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_a_failing_body_keeps_what_was_there(tmp_path):
    target = folder_with(tmp_path / "artifact", "old")

    def write():
        with files.atomic_path(target) as temporary:
            folder_with(temporary, "half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_an_interruption_between_the_two_renames_puts_the_old_folder_back(tmp_path, monkeypatch):
    target = folder_with(tmp_path / "artifact", "old")
    rename = Path.rename
    renamed = []

    def interrupted(self, to):
        renamed.append(to)
        if len(renamed) == 2:
            raise KeyboardInterrupt
        return rename(self, to)

    def write():
        with files.atomic_path(target) as temporary:
            folder_with(temporary, "new")
            monkeypatch.setattr(Path, "rename", interrupted)

    with pytest.raises(KeyboardInterrupt):
        write()
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]
