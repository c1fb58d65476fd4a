"""The benchmark end to end on a tiny model, and the parts that touch the system."""

import io
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from edgetune.artifact import open_artifact
from edgetune.bench import pagecache, processes, single_stream
from edgetune.bench.environment import environment
from edgetune.bench.plan import Plan
from edgetune.bench.prompts import prompts_for
from edgetune.bench.resident import resident, storage_bytes
from edgetune.bench.schema import BenchReport, Subject
from edgetune.bench.subjects import artifact_subject
from edgetune.bench.telling import wait_for_turn
from edgetune.bench.text import to_text
from edgetune.errors import ArtifactError, EdgetuneError, MissingExtra
from edgetune.realtime.trusting import contradictions
from edgetune.runtimes import _known_to
from edgetune.runtimes.fake import FakeRuntime


@pytest.fixture
def artifact(tiny_run):
    return open_artifact(tiny_run.exports_folder / "f32")


SHORT = {
    "prompts": 3,
    "new_tokens": 5,
    "rounds": 1,
    "starts": 1,
    "memory_rounds": 1,
    "depth_prefill": 8,
    "depth_decode": 4,
}


def test_a_benchmark_from_start_to_report(artifact, tmp_path):
    began = time.monotonic()
    report = single_stream.bench_artifact(artifact, threads=1, depths=(0, 16, 510), memory_budget_mb=1, **SHORT)
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
    (held,) = report.memory
    assert held.peak_rss >= held.python_only > 1e7
    assert held.file_backed >= held.programs > 1e6
    assert held.weights > 1e5
    # keys and values, layers, cells, heads, width, bytes; llama.cpp tells hundredths of a megabyte
    assert held.kv == pytest.approx(2 * 2 * 512 * 2 * 16 * 2, abs=6000)
    assert held.compute > 1e5
    assert report.subject.files == artifact.sha256
    assert report.settings.context == 512
    assert report.settings.prefill_threads == 1
    assert [sample.depth for sample in report.depths] == [0, 16], "510 leaves no room"
    for raw in report.raw:
        asked = next(request for request in report.requests if request.prompt == raw.prompt)
        assert len(raw.step_s) == len(asked.token_s) - 1
        assert raw.prompt_tokens == asked.prompt_tokens
    assert report.figure("overhead_per_token").median is not None
    assert [value for value, _ in report.curve("decode", "depth")] == ["0", "16"]
    assert any("above the budget of 1 MB" in warning for warning in report.warnings)
    assert report.environment.versions["llama-cpp-python"]
    assert "CPU" in report.environment.features
    report.write(tmp_path / "report.json")
    assert BenchReport.model_validate_json((tmp_path / "report.json").read_bytes()) == report
    assert contradictions(report) == []
    text = to_text(report)
    assert report.seconds is not None
    assert report.seconds > 0
    assert text.splitlines()[-1].startswith("took ")
    for figure in report.figures:
        assert figure.metric in text
        assert figure.definition in text or figure.place == ("depth", "16"), "told once, for the first depth"
    assert report.figure("peak_rss").median == pytest.approx(held.peak_rss / 1e6)
    with pytest.raises(KeyError):
        report.figure("nonsense")


def test_settings_are_varied_one_at_a_time(artifact):
    plan = Plan(
        threads=1, depths=(), axis_depth=16, kv_types=("f16", "f32"), batches=(16,), contexts=(256, 512), **SHORT
    )
    report = single_stream.bench_artifact(artifact, plan)
    assert (report.settings.kv_type, report.settings.batch, report.settings.context) == ("f16", 16, 256)
    caches = {value: figure.median for value, figure in report.curve("memory_kv", "kv_type")}
    assert caches["f32"] == pytest.approx(caches["f16"] * 2, rel=0.2)
    longer = {value: figure.median for value, figure in report.curve("memory_kv", "context")}
    assert longer["512"] == pytest.approx(2 * longer["256"], rel=0.2)
    assert report.find("decode@batch=16") is None, "one value is no sweep"
    assert "kv_type" in to_text(report)


def test_what_does_not_fit_a_context_is_said(artifact):
    plan = Plan(threads=1, depths=(600,), axis_depth=100, contexts=(512, 64), **SHORT)
    report = single_stream.bench_artifact(artifact, plan)
    assert report.find("decode@context=512").median > 0
    assert report.find("decode@context=64") is None
    assert [warning.partition(":")[0] for warning in report.warnings if "do not fit" in warning] == [
        "no depth was measured",
        "context=64 was not measured",
    ]


