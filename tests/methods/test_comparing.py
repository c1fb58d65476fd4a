"""Trainings of all methods and seeds, with tiny models: in this process, so that a test takes seconds."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import pytest
import tinyclassifier
import tinyruns
import tinytraining

from edgetune.bench.plan import Plan
from edgetune.cli import main
from edgetune.errors import (
    DataError,
    Diverged,
    EdgetuneError,
    ExportError,
    Interrupted,
    InUse,
    OutOfMemory,
    ResourceError,
    WrongUsage,
)
from edgetune.general.figures import BITS_PER_BYTE
from edgetune.general.report import GeneralWanted
from edgetune.methods import child, comparing, device, forgetting, trainings
from edgetune.methods.comparing import compare_methods
from edgetune.methods.planning import Wanted
from edgetune.methods.record import MethodsComparison

FEW = Wanted(methods=("full", "lora"), export=False)


pytestmark = pytest.mark.usefixtures("trained")


def test_methods_take_turns_and_all_is_stored(short, tmp_path, trained):
    found = compare_methods(short, FEW, tmp_path / "out")
    assert trained == [(f"tiny-{method}", seed) for seed in (17, 18, 19) for method in ("full", "lora")]
    assert MethodsComparison.read(tmp_path / "out" / "methods.json") == found
    assert (found.metric, found.seeds, found.methods) == ("accuracy", (17, 18, 19), ("full", "lora"))
    assert found.floor.name == "accuracy"
    full, lora = found.of("full")[0], found.of("lora")[0]
    assert full.trainable_parameters > lora.trainable_parameters > 0
    assert full.result_bytes > lora.result_bytes
    assert (full.rows, full.steps, full.examples) == (64, 12, 192)
    assert full.settings["train.learning_rate"] == pytest.approx(0.001)
    assert {(one.method, one.other, one.seeds) for one in found.pairs} == {("full", "lora", 3), ("lora", "full", 3)}
    assert found.general_reason == forgetting.NO_SUCH_THING
    assert found.device_reason == comparing.NO_DEVICE
    assert any("no data.validation" in warning for warning in found.warnings)
    assert any("hardly trained: full, lora" in warning for warning in found.warnings)
    assert list((tmp_path / "out" / "trials").glob("*/checkpoints")) == []


def test_the_most_frequent_class_is_that_of_the_training_rows(short, tmp_path):
    """Also where another is more frequent among those held out."""
    rows = tinyclassifier.rows(64)
    good, bad = ([row for row in rows if row["label"] == name] for name in ("positive", "negative"))
    tinyclassifier.write_rows(tmp_path / "recipe" / "train.jsonl", good[:20] + bad[:8])
    tinyclassifier.write_rows(tmp_path / "recipe" / "heldout.jsonl", good[20:23] + bad[8:17])
    found = compare_methods(short, dataclasses.replace(FEW, methods=("lora",), seeds=1), tmp_path / "out")
    assert found.floor.value == 3 / 12


def test_what_is_trained_is_kept_and_only_what_changed_is_trained_again(short, tmp_path, trained):
    first = compare_methods(short, FEW, tmp_path / "out")
    trained.clear()
    again = compare_methods(short, FEW, tmp_path / "out")
    assert (trained, again.trainings) == ([], first.trainings)
    compare_methods(short, dataclasses.replace(FEW, rates={"full": 0.5}), tmp_path / "out")
    assert trained == [("tiny-full", seed) for seed in (17, 18, 19)]


def test_a_full_disk_ends_the_comparison(short, tmp_path, monkeypatch):
    def run_trial(trial, **options):
        raise ResourceError("disk full while writing x")

    monkeypatch.setattr(trainings, "run_trial", run_trial)
    with pytest.raises(ResourceError, match="disk full"):
        compare_methods(short, FEW, tmp_path / "out")


@pytest.mark.parametrize("stop", [Interrupted("stopped", hint="edgetune train --resume X"), KeyboardInterrupt()])
def test_interrupted_it_goes_on_with_the_same_command(short, tmp_path, monkeypatch, trained, stop):
    real = trainings.run_trial

    def run_trial(trial, **options):
        if len(trained) == 1:
            raise stop
        return real(trial, **options)

    with monkeypatch.context() as patched:
        patched.setattr(trainings, "run_trial", run_trial)
        with pytest.raises(Interrupted) as caught:
            compare_methods(short, FEW, tmp_path / "out")
    assert caught.value.hint is None
    compare_methods(short, FEW, tmp_path / "out")
    assert trained == [(f"tiny-{method}", seed) for seed in (17, 18, 19) for method in ("full", "lora")]


def test_wrong_words_leave_nothing_behind(short, tmp_path):
    with pytest.raises(WrongUsage, match="no method is called lore"):
        compare_methods(short, dataclasses.replace(FEW, methods=("lore",)), tmp_path / "runs" / "out")
    assert not (tmp_path / "runs").exists()


def test_one_comparison_at_a_time_in_a_folder(short, tmp_path):
    with comparing._alone(tmp_path / "out"), pytest.raises(InUse, match="another edgetune"):
        compare_methods(short, FEW, tmp_path / "out")


def test_exported_models_are_timed_in_turns_once(short, tmp_path, monkeypatch):
    monkeypatch.setattr(device, "PLAN", Plan(prompts=1, rounds=1, starts=0, memory_rounds=1, threads=1))
    wanted = dataclasses.replace(FEW, seeds=1, export=True)
    found = compare_methods(short, wanted, tmp_path / "out")
    assert [(one.method, one.format, one.precision) for one in found.devices] == [
        ("full", "onnx", "int8"),
        ("lora", "onnx", "int8"),
    ]
    assert all(one.size_bytes > 0 and {"latency", "peak_rss"} <= {f.name for f in one.figures} for one in found.devices)
    assert [(one.shift.name, one.apart) for one in found.devices] == [("accuracy", None)] * 2
    assert not any("apart" in warning for warning in found.warnings)
    monkeypatch.setattr(device, "bench_subjects", lambda *given: pytest.fail("it is stored"))
    assert compare_methods(short, wanted, tmp_path / "out").devices == found.devices


def test_what_cannot_be_exported_or_trained_on_few_rows_is_said_and_the_rest_is_kept(short, tmp_path, monkeypatch):
    real = trainings.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.data.train_limit and trial.resolved.recipe.train.seed == 18:
            raise DataError("class 'good' has no training row")
        return real(trial, **options)

    def look(module, job, log):
        if "-full-" in job["run"]:
            raise ExportError("no such operator")
        child.look(job)

    monkeypatch.setattr(device, "PLAN", Plan(prompts=1, rounds=1, starts=0, memory_rounds=1, threads=1))
    monkeypatch.setattr(trainings, "run_trial", run_trial)
    monkeypatch.setattr(trainings, "in_fresh_process", look)
    found = compare_methods(short, dataclasses.replace(FEW, seeds=2, shares=(0.5,), export=True), tmp_path / "out")
    assert [one.method for one in found.devices] == ["lora"]
    assert "full was not exported: no such operator" in found.warnings
    assert "lora, seed 18, was not trained on 50% of the rows: class 'good' has no training row" in found.warnings
    assert [len(found.of(method, 0.5)) for method in ("full", "lora")] == [1, 1]
    assert [len(found.of(method)) for method in ("full", "lora")] == [2, 2]


def test_one_failure_takes_nothing_else_away(short, tmp_path, monkeypatch):
    real = trainings.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.data.train_limit and trial.resolved.recipe.train.seed == 18:
            raise Diverged("the loss is not finite")
        return real(trial, **options)

    def fail(*_):
        raise EdgetuneError("the measured process died")

    monkeypatch.setattr(trainings, "run_trial", run_trial)
    monkeypatch.setattr(device, "time_all", fail)
    found = compare_methods(short, dataclasses.replace(FEW, seeds=2, shares=(0.5,), export=True), tmp_path / "out")
    assert found.left_out == ()
    assert [len(found.of(method)) for method in ("full", "lora")] == [2, 2]
    assert [len(found.of(method, 0.5)) for method in ("full", "lora")] == [1, 1]
    assert "lora, seed 18, was not trained on 50% of the rows: the loss is not finite" in found.warnings
    assert "what was exported was not timed: the measured process died" in found.warnings
    assert found.devices == ()


def test_forgetting_that_memory_is_too_short_for_is_not_measured(tmp_path, monkeypatch):
    resolved = tinytraining.write_recipe(tmp_path / "recipe", tinyruns.write_base(tmp_path / "base"))

    def look(module, job, log):
        raise OutOfMemory("not enough memory")

    monkeypatch.setattr(comparing, "no_general", lambda *_: None)
    monkeypatch.setattr(trainings, "in_fresh_process", look)
    found = compare_methods(resolved, dataclasses.replace(FEW, seeds=1), tmp_path / "out")
    assert found.left_out == ()
    assert all(one.forgot == () for one in found.trainings)
    assert any("forgot was not measured: not enough memory" in warning for warning in found.warnings)


def test_what_a_generating_model_forgets(tmp_path, monkeypatch):
    base = tinyruns.write_base(tmp_path / "base")
    resolved = tinytraining.write_recipe(tmp_path / "recipe", base, task={"max_new_tokens": 4})
    text, items = tmp_path / "text.txt", tmp_path / "items.jsonl"
    text.write_text("Some words that mean nothing at all.")
    items.write_text(json.dumps({"context": "Q", "choices": ["a", "b"], "answer": 0}) + "\n")
    monkeypatch.setattr(forgetting, "GeneralWanted", partial(GeneralWanted, items=str(items), text=text))
    found = compare_methods(resolved, FEW, tmp_path / "out")
    assert found.general_reason is None
    assert (tmp_path / "out" / "general-base.json").is_file()
    moved = [one.forgotten(BITS_PER_BYTE) for one in found.trainings]
    assert all(one is not None and one.after != one.before for one in moved)
    assert len({one.before for one in moved}) == 1, "every method starts from the same base"


def test_questions_that_are_not_installed_are_told_before_training(tmp_path, monkeypatch, trained):
    resolved = tinytraining.write_recipe(tmp_path / "recipe", tinyruns.write_base(tmp_path / "base"))

    def missing(wanted, seed):
        raise DataError("the questions are not installed")

    monkeypatch.setattr(GeneralWanted, "material", missing)
    with pytest.raises(DataError, match="not installed"):
        compare_methods(resolved, FEW, tmp_path / "out")
    assert trained == []


def test_the_command_prints_what_was_found(short, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["compare-methods", str(short.path), "--methods", "head-only,qlora", "--seeds", "1", "--max-steps", "4"]
    assert main([*words, "--no-export", "--rate", "head-only=0.1", "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert "learning rate,head-only,,0.1" in printed.out
    assert "qlora is left out" in printed.err
    assert (tmp_path / "runs" / "compare-methods" / "tiny" / "methods.json").is_file()
    assert main([*words, "--minutes", "1", "--examples", "2"]) == 2
    assert "two budgets" in capsys.readouterr().err


def test_nothing_trained_is_an_error(short, tmp_path, monkeypatch):
    def run_trial(trial, **options):
        raise OutOfMemory("not enough memory")

    monkeypatch.setattr(trainings, "run_trial", run_trial)
    with pytest.raises(EdgetuneError, match="no method could be trained"):
        compare_methods(short, FEW, tmp_path / "out")
