"""The benchmark end to end on a tiny model, and the parts that touch the system."""

import json
import os
import shutil
import subprocess
import sys
import time

import pytest

from edgetune.artifact import open_artifact
from edgetune.bench import child, pagecache, processes, single_stream
from edgetune.bench.environment import environment
from edgetune.bench.prompts import prompts_for
from edgetune.bench.schema import BenchReport, Subject
from edgetune.bench.text import to_text
from edgetune.errors import ArtifactError, EdgetuneError, MissingExtra


@pytest.fixture
def artifact(tiny_run):
    return open_artifact(tiny_run.exports_folder / "f32")


def test_a_benchmark_from_start_to_report(artifact, monkeypatch, tmp_path):
    monkeypatch.setattr(single_stream, "STARTS", 1)
    began = time.monotonic()
    report = single_stream.bench_artifact(artifact, prompts=3, new_tokens=5, threads=1)
    took = time.monotonic() - began
    assert report.subject.name == "tiny-f32"
    assert report.subject.sha256 == artifact.manifest.sha256["tiny.gguf"]
    assert report.subject.path == "tiny.gguf"
    assert str(artifact.path.parent) not in report.model_dump_json(), "folders of this machine stay private"
    assert report.settings.prompt_source == "held-out rows of tiny-run"
    assert len(report.requests) == 3
    for request in report.requests:
        assert 0 < request.tokenised_s < request.token_s[0]
        assert list(request.token_s) == sorted(request.token_s)
        assert len(request.token_s) <= 5
    start = report.loads.warm[0]
    assert 0 < start.ready_s < start.first_token_s < took
    assert report.memory.peak_rss >= report.memory.python_only > 1e7
    assert report.environment.versions["llama-cpp-python"]
    assert "CPU" in report.environment.features
    report.write(tmp_path / "report.json")
    assert BenchReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
    text = to_text(report)
    for figure in report.figures:
        assert figure.name in text
        assert figure.definition in text
    assert report.figure("peak_rss").median == pytest.approx(report.memory.peak_rss / 1e6)


def test_prompts_are_the_runs_own_without_the_answer(artifact):
    prompts = prompts_for(artifact, 3)
    assert [talk[-1] for talk in prompts.conversations] == [
        {"role": "user", "content": f"hello {index}"} for index in (0, 1, 3)
    ]
    assert len(prompts_for(artifact, 50).conversations) == 5


@pytest.mark.parametrize("row", [{"prompt": "hello", "completion": "yes"}, {"text": "hello"}])
def test_prompts_are_the_runs_own_in_any_format_that_asks(tmp_path, artifact, row):
    run = tmp_path / "run"
    shutil.copytree(artifact.path.parents[1], run)
    (run / "data" / "heldout.jsonl").write_text(json.dumps(row) + "\n")
    prompts = prompts_for(open_artifact(run / "exports" / artifact.path.name), 1)
    own = prompts.conversations == ([{"role": "user", "content": "hello"}],)
    assert own == ("prompt" in row), "a plain text asks nothing"


def test_elsewhere_a_built_in_handful_is_used_and_said(artifact, tmp_path):
    bare = tmp_path / "bare.gguf"
    bare.write_bytes(artifact.main_file.read_bytes())
    prompts = prompts_for(open_artifact(bare), 25)
    assert prompts.source == "20 built-in general prompts"
    assert len(prompts.conversations) == 25
    assert prompts.conversations[0] == prompts.conversations[20]


def job(subject, **changes):
    return {"mode": "start", "artifact": str(subject.path), "threads": 1, "new_tokens": 2,
            "prompts": [[{"role": "user", "content": "hello"}]], **changes}  # fmt: skip