def test_a_depth_that_does_not_fit_is_said_beside_one_that_does(artifact):
    report = single_stream.bench_artifact(artifact, Plan(threads=1, depths=(0, 600), contexts=(512,), **SHORT))
    assert report.find("decode@depth=0").median > 0
    (told,) = [warning for warning in report.warnings if "do not fit" in warning]
    assert told.startswith("not every depth was measured: 600 and ")


def test_sustained_decoding_is_counted_by_the_second(artifact):
    report = single_stream.bench_artifact(artifact, Plan(threads=1, depths=(), sustained=1 / 30, **SHORT))
    assert len(report.sustained.tokens) == 2
    assert report.figure("decode_sustained").median > 1
    retention = report.figure("retention")
    assert retention.median is None
    assert "2 seconds" in retention.reasons["median"]
    assert "shorter than the 5 minutes" in retention.definition


@pytest.fixture
def two(artifact):
    """The same twice."""
    one = artifact_subject(artifact)
    return [one, replace(one, name="other", job={**one.job, "runtime": None})]


@pytest.fixture
def told(monkeypatch):
    """Who told what, in the order in which it came: (which of two, kind)."""
    order = []
    honest = processes.measure

    def watched(job):
        for report in honest(job):
            if job["mode"] == "round":
                order.append(("other" if job["runtime"] is None else "one", report["kind"]))
            yield report

    monkeypatch.setattr(single_stream, "measure", watched)
    return order


def test_several_take_turns_prompt_by_prompt_and_share_a_session(two, told):
    reports = single_stream.bench_subjects(two, Plan(**{**SHORT, "rounds": 2}, threads=1, depths=(0, 16)))
    first, second = ("one", "other"), ("other", "one")
    assert [who for who, kind in told if kind == "request"] == [
        *second, *first, *second,  # after the start, which was the other way round
        *first, *second, *first,
    ]  # fmt: skip
    assert [who for who, kind in told if kind == "depth"] == [*first, *second, *second, *first]
    assert [who for who, kind in told if kind == "raw"] == [who for who, kind in told if kind == "request"]
    assert {report.settings.turns for report in reports} == {"prompts"}
    assert reports[0].settings.session == reports[1].settings.session
    assert len(reports[0].environment.yardstick) >= 5
    assert reports[0].environment.yardstick == reports[1].environment.yardstick
    assert [request.round for request in reports[1].requests] == [0, 0, 0, 1, 1, 1]


def test_where_memory_does_not_hold_all_whole_rounds_take_turns(two, told, monkeypatch):
    monkeypatch.setattr(single_stream, "available_memory", lambda: 10**9)
    reports = single_stream.bench_subjects(two, Plan(**{**SHORT, "rounds": 2}, threads=1, depths=()))
    assert [who for who, kind in told if kind == "load"] == ["one", "other", "other", "one"]
    assert not [kind for _, kind in told if kind == "turn"]
    assert {report.settings.turns for report in reports} == {"rounds"}


def test_a_length_of_context_is_no_reason_to_run_out_of_memory(two):
    assert single_stream.turns_of(two, Plan()) == "prompts"
    assert single_stream.turns_of(two, Plan(contexts=(512,))) == "rounds"


def test_one_that_fails_takes_the_others_with_it():
    """All processes have ended before the error is told."""
    ended = []

    def round_of(name, fails=False):
        try:
            yield
            if fails:
                raise EdgetuneError("it died")
            yield
        finally:
            ended.append(name)

    rounds = [round_of("one"), round_of("two", fails=True), round_of("three")]
    with pytest.raises(EdgetuneError, match="it died"):
        single_stream._prompt_by_prompt(rounds)
    assert sorted(ended) == ["one", "three", "two"]


def test_one_alone_waits_for_nobody(two, told):
    (report,) = single_stream.bench_subjects(two[:1], Plan(**SHORT, threads=1, depths=()))
    assert not [kind for _, kind in told if kind == "turn"]
    assert report.settings.turns is None


