"""A target is whole, old or new, whatever goes wrong while it is written."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgetune import console, files
from edgetune.errors import InUse


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


DIE = """
import os, signal
from pathlib import Path
from edgetune import files
place, target = {place!r}, Path({target!r})
rename = Path.rename
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
def second(self, to):
    rename(self, to)
    die()
with files.atomic_path(target) as temporary:
    temporary.mkdir()
    (temporary / "file").write_text("new")
    if place == "while writing":
        die()
    Path.rename = second
"""


def killed(target, place):
    done = subprocess.run([sys.executable, "-c", DIE.format(place=place, target=str(target))], check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = (p for p in target.parent.iterdir() if p.name.startswith("."))
    return left


def test_what_a_killed_process_left_goes_with_the_next_write(tmp_path):
    left = killed(tmp_path / "artifact", "while writing")
    files.write_text(tmp_path / "other", "text")
    assert not left.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


def test_a_folder_set_aside_by_a_killed_process_comes_back(tmp_path):
    target = folder_with(tmp_path / "artifact", "old")
    killed(target, "between the renames")
    assert not target.exists()
    files.sweep(tmp_path)
    assert (target / "file").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["artifact"]


def test_what_a_living_process_writes_is_spared(tmp_path):
    with files.atomic_path(tmp_path / "artifact") as temporary:
        folder_with(temporary, "first")
        files.write_text(tmp_path / "artifact.json", "{}")
        files.sweep(tmp_path)
        assert (temporary / "file").read_text() == "first"
    assert (tmp_path / "artifact" / "file").read_text() == "first"


def test_only_our_own_temporaries_are_swept(tmp_path):
    for name in (".artifact.old_data", ".artifact.edgetune", "artifact.edgetune-abcdefgh", ".artifact.former"):
        (tmp_path / name).mkdir()
    files.sweep(tmp_path)
    assert len(list(tmp_path.iterdir())) == 4


def test_a_sweep_between_making_and_locking_costs_nothing(tmp_path, monkeypatch):
    real, swept = files.tempfile.mkdtemp, []

    def made(**options):
        folder = real(**options)
        if not swept:
            swept.append(folder)
            files.sweep(tmp_path)
        return folder

    monkeypatch.setattr(files.tempfile, "mkdtemp", made)
    files.write_text(tmp_path / "file", "text")
    assert not Path(swept[0]).exists()
    assert (tmp_path / "file").read_text() == "text"


def test_where_folders_cannot_be_locked_nothing_is_swept(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EBADF, "Bad file descriptor")  # NFS, of a folder

    left = killed(tmp_path / "artifact", "while writing")
    monkeypatch.setattr("fcntl.flock", refused)
    files.write_text(tmp_path / "file", "text")
    assert left.exists()
    assert (tmp_path / "file").read_text() == "text"


def test_names_are_on_the_disk_before_the_former_content_goes(tmp_path, monkeypatch):
    """Contents first, then the rename, then the folder that holds the new name, and only then the former folder."""
    events, real_sync, real_rmtree = [], os.fsync, shutil.rmtree

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append(f"sync {path.relative_to(tmp_path).name}, {'new' if new_is_in_place() else 'old'}")
        real_sync(descriptor)

    def rmtree(*args, **options):
        events.append("remove")
        real_rmtree(*args, **options)

    def new_is_in_place():
        return (target / "file").exists() and (target / "file").read_text() == "new"

    target = folder_with(tmp_path / "artifact", "old")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with files.atomic_path(target) as temporary:
        folder_with(temporary, "new")
    assert events == ["sync file, old", "sync artifact, old", "sync , new", "remove"]


def refuse(holder):
    raise InUse(holder)


def test_a_lock_is_held_by_one_and_leaves_nothing(tmp_path):
    lock = tmp_path / "new" / ".run.lock"
    with files.locked(lock, refuse):
        with pytest.raises(InUse, match=f"process {os.getpid()} on "), files.locked(lock, refuse):
            raise AssertionError
        assert lock.exists()
    assert not lock.exists()
    with files.locked(lock, refuse):
        pass


def test_a_lock_ends_with_a_killed_process(tmp_path):
    lock = tmp_path / ".run.lock"
    hold = f"""
import time
from pathlib import Path
from edgetune import files
with files.locked(Path({str(lock)!r}), print):
    print("held", flush=True)
    time.sleep(600)
"""
    with subprocess.Popen([sys.executable, "-c", hold], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(InUse, match=f"process {child.pid} on "), files.locked(lock, refuse):
            raise AssertionError
        child.kill()
        child.wait()
        with files.locked(lock, refuse):
            assert lock.read_text().startswith(f"process {os.getpid()} ")
    assert not lock.exists()


def test_who_may_wait_gets_the_lock_after_the_other_removed_it(tmp_path):
    lock, order, busy = tmp_path / ".run.lock", [], threading.Event()

    def wait():
        with files.locked(lock, lambda _: busy.set()):
            order.append("second")
            with pytest.raises(InUse), files.locked(lock, refuse):
                raise AssertionError

    with files.locked(lock, refuse):
        thread = threading.Thread(target=wait)
        thread.start()
        assert busy.wait(30)
        order.append("first")
    thread.join(30)
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_where_there_are_no_locks_work_goes_on(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refused)
    with files.locked(tmp_path / ".run.lock", refuse):
        pass
    assert list(tmp_path.iterdir()) == []


def test_hashing_shows_a_bar(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(console, "SHOW_AFTER_SECONDS", 0.0)
    monkeypatch.setattr(console, "LOG_EVERY_SECONDS", 0.0)
    (tmp_path / "model").write_bytes(b"x" * 2_500_000)
    assert files.sha256_file(tmp_path / "model") == hashlib.sha256(b"x" * 2_500_000).hexdigest()
    assert "Hashing model: 1/2 MB (42%)" in capsys.readouterr().err
