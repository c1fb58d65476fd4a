"""What memory is available: of the machine, and of the control groups that a process is in."""

from __future__ import annotations

import pytest

from edgetune.memory import available_memory


@pytest.fixture
def places(tmp_path):
    """A /proc of a machine with 5,000 kB available, and control groups."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    (tmp_path / "proc" / "meminfo").write_text("MemTotal: 9000 kB\nMemAvailable: 5000 kB\n")
    return tmp_path / "proc", tmp_path / "groups"


def limit(folder, names, size, used):
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in zip(names, (size, used), strict=True):
        (folder / name).write_text(f"{value}\n")
    (folder / "memory.stat").write_text("anon 1\nactive_file 50000\ninactive_file 100000\n")


@pytest.mark.parametrize(
    ("line", "place", "names"),
    [
        ("0::/pod/job", "pod", ("memory.max", "memory.current")),
        ("0::/pod/job", "pod/job", ("memory.max", "memory.current")),
        ("0::/seen/from/outside", "", ("memory.max", "memory.current")),
        ("4:memory:/pod/job", "memory/pod/job", ("memory.limit_in_bytes", "memory.usage_in_bytes")),
    ],
)
def test_it_is_what_the_machine_and_its_containers_leave(places, line, place, names):
    proc, groups = places
    (proc / "self" / "cgroup").write_text(f"{line}\n")
    assert available_memory(proc, groups) == 5_120_000
    limit(groups / place, names, 1_000_000, 400_000)
    assert available_memory(proc, groups) == 750_000
    limit(groups / place, names, "max", 400_000)
    assert available_memory(proc, groups) == 5_120_000


def test_where_nobody_says_it_is_not_known(tmp_path):
    assert available_memory(tmp_path, tmp_path) is None
