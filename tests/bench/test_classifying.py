"""The benchmark of what classifies, end to end on a graph made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from countingclassifier import write_classifier
from PIL import Image

from edgetune.artifact import open_artifact
from edgetune.bench import classifying
from edgetune.bench.comparing import compare
from edgetune.bench.plan import Plan
from edgetune.bench.reading import read_report
from edgetune.bench.schema import BenchReport
from edgetune.bench.single_stream import bench_artifact
from edgetune.bench.subjects import artifact_subject
from edgetune.bench.text import to_text
from edgetune.cli import main
from edgetune.errors import ArtifactError, EdgetuneError
from edgetune.realtime.trusting import contradictions

SHORT = {"prompts": 4, "rounds": 3, "starts": 1, "memory_rounds": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("c") / "fp32").path


@pytest.fixture(scope="module")
def report(folder):
    return bench_artifact(open_artifact(folder), threads=1, thread_counts=(1, 2), batches=(8, 2), **SHORT)


def test_every_figure_of_a_classifier(report):
    assert [figure.name for figure in report.figures if figure.place is None] == [
        "load_cold", "load_warm", "first_answer_cold", "first_answer_warm", "first_inference", "latency", "latency_raw",
        "overhead", "batch_rate", "batch_rate_raw", "peak_rss", "anonymous", "file_backed", "pss",
    ]  # fmt: skip
    assert report.figure("latency").samples == 12
    assert report.figure("latency").percentiles.keys() == {"p90", "p95", "p99"}
    assert report.figure("latency").median > report.figure("latency_raw").median > 0
    assert report.figure("overhead").median > 0, "tokeniser and names of classes take time"
    assert report.figure("batch_rate").samples == 15
    assert "a batch of 8" in report.figure("batch_rate").definition
    assert report.figure("batch_rate_raw").median > report.figure("batch_rate").median
    assert report.figure("first_answer_warm").median > report.figure("load_warm").median
    assert (report.settings.threads, report.settings.batch, report.settings.input) == (1, 8, "text")
    assert "built-in general texts" in report.settings.prompt_source


def test_raw_samples_are_kept_and_give_the_figures(report):
    assert len(report.raw) == len(report.requests) == 12
    for asked, raw in zip(report.requests, report.raw, strict=True):
        assert asked.prompt_tokens == raw.prompt_tokens > 2
        assert asked.tokenised_s > 0
    plain = [one for one in report.batches if one.axis is None]
    rates = sorted(one.inputs / one.done_s for one in plain)
    assert report.figure("batch_rate").median == pytest.approx(rates[7])
    assert BenchReport.model_validate_json(report.model_dump_json()) == report
    assert contradictions(report) == []


def test_threads_and_batches_are_tried_one_at_a_time(report):
    assert [value for value, _ in report.curve("latency", "threads")] == ["1", "2"]
    assert [value for value, _ in report.curve("batch_rate", "threads")] == ["1", "2"]
    assert [value for value, _ in report.curve("batch_rate", "batch")] == ["8", "2"]
    assert report.figure("latency@threads=2").samples == 12
    assert len(report.figure("batch_rate@batch=2").rounds) == 3
    assert report.figure("peak_rss@batch=2").median > 10
    assert "a batch of 2" in report.figure("batch_rate@batch=2").definition


def test_people_read_it(report):
    text = to_text(report)
    assert "4 texts (20 built-in general texts), in each of 3 fresh processes" in text
    for name in ("latency_raw", "overhead", "batch_rate", "threads"):
        assert name in text
    assert text.splitlines()[-1].startswith("took ")


def test_it_is_stored_read_and_compared(folder, report, tmp_path, capsys):
    words = ["bench", str(folder), "--prompts", "4", "--rounds", "3", "--threads", "1", "--output"]
    assert main([*words, str(tmp_path / "old.json")]) == 0
    again = read_report(tmp_path / "old.json")
    assert again.figure("latency").median > 0
    assert [one.name for one in compare(again, again).differences][:3] == ["load_cold", "load_warm", "latency"]
    slower = json.loads((tmp_path / "old.json").read_text())
    assert slower["schema_version"] == 2
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "old.json"), str(tmp_path / "old.json")]) == 0
    assert "latency" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({"kv_types": ("f16",)}, "a classifier has no kv types to vary"),
        ({"decode_threads": (1, 2)}, "a classifier has no decode threads to vary"),
        ({"depths": (0, 64)}, "a classifier has no depths to vary"),
        ({"new_tokens": 8}, "a classifier has no new tokens to vary"),
        ({"batches": (64,)}, "a classifier computes 32 inputs at once at most"),
    ],
)
def test_what_a_classifier_has_not_is_refused_before_anything_is_measured(folder, monkeypatch, plan, message):
    monkeypatch.setattr(classifying, "measure", lambda *_: pytest.fail("it measured"))
    with pytest.raises(EdgetuneError, match=message) as caught:
        bench_artifact(open_artifact(folder), **plan)
    assert caught.value.hint


def test_a_classifier_is_measured_in_the_runtime_that_runs_it(folder, capsys):
    assert main(["bench", str(folder), "--runtime", "onnxruntime-genai"]) == ArtifactError.exit_code
    assert "is for onnxruntime and cannot be run in onnxruntime-genai" in capsys.readouterr().err


def test_a_model_that_writes_has_two_numbers_of_threads(tmp_path, capsys):
    from tinygguf import write_tiny_gguf

    file = write_tiny_gguf(tmp_path / "tiny.gguf")
    assert main(["bench", str(file), "--threads", "1,2"]) == EdgetuneError.exit_code
    assert "--decode-threads 1,2" in capsys.readouterr().err


def test_a_runtime_that_keeps_its_graph_to_itself_has_no_raw_figure():
    from edgetune.bench.classifying_summary import NO_GRAPH, classifier_figures
    from edgetune.bench.samples import BatchSample, RequestSample
    from edgetune.bench.schema import Settings
    from edgetune.bench.summary import Samples

    asked = RequestSample(prompt_tokens=3, tokenised_s=0.001, token_s=(0.02,), finish="stop")
    batch = BatchSample(round=0, inputs=4, done_s=0.05, raw_s=None)
    settings = Settings(runtime="x", threads=1, batch=4, prompts=1, prompt_source="x", new_tokens=0, starts=0)
    found = {one.name: one for one in classifier_figures(Samples(requests=[asked], batches=[batch]), settings)}
    assert found["latency"].median == pytest.approx(20)
    assert found["batch_rate"].median == pytest.approx(80)
    assert found["latency_raw"].reasons["median"] == found["batch_rate_raw"].reasons["median"] == NO_GRAPH
    assert found["load_cold"].reasons["median"] == "no cold starts were asked for"


def test_images_are_called_images_and_the_largest_is_looked_at_for_memory(report, folder, tmp_path, monkeypatch):
    small, large = tmp_path / f"{'long' * 20}.png", tmp_path / "x.png"
    Image.new("RGB", (4, 4)).save(small)
    Image.new("RGB", (64, 64)).save(large)
    of_images = report.settings.model_copy(update={"input": "image"})
    assert "4 images (" in to_text(report.model_copy(update={"settings": of_images}))
    assert "4 texts (" in to_text(report)

    given = []
    monkeypatch.setattr(classifying, "measure", lambda job, _: given.append(list(job["inputs"])) or [])
    subject = artifact_subject(open_artifact(folder))
    for task, values, most in (
        ("image-classification", (str(small), str(large)), str(large)),
        ("classification", ("a", "longer"), "longer"),
    ):
        asked = classifying.Inputs(values, values, "x")
        classifying._Job(replace(subject, task=task), Plan(), asked, None).read_memory(0)
        assert given.pop() == [most]
