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


@pytest.mark.parametrize(
    ("own", "parent", "expected"), [("-1", "-1", 4), ("250000", "-1", 2), ("-1", "150000", 1), ("300000", "200000", 2)]
)
def test_quotas_of_version_1(machine, own, parent, expected):
    (machine / "proc/self/cgroup").write_text("5:cpu,cpuacct:/user.slice/job\n4:memory:/other\n1:name=systemd:/x\n")
    for folder, quota in (("cpu/user.slice/job", own), ("cpu/user.slice", parent), ("memory/other", "100000")):
        group = machine / "sys/fs/cgroup" / folder
        group.mkdir(parents=True, exist_ok=True)
        (group / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (group / "cpu.cfs_period_us").write_text("100000\n")
    assert count(machine) == expected


def test_a_container_that_sees_its_group_as_the_root(machine):
    (machine / "proc/self/cgroup").write_text("5:cpu,cpuacct:/docker/0123\n")
    (machine / "sys/fs/cgroup/cpu").mkdir()
    (machine / "sys/fs/cgroup/cpu/cpu.cfs_quota_us").write_text("150000\n")
    (machine / "sys/fs/cgroup/cpu/cpu.cfs_period_us").write_text("100000\n")
    assert count(machine) == 1


def test_an_unreadable_machine_still_gets_threads(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    assert default_threads(tmp_path, tmp_path) == 3
