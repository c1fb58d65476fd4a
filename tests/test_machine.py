"""The machine, read from fake kernel files, and the real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgetune.machine import peak_rss, this_machine

GB = 1024 * 1024  # kB


@pytest.fixture
def fake(tmp_path):
    """A /proc and a cgroup folder to write into."""
    proc, cgroup = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    cgroup.mkdir()
    (proc / "meminfo").write_text(f"MemTotal: {16 * GB} kB\nMemFree: {GB} kB\nMemAvailable: {8 * GB} kB\n")
    (proc / "cpuinfo").write_text("model name\t: A CPU: fast\nflags\t\t: fpu avx2 avx512_bf16 amx_int8 unheard_of\n")
    (proc / "self/cgroup").write_text("0::/\n")
    return proc, cgroup


def test_memory(fake):
    machine = this_machine(*fake)
    assert machine.memory_total == 16 * 2**30
    assert machine.memory_available == 8 * 2**30
    assert machine.memory_limit is None


@pytest.mark.parametrize(
    ("cpuinfo", "features"),
    [
        ("flags : fpu avx2 avx512_bf16 amx_int8", ("AVX2", "AVX-512 BF16", "AMX INT8")),
        ("Features : fp asimd asimddp i8mm", ("NEON", "NEON dot product", "NEON INT8 matrix")),
        ("", ()),
    ],
)
def test_features(fake, cpuinfo, features):
    (fake[0] / "cpuinfo").write_text(cpuinfo)
    assert this_machine(*fake).features == features


def test_processor_name_may_hold_a_colon(fake):
    assert this_machine(*fake).processor == "A CPU: fast"


def test_smallest_limit_on_the_way_to_the_root_counts(fake):
    proc, cgroup = fake
    (proc / "self/cgroup").write_text("0::/pod/container\n")
    (cgroup / "pod/container").mkdir(parents=True)
    (cgroup / "pod/memory.max").write_text("1000\n")
    (cgroup / "pod/container/memory.max").write_text("max\n")
    assert this_machine(*fake).memory_limit == 1000


@pytest.mark.parametrize(("written", "limit"), [("5000\n", 5000), ("9223372036854771712\n", None)])
def test_version_1_limit(fake, written, limit):
    (fake[1] / "memory").mkdir()
    (fake[1] / "memory/memory.limit_in_bytes").write_text(written)
    assert this_machine(*fake).memory_limit == limit


def test_the_limit_of_this_process_s_own_group_of_version_1(fake):
    proc, cgroup = fake
    (proc / "self/cgroup").write_text("9:cpu:/elsewhere\n4:memory:/pod/container\n")
    for folder, limit in (("pod/container", 9223372036854771712), ("pod", 7000), ("elsewhere", 10), ("", 8000)):
        (cgroup / "memory" / folder).mkdir(parents=True, exist_ok=True)
        (cgroup / "memory" / folder / "memory.limit_in_bytes").write_text(f"{limit}\n")
    assert this_machine(*fake).memory_limit == 7000


def test_a_system_without_these_files(tmp_path):
    machine = this_machine(tmp_path / "no-proc", tmp_path / "no-cgroup")
    assert machine.memory_total is None
    assert machine.features == ()
    assert machine.cores >= machine.usable_cores >= 1


def test_this_one():
    machine = this_machine()
    assert machine.cores >= machine.threads >= 1
    assert machine.disk_free > 0


def test_peak_memory(fake):
    proc, _ = fake
    (proc / "self/status").write_text("Name:\tx\nVmHWM:\t  2000 kB\nVmRSS:\t 500 kB\n")
    assert peak_rss(proc / "self") == 2_048_000
    assert peak_rss(proc / "no such process") > 1e7, "by getrusage elsewhere"


def test_the_peak_is_not_the_parents():
    """getrusage keeps the largest of the parent's image too, where a process is forked and executes another program."""
    script = "import subprocess, sys; x = b'x' * 300_000_000; subprocess.run([sys.executable, *sys.argv[1:]])"
    child = "from edgetune.machine import peak_rss; print(peak_rss())"
    done = subprocess.run([sys.executable, "-c", script, "-c", child], capture_output=True, text=True, check=True)
    assert 1e6 < int(done.stdout) < 150e6
