"""`edgetune run` from rows to a measured artifact, with a tiny model through the real exporter and runtime."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest
import torch
from tinyruns import write_base
from tinytraining import write_recipe

from edgetune import pipeline
from edgetune.cli import main
from edgetune.devices.device import shipped_devices
from edgetune.devices.report import DeviceReport
from edgetune.errors import ArtifactError, CheckFailed, TargetError
from edgetune.exporting import export
from edgetune.pipeline import PipelineResult, run_recipe
from edgetune.realtime.wanted import find_wanted
from edgetune.targets.judging import require_one_met

EXPORTS = [{"format": "gguf", "quant": ["f16", "q8_0"]}]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("pipeline")


@pytest.fixture(scope="module")
def resolved(place):
    torch.set_num_threads(1)
    base = write_base(place / "base")
    return write_recipe(
        place / "recipe",
        base,
        method={"kind": "qlora"},
        task={"max_new_tokens": 4},
        bench={"prompts": 2, "threads": 1},
        exports=EXPORTS,
    )


@pytest.fixture(scope="module")
def whole(place, resolved):
    return resolved, run_recipe(resolved, place / "run")


def test_every_artifact_has_its_evidence(whole):
    _, result = whole
    assert [s.artifact.manifest.precision for s in result.shipped] == ["f16", "q8_0"]
    for shipped in result.shipped:
        assert shipped.artifact.manifest.merged_into == "nf4"
        assert shipped.evaluation.n == 6
        assert shipped.bench.subject.sha256
        assert (result.run.folder / "bench" / f"{shipped.artifact.name}.json").is_file()
    assert result.base.n == 6
    assert result.run.evaluation_file("base").is_file()


def test_what_will_be_written_is_said_in_whole_lines(whole, capsys):
    resolved, result = whole
    run_recipe(resolved, result.run.folder)
    lines = capsys.readouterr().err.splitlines()
    assert any("q8_0" in line and "MB" in line for line in lines)


def test_the_summary_ends_in_a_command(whole):
    _, result = whole
    lines = result.to_text().splitlines()
    assert lines[0].endswith(str(result.run.folder))
    assert "6 steps" in lines[1]
    program, _, rest = lines[-1].strip().partition(" ")
    assert shutil.which(program), "the command can be copied as it is, with or without the environment on PATH"
    assert rest.startswith(f"chat {result.shipped[-1].artifact.path} --prompt 'say ")
    assert any("exact_match" in line for line in lines)
    assert any("ttft" in line for line in lines)


def test_it_ends_in_a_report(whole):
    _, result = whole
    assert result.report == result.run.folder / "report" / "report.html"
    assert f"report     {result.report}" in result.to_text().splitlines()
    page = result.report.read_text()
    assert "f16" in page
    assert "training-loss" in page


def test_it_projects_what_devices_would_come_to(whole):
    _, result = whole
    kept = (result.run.folder / "devices").glob("*.json")
    stored = [DeviceReport.model_validate_json(path.read_bytes()) for path in kept]
    assert len(stored) == len(result.shipped)
    for found in stored:
        assert (found.how, {one.depth for one in found.projected}) == ("projected", {0})
        assert {device.name for device in found.devices} == {device.name for device in shipped_devices()}
    assert "raspberry-pi-5" in result.report.read_text()


def test_what_cannot_be_projected_is_said_and_stands_in_nobodys_way(whole, monkeypatch, capsys):
    resolved, result = whole

    def refuse(*_):
        raise ArtifactError("f16 is a mixture of experts")

    monkeypatch.setattr(pipeline, "project_all", refuse)
    assert run_recipe(resolved, result.run.folder).to_text() == result.to_text()
    assert "not projected: f16 is a mixture of experts" in capsys.readouterr().err


def test_a_second_call_does_nothing_again(whole, monkeypatch):
    resolved, result = whole
    before = {path: path.stat().st_mtime_ns for path in result.run.exports_folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(pipeline, "bench_subjects", None)
    monkeypatch.setattr("edgetune.evaluation.subjects.evaluate", None)
    again = run_recipe(resolved, result.run.folder)
    assert again.to_text() == result.to_text()
    after = {path: path.stat().st_mtime_ns for path in result.run.exports_folder.rglob("*") if path.is_file()}
    assert after == before


def test_a_changed_artifact_is_measured_anew(whole, monkeypatch):
    _, result = whole
    artifact = result.shipped[0].artifact
    measured, honest = [], pipeline.artifact_subject(artifact)
    changed = replace(honest, subject=honest.subject.model_copy(update={"files": {"other": "file"}}))
    monkeypatch.setattr(pipeline, "artifact_subject", lambda _: changed)
    monkeypatch.setattr(
        pipeline,
        "bench_subjects",
        lambda some, plan: measured.append((some, plan.prompts)) or [result.shipped[0].bench],
    )
    pipeline._bench(result.run, artifact, result.run.recipe.bench, find_wanted(None, None))
    assert measured == [([changed], 2)]


@pytest.mark.parametrize("change", ["cpu", "edgetune", "llama-cpp-python", "torch"])
def test_another_machine_or_runtime_is_measured_anew(whole, monkeypatch, change):
    """What does not run the model does not matter: torch, of a GGUF file."""
    _, result = whole
    shipped = result.shipped[0]
    had = shipped.bench.environment
    changed = {"cpu": "another"} if change == "cpu" else {"versions": had.versions | {change: "0"}}
    old = shipped.bench.model_copy(update={"environment": had.model_copy(update=changed)})
    stored = result.run.folder / "bench" / f"{shipped.artifact.name}.json"
    measured = []
    monkeypatch.setattr(pipeline, "bench_subjects", lambda *_: measured.append(change) or [shipped.bench])
    try:
        old.write(stored)
        pipeline._bench(result.run, shipped.artifact, result.run.recipe.bench, find_wanted(None, None))
    finally:
        shipped.bench.write(stored)
    assert measured == ([] if change == "torch" else [change])


def test_a_target_with_other_threads_is_measured_anew(whole, monkeypatch, tmp_path):
    _, result = whole
    (tmp_path / "mine.yaml").write_text("{name: mine, description: x, kind: host, threads: 2}")
    wanted = find_wanted(str(tmp_path / "mine.yaml"), None)
    measured = []
    monkeypatch.setattr(
        pipeline, "bench_subjects", lambda _, plan: measured.append(plan.threads) or [result.shipped[0].bench]
    )
    for threads in (None, 1):  # what the recipe says of threads goes first, and with one it was measured
        settings = result.run.recipe.bench.model_copy(update={"threads": threads})
        pipeline._bench(result.run, result.shipped[0].artifact, settings, wanted)
    assert measured == [2]


def test_one_artifact_by_hand_is_the_same(whole):
    _, result = whole
    first = result.shipped[0].artifact
    assert export(result.run, "gguf", "f16").manifest.sha256 == first.manifest.sha256


def test_what_a_recipe_holds_artifacts_to_is_judged_once(whole, monkeypatch, tmp_path):
    _, result = whole
    shipped = result.shipped[1]
    slo = tmp_path / "slo.yaml"
    slo.write_text("- {metric: load_warm, at_most: 600}\n- {metric: peak_rss, at_most: 0.001}\n")
    monkeypatch.setattr(pipeline, "bench_subjects", None)  # what was measured is enough
    settings = result.run.recipe.bench
    report = pipeline._bench(result.run, shipped.artifact, settings, find_wanted(None, slo))
    assert [verdict.outcome for verdict in report.verdicts] == ["met", "missed"]
    held = PipelineResult(result.run, result.base, (replace(shipped, bench=report),), result.report, None)
    assert "missed      peak_rss median ≤ 0.001 MB" in held.to_text()
    with pytest.raises(CheckFailed, match="misses 1 of 2 objectives"):
        require_one_met(held.verdicts)
    monkeypatch.setattr(pipeline, "hold", None)
    assert pipeline._bench(result.run, shipped.artifact, settings, find_wanted(None, slo)) == report
    monkeypatch.undo()
    plain = pipeline._bench(result.run, shipped.artifact, settings, find_wanted(None, None))
    assert plain == shipped.bench


@pytest.mark.parametrize(("required", "code"), [(True, 9), (False, 0)])
def test_a_missed_target_ends_the_run_only_where_it_is_required(whole, monkeypatch, tmp_path, capsys, required, code):
    _, result = whole
    slo = tmp_path / "slo.yaml"
    slo.write_text("- {metric: peak_rss, at_most: 0.001}\n")
    shipped = result.shipped[1]
    report = pipeline._bench(result.run, shipped.artifact, result.run.recipe.bench, find_wanted(None, slo))
    held = PipelineResult(result.run, result.base, (replace(shipped, bench=report),), result.report, None)
    monkeypatch.setattr(pipeline, "run_recipe", lambda *_, **__: held)
    recipe = write_recipe(tmp_path / "recipe", tmp_path / "base", bench={"required": required})
    assert main(["run", str(recipe.path)]) == code
    captured = capsys.readouterr()
    assert "missed      peak_rss" in captured.out
    assert ("misses 1 of 1 objectives" in captured.err) == required


def test_a_bad_target_is_said_before_the_training(place, resolved, monkeypatch):
    monkeypatch.setattr(pipeline.training, "train", None)
    recipe = write_recipe(place / "bad", place / "base", bench={"target": "voice-asistant"})
    with pytest.raises(TargetError, match="did you mean 'voice-assistant'"):
        run_recipe(recipe, place / "bad-run")
    assert main(["recipe", "check", str(recipe.path)]) == TargetError.exit_code
    slo = write_recipe(place / "slo", place / "base", bench={"slo": "slo.yaml"})
    (place / "slo" / "slo.yaml").write_text("- {metric: tftt, at_most: 1}\n")
    with pytest.raises(TargetError) as caught:
        run_recipe(slo, place / "bad-run")
    assert "did you mean ttft" in caught.value.problems[0]