def test_errors_of_the_measured_process_keep_class_message_and_hint(artifact, tmp_path):
    with pytest.raises(ArtifactError, match="no such artifact") as caught:
        list(processes.measure(job(artifact, artifact=str(tmp_path / "none.gguf"))))
    assert caught.value.hint
    missing = {"error": "MissingExtra", "message": "x needs y", "hint": "pip install z", "problems": []}
    revived = processes._revive(missing)
    assert isinstance(revived, MissingExtra)
    assert (revived.message, revived.hint, revived.exit_code) == ("x needs y", "pip install z", 11)


def test_a_measured_process_that_dies_is_reported(artifact, monkeypatch):
    with pytest.raises(EdgetuneError, match=r"died \(exit code 1\)") as caught:
        list(processes.measure(job(artifact, mode="nonsense")))
    assert "KeyError" in caught.value.problems[-1]
    monkeypatch.setattr(processes, "CHILD", "edgetune.nowhere")
    with pytest.raises(EdgetuneError, match="died"):
        list(processes.measure(job(artifact)))


def test_leaving_early_leaves_no_process_behind(artifact, monkeypatch):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **options: started.append(popen(*args, **options)) or started[0]
    )
    reports = processes.measure(job(artifact, mode="requests", prompts=[[{"role": "user", "content": "hello"}]] * 500))
    next(reports)
    assert started[0].poll() is None
    reports.close()
    assert started[0].returncode is not None


def test_a_dropped_file_is_gone_from_the_page_cache(tmp_path):
    file = tmp_path / "weights"
    file.write_bytes(os.urandom(1 << 20))
    file.read_bytes()
    assert pagecache.resident_share(file) == 1.0
    reason = pagecache.drop(file)
    share = pagecache.resident_share(file)
    # tmpfs keeps its files in memory: then the reason must say so
    assert (reason is None) == (share <= pagecache.TOLERATED)
    assert reason is None or "kept 100%" in reason


def test_memory_is_read_from_the_kernel(tmp_path):
    (tmp_path / "status").write_text("Name:\tx\nVmHWM:\t  2000 kB\nRssAnon:\t 500 kB\nRssFile:\t 700 kB\nThreads:\t1\n")
    (tmp_path / "smaps_rollup").write_text("55d0-7ffd ---p 00000000 00:00 0 [rollup]\nRss: 1200 kB\nPss:  900 kB\n")
    found = child.resident(tmp_path)
    assert found == {"peak_rss": 2048000, "anonymous": 512000, "file_backed": 716800, "pss": 921600}
    elsewhere = child.resident(tmp_path / "nothing")
    assert elsewhere["peak_rss"] > 1e7
    assert elsewhere["pss"] is None


def test_bytes_from_storage_are_the_kernels_count(tmp_path):
    (tmp_path / "io").write_text("rchar: 5\nread_bytes: 4096\nwrite_bytes: 7\n")
    assert child.storage_bytes(tmp_path) == 4096
    assert child.storage_bytes(tmp_path / "nothing") is None


def test_the_environment_describes_this_machine():
    machine = environment("AVX2 = 1")
    assert machine.usable_cpus == len(os.sched_getaffinity(0))
    assert machine.cpu != "unknown"
    assert machine.memory_bytes > 1e8
    assert "numpy" in machine.versions


def test_the_measured_process_needs_no_torch(artifact):
    program = (
        "import sys\nfor name in ('torch', 'transformers', 'peft', 'datasets'): sys.modules[name] = None\n"
        "from edgetune.bench.child import main\nsys.exit(main())"
    )
    given = json.dumps({**job(artifact), "started": 0.0})
    done = subprocess.run(
        [sys.executable, "-c", program], input=given, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.stderr == ""
    assert set(json.loads(done.stdout)) == {"ready_s", "first_token_s", "storage_bytes"}


def test_folders_in_a_report_of_before_are_left_behind():
    older = {
        "name": "x",
        "path": "/home/ann/runs/x/exports/q8_0/x.gguf",
        "sha256": "0",
        "size_bytes": 1,
        "precision": None,
    }
    assert Subject.model_validate(older).path == "x.gguf"
