"""The constrained host: limits that hold, verdicts with their reasons."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tinyruns import write_artifact

from edgetune.artifact import write_manifest
from edgetune.devices import constraining
from edgetune.devices.cgroup import MemoryLimit, memory_limit
from edgetune.devices.constraining import Run, Within, constrain
from edgetune.devices.device import find_device
from edgetune.devices.llama_bench import Load
from edgetune.devices.text import report_text
from edgetune.errors import EdgetuneError, ResourceError
from edgetune.files import sha256_file

QUICK = Load(8, 2, (0,), 1)


def test_a_tiny_model_fits(tiny):
    report = constrain(tiny, find_device("poco-f5"), Within(memory=10**9, context=64, load=QUICK))
    found = report.constrained
    assert report.how == "constrained host"
    assert report.measured is None
    assert found.verdict == "fits"
    assert found.limits.memory_bytes == 10**9
    assert 1 <= len(found.limits.cores) <= 4
    assert "bandwidth: memory is as fast as this host's; the device has 51.2 GB/s in theory" in found.limits.not_limited
    assert "; bandwidth not limited" in report_text(report)
    assert [(test.prompt_tokens, test.new_tokens, len(test.samples_s)) for test in found.tests] == [
        (8, 0, 1),
        (0, 2, 1),
    ]
    assert all("constrained host" in figure.definition for figure in report.figures)


def test_a_limit_that_is_too_small(tiny):
    found = constrain(tiny, find_device("poco-f5"), Within(memory=12_000_000, context=64, load=QUICK)).constrained
    assert found.verdict in ("out of memory", "would not fit")
    assert "12 MB" in found.reason
    assert found.tests == ()


@pytest.mark.parametrize(
    ("run", "verdict"),
    [
        (Run(-9, {}, 1), "out of memory"),
        (Run(0, {"error": "llama.cpp cannot make a context of 8192 tokens"}, 0), "would not fit"),
        (Run(1, {}, 0), "would not fit"),
        (Run(0, {"tests": [], "read_bytes": 60_000_000}, 0), "reads weights again and again"),
        (Run(0, {"tests": [], "read_bytes": 50_000_000}, 0), "fits"),
        (Run(0, {"tests": [], "read_bytes": None}, 0), "fits"),
    ],
)
def test_verdicts(run, verdict):
    assert constraining._judge(run, MemoryLimit("rlimit", None, 10**6), 50_000_000)[0] == verdict


@pytest.mark.parametrize(("by", "why"), [("rlimit", "a resource limit"), ("cgroup v2", "a control group")])
def test_more_than_the_limit_does_not_fit_though_nothing_stopped_it(by, why):
    """Weights are mapped, and a resource limit counts none of their pages."""
    held = Run(0, {"tests": [], "read_bytes": 0, "peak_rss": 6_400_000_000}, 0)
    verdict, reason = constraining._judge(held, MemoryLimit(by, None, 4 * 10**9), 6 * 10**9)
    assert verdict == "would not fit"
    assert reason.startswith(f"it held 6400 MB, mapped weights counted, of 4000 MB: {why} does not count")
    assert constraining._judge(held, MemoryLimit(by, None, 7 * 10**9), 6 * 10**9)[0] == "fits"


def test_another_failure_is_no_verdict():
    with pytest.raises(EdgetuneError, match="failed: the file is damaged"):
        constraining._judge(Run(0, {"error": "the file is damaged"}, 0), MemoryLimit("rlimit", None, 10**6), 1000)


def test_a_run_that_hardly_moves(tiny):
    with pytest.raises(ResourceError, match=r"took longer than 0\.01 s"):
        constrain(tiny, find_device("poco-f5"), Within(memory=10**9, timeout=0.01, load=QUICK))


@pytest.mark.parametrize(
    ("line", "by", "below", "files"),
    [
        ("4:memory:/own", "cgroup v1", "memory/own", ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]),
        ("0::/own", "cgroup v2", "own", ["memory.max", "memory.swap.max"]),
    ],
)
def test_a_group_of_each_version(tmp_path, monkeypatch, line, by, below, files):
    """A kernel fills a new group with its files; here that is done by hand."""
    proc, parent = tmp_path / "proc", tmp_path / below
    proc.write_text(f"1:cpu:/other\n{line}\n")
    parent.mkdir(parents=True)
    made = Path.mkdir

    def mkdir(self, *arguments, **words):
        made(self, *arguments, **words)
        for name in files:
            (self / name).write_text("max")

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with memory_limit(1000, proc, tmp_path) as limit:
        assert (limit.by, limit.group.parent) == (by, parent)
        assert [(limit.group / name).read_text() for name in files] == ["1000", "0" if "swap" in files[1] else "1000"]
        (limit.group / "memory.events").write_text("oom 1\noom_kill 2\n")
        assert limit.killed() == 2


def test_without_a_group_a_resource_limit(tmp_path):
    (tmp_path / "proc").write_text("0::/own\n")
    with memory_limit(1000, tmp_path / "proc", tmp_path) as limit:
        assert (limit.by, limit.group, limit.killed()) == ("rlimit", None, 0)
    (tmp_path / "own").mkdir()  # a group that hands no memory controller down
    with memory_limit(1000, tmp_path / "proc", tmp_path) as limit:
        assert limit.by == "rlimit"
    assert list((tmp_path / "own").iterdir()) == []


def child(artifact, memory):
    """Whether the constrained process did its work within a resource limit, and what it said."""
    cores = sorted(os.sched_getaffinity(0))[:1]
    job = {"artifact": str(artifact.path), "threads": 1, "cores": cores, "memory": memory, "context": 64}
    job |= {"cgroup": None, "prompt": 4, "new": 1, "repetitions": 1}
    words = [sys.executable, "-m", "edgetune.devices.constrained_child"]
    done = subprocess.run(words, input=json.dumps(job), capture_output=True, text=True, check=False)
    answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout.strip() else {}
    return "tests" in answer, answer.get("error", "") + done.stderr


def test_the_resource_limit_holds(tiny):
    assert child(tiny, 2 * 10**9)[0], "it works where there is room"
    worked, said = child(tiny, 25_000_000)
    assert not worked
    assert constraining._is_memory(said), said


def test_every_file_counts(tmp_path, monkeypatch):
    """Weights beside the main file, as ONNX has them, are dropped before and are part of the size."""
    made = write_artifact(tmp_path / "whole")
    beside = made.path / "weights.data"
    with beside.open("wb") as handle:
        handle.truncate(100_000_000)
    digests = made.manifest.sha256 | {beside.name: sha256_file(beside)}
    size = made.manifest.size_bytes + 100_000_000
    artifact = write_manifest(made.path, made.manifest.model_copy(update={"sha256": digests, "size_bytes": size}))
    dropped = []
    monkeypatch.setattr(constraining, "drop", lambda file: dropped.append(file.name))
    monkeypatch.setattr(constraining, "_run", lambda *_: Run(0, {"read_bytes": 60_000_000}, 0))
    report = constrain(artifact, find_device("poco-f5"), Within(memory=10**9))
    assert sorted(dropped) == ["tiny.gguf", "weights.data"]
    assert report.subject.size_bytes == size
    assert report.constrained.verdict == "fits", "less than half of all files and 32 MB"