def test_a_process_that_waits_in_vain_ends(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(SystemExit, match="nobody"):
        wait_for_turn({"in_turns": True})
    assert json.loads(capsys.readouterr().out) == {"kind": "turn"}
    wait_for_turn({})
    assert not capsys.readouterr().out


def test_what_a_runtime_cannot_be_told_is_said(artifact):
    with pytest.raises(ArtifactError, match="cannot be run in onnxruntime"):
        artifact_subject(artifact, "onnxruntime")
    with pytest.raises(ArtifactError, match="fake has no setting for batch"):
        _known_to(FakeRuntime, {"batch": 3})


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
    return {"mode": "start", "artifact": str(subject.path), "decode_threads": 1, "new_tokens": 2,
            "prompts": [[{"role": "user", "content": "hello"}]], **changes}  # fmt: skip


def test_errors_of_the_measured_process_keep_class_message_and_hint(artifact, tmp_path):
    with pytest.raises(ArtifactError, match="no such artifact") as caught:
        list(processes.measure(job(artifact, artifact=str(tmp_path / "none.gguf"))))
    assert caught.value.hint
    missing = {"error": "MissingExtra", "message": "x needs y", "hint": "pip install z", "problems": []}
    revived = processes.revive(missing)
    assert isinstance(revived, MissingExtra)
    assert (revived.message, revived.hint, revived.exit_code) == ("x needs y", "pip install z", 11)


def test_a_measured_process_that_dies_is_reported(artifact, monkeypatch):
    with pytest.raises(EdgetuneError, match=r"died \(exit code 1\)") as caught:
        list(processes.measure(job(artifact, mode="nonsense")))
    assert "KeyError" in caught.value.problems[-1]
    monkeypatch.setattr(processes, "CHILD", "edgetune.nowhere")
    with pytest.raises(EdgetuneError, match="died"):
        list(processes.measure(job(artifact)))


@pytest.mark.parametrize("turns", [False, True])
def test_leaving_early_leaves_no_process_behind(artifact, monkeypatch, turns):
    started = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        subprocess, "Popen", lambda *args, **options: started.append(popen(*args, **options)) or started[0]
    )
    prompts = [[{"role": "user", "content": "hello"}]] * 500
    reports = processes.measure(job(artifact, mode="round", depths=[], prompts=prompts, in_turns=turns))
    assert ("turn" in {next(reports)["kind"], next(reports)["kind"]}) is turns
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
    maps = [
        *("1-2 r--p 00000000 fe:00 42   /lib/libx.so (deleted)", "Rss:  10 kB", "VmFlags: rd mr"),
        *("2-3 r-xp 00001000 fe:00 42   /lib/libx.so (deleted)", "Rss:  103 kB", "Anonymous:  3 kB"),
        *("3-4 r--s 00000000 fe:00 43   /models/x.gguf", "Rss:  5000 kB"),
        *("4-5 rw-p 00000000 00:00 0 ", "Rss:  70 kB", "5-6 r-xp 00000000 00:00 0   [vdso]", "Rss:  4 kB"),
    ]
    (tmp_path / "smaps").write_text("\n".join(maps))
    found = resident(tmp_path)
    sizes = {"peak_rss": 2048000, "anonymous": 512000, "file_backed": 716800, "pss": 921600, "programs": 112640}
    assert found == sizes
    elsewhere = resident(tmp_path / "nothing")
    assert elsewhere["peak_rss"] > 1e7
    assert elsewhere["pss"] is None
    assert elsewhere["programs"] is None


def test_bytes_from_storage_are_the_kernels_count(tmp_path):
    (tmp_path / "io").write_text("rchar: 5\nread_bytes: 4096\nwrite_bytes: 7\n")
    assert storage_bytes(tmp_path) == 4096
    assert storage_bytes(tmp_path / "nothing") is None


def test_the_environment_describes_this_machine():
    machine = environment("AVX2 = 1")
    assert machine.usable_cpus == len(os.sched_getaffinity(0))
    assert machine.cpu != "unknown"
    assert machine.memory_bytes > 1e8
    assert machine.cpu_features
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
    assert set(json.loads(done.stdout)) == {"kind", "ready_s", "first_token_s", "first_request_s", "storage_bytes"}


def test_folders_in_a_report_of_before_are_left_behind():
    older = {
        "name": "x",
        "path": "/home/ann/runs/x/exports/q8_0/x.gguf",
        "sha256": "0",
        "size_bytes": 1,
        "precision": None,
    }
    assert Subject.model_validate(older).path == "x.gguf"
