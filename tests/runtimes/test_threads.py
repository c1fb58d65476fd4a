import os

import pytest

from edgetune.runtimes.threads import default_threads


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Four physical cores with two hardware threads each; all may be used."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for cpu in range(8):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "thread_siblings_list").write_text(f"{cpu % 4},{cpu % 4 + 4}\n")
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice/job\n")
    (tmp_path / "sys/fs/cgroup/user.slice/job").mkdir(parents=True)
    return tmp_path


def count(machine):
    return default_threads(machine / "sys", machine / "proc")


def test_hardware_threads_count_once(machine):
    assert count(machine) == 4


def test_affinity_is_respected(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 1}, raising=False)
    assert count(machine) == 2


@pytest.mark.parametrize(
    ("own", "parent", "expected"), [("max 100000", None, 4), ("250000 100000", None, 2), ("max 1", "150000 100000", 1),
                                    ("50000 100000", None, 1), ("900000 100000", "300000 100000", 3)],
)  # fmt: skip
def test_the_smallest_quota_on_the_way_up_counts(machine, own, parent, expected):
    (machine / "sys/fs/cgroup/user.slice/job/cpu.max").write_text(own)
    if parent:
        (machine / "sys/fs/cgroup/user.slice/cpu.max").write_text(parent)
    assert count(machine) == expected


def test_an_unreadable_machine_still_gets_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert default_threads(tmp_path, tmp_path) == 3
