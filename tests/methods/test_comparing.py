"""Trainings of all methods and seeds, with tiny models: in this process, so that a test takes seconds."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import pytest
import tinyclassifier
import tinyruns
import tinytraining
import torch

from edgetune import training
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
)
from edgetune.evaluation import evaluate_run
from edgetune.general.figures import BITS_PER_BYTE
from edgetune.general.report import GeneralWanted
from edgetune.methods import child, comparing, device, forgetting
from edgetune.methods.collecting import tuned_evaluation
from edgetune.methods.comparing import compare_methods
from edgetune.methods.planning import Wanted
from edgetune.methods.record import MethodsComparison
from edgetune.run import open_run
from edgetune.trials import with_settings

FEW = Wanted(methods=("full", "lora"), export=False)


@pytest.fixture(autouse=True)
def trained(monkeypatch):
    """What is trained, in this process: (name of the recipe, seed) in their order."""
    torch.set_num_threads(1)
    seen = []

    def run_trial(trial, *, allow_scripts, evaluate=True):
        run = training.train(trial.resolved, trial.folder, allow_scripts=allow_scripts)
        if evaluate:
            evaluate_run(run, "tuned")
        seen.append((trial.resolved.recipe.name, run.manifest.seed))
        return run

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    monkeypatch.setattr(comparing, "in_fresh_process", lambda module, job, log: child.look(job))
    return seen


@pytest.fixture
def short(resolved):
    return with_settings(resolved, {"train.max_steps": 12, "train.evaluate_every": 6})


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


def test_other_rows_in_the_same_file_are_trained_anew(short, tmp_path, trained):
    one = dataclasses.replace(FEW, methods=("lora",), seeds=1)
    compare_methods(short, one, tmp_path / "out")
    tinyclassifier.write_rows(tmp_path / "recipe" / "train.jsonl", tinyclassifier.rows(48))
    assert compare_methods(short, one, tmp_path / "out").trainings[0].rows == 48
    assert len(trained) == 2


@pytest.mark.parametrize("limit", [{}, {"data.heldout_limit": 5}])
def test_every_seed_trains_on_the_same_rows_and_is_asked_the_same(short, tmp_path, limit):
    """Also where the recipe leaves it to the seed which rows are held out: they are parted once."""
    wanted = dataclasses.replace(FEW, seeds=2)
    compare_methods(with_settings(short, {"data.heldout": None, **limit}), wanted, tmp_path / "out")
    runs = [open_run(file.parent) for file in (tmp_path / "out" / "trials").glob("tiny-*/manifest.json")]
    assert len(runs) == 4
    assert len({run.manifest.data_sha256["train"] for run in runs}) == 1
    asked = {(one.basis.data_sha256, one.basis.rows) for one in map(tuned_evaluation, runs)}
    assert len(asked) == 1
    assert not limit or len(asked.pop()[1]) == 5


def test_a_data_script_runs_once(short, tmp_path):
    folder = short.path.parent
    (folder / "make.py").write_text(
        "import pathlib, shutil, sys\n"
        "here, there = pathlib.Path(__file__).parent, pathlib.Path(sys.argv[sys.argv.index('--output') + 1])\n"
        "for name in ('train', 'heldout'):\n"
        "    shutil.copyfile(here / f'{name}.jsonl', there / f'{name}.jsonl')\n"
        f"with open({str(tmp_path / 'calls')!r}, 'a') as calls:\n"
        "    calls.write('called\\n')\n"
    )
    made = with_settings(short, {"data.train": None, "data.heldout": None, "data.prepare": {"script": "make.py"}})
    compare_methods(made, dataclasses.replace(FEW, seeds=1), tmp_path / "out", allow_scripts=True)
    assert (tmp_path / "calls").read_text() == "called\n"


def test_shares_of_the_rows(short, tmp_path):
    wanted = dataclasses.replace(FEW, methods=("lora",), seeds=1, shares=(0.5,))
    found = compare_methods(short, wanted, tmp_path / "out")
    assert [(one.share, one.rows) for one in found.trainings] == [(1.0, 64), (0.5, 32)]


def test_a_method_that_does_not_fit_into_memory_is_left_out(short, tmp_path, monkeypatch):
    real = comparing.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.method.kind == "full" and trial.resolved.recipe.train.seed == 18:
            raise OutOfMemory("training 7 M parameters needs at least 3 GB more memory")
        return real(trial, **options)

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    found = compare_methods(short, FEW, tmp_path / "out")
    assert found.methods == ("lora",)
    assert [(one.method, one.reason) for one in found.left_out] == [
        ("full", "training 7 M parameters needs at least 3 GB more memory")
    ]


def test_rates_are_tried_first_and_once(short, tmp_path, trained):
    wanted = dataclasses.replace(FEW, seeds=1, tries=2, rates={"full": 1e-4})
    found = compare_methods(short, wanted, tmp_path / "out")
    full, lora = found.rates
    assert (full.value, full.tried) == (1e-4, ())
    assert [one.rate for one in lora.tried] == [0.00316, 0.01]
    assert lora.value == min(lora.tried, key=lambda one: one.loss).rate
    assert found.of("lora")[0].settings["train.learning_rate"] == lora.value
    assert [name for name, seed in trained] == ["tiny-lora-rate", "tiny-lora-rate", "tiny-full", "tiny-lora"]
    assert 17 not in [seed for name, seed in trained if name.endswith("-rate")]
    assert not list((tmp_path / "out").rglob("*-rate-*/*")), "only the loss of a try is kept"
    trained.clear()
    assert compare_methods(short, wanted, tmp_path / "out").rates == found.rates
    assert trained == []


def test_a_method_that_diverges_is_left_out_and_in_a_try_it_is_a_rate_too_high(short, tmp_path, monkeypatch):
    real = comparing.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.method.kind == "lora" and trial.resolved.recipe.train.learning_rate > 0.005:
            raise Diverged("the loss is not finite at step 3")
        return real(trial, **options)

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    one = dataclasses.replace(FEW, seeds=1)
    left = compare_methods(short, one, tmp_path / "out")
    assert [(one.method, one.reason) for one in left.left_out] == [("lora", "the loss is not finite at step 3")]
    tuned = compare_methods(short, dataclasses.replace(one, tries=2), tmp_path / "out")
    assert any("each checkpoint and each learning rate" in warning for warning in tuned.warnings)
    assert tuned.left_out == ()
    lora = next(rate for rate in tuned.rates if rate.method == "lora")
    assert [(one.rate, one.loss is None) for one in lora.tried] == [(0.00316, False), (0.01, True)]


def end_with(monkeypatch, loss_of):
    """Have trainings end at losses that a function of the recipe says; None: the rate makes it diverge."""
    real, begun = comparing.run_trial, []

    def run_trial(trial, **options):
        begun.append(trial.folder.name)
        loss = loss_of(trial.resolved.recipe)
        if loss is None:
            raise Diverged("the loss is not finite at step 3")
        run = real(trial, **options)
        run.update_manifest(result={**run.manifest.result, "best_eval_loss": loss})
        return run

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    return begun


TRIED = {0.00316: 0.2, 0.01: 0.1, 0.0316: 0.5}


@pytest.mark.parametrize("worse", [0.11, None])
def test_a_rate_that_a_whole_training_does_not_bear_is_given_up_for_the_next_lower(short, tmp_path, monkeypatch, worse):
    def loss_of(recipe):
        if recipe.name.endswith("-rate"):
            return TRIED[recipe.train.learning_rate]
        bad = recipe.method.kind == "lora" and recipe.train.learning_rate == 0.01 and recipe.train.seed == 18
        return worse if bad else 0.05

    begun = end_with(monkeypatch, loss_of)
    wanted = dataclasses.replace(FEW, tries=4, rates={"full": 1e-3}, shares=(0.5,))
    found = compare_methods(short, wanted, tmp_path / "out")
    lora = found.rates[1]
    assert (lora.value, lora.given_up) == (0.00316, (0.01,))
    assert "the whole training from seed 18" in lora.why
    assert found.methods == ("full", "lora")
    assert [one.seed for one in found.of("lora")] == [17, 18, 19]
    assert {one.settings["train.learning_rate"] for one in (*found.of("lora"), *found.of("lora", 0.5))} == {0.00316}
    assert not found.left_out
    begun.clear()
    again = compare_methods(short, wanted, tmp_path / "out")
    assert (again.rates, again.trainings) == (found.rates, found.trainings)
    assert begun == []


def test_where_no_lower_rate_was_tried_that_is_said_once(short, tmp_path, monkeypatch):
    def loss_of(recipe):
        return TRIED[recipe.train.learning_rate] if recipe.name.endswith("-rate") else 0.9

    monkeypatch.setitem(TRIED, 0.00316, 0.01)
    monkeypatch.setitem(TRIED, 0.001, 0.3)
    end_with(monkeypatch, loss_of)
    found = compare_methods(short, dataclasses.replace(FEW, tries=2, rates={"full": 1e-3}), tmp_path / "out")
    assert found.rates[1].given_up == ()
    said = [one for one in found.warnings if "no lower rate is left" in one]
    assert said == ["lora from seed 17 ended worse than its short try or diverged, and no lower rate is left"]


def test_a_method_that_diverges_at_every_rate_is_left_out_with_what_to_do(short, tmp_path, monkeypatch):
    real = comparing.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.method.kind == "lora":
            raise Diverged("the loss is not finite at step 3")
        return real(trial, **options)

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    found = compare_methods(short, dataclasses.replace(FEW, seeds=1, tries=3), tmp_path / "out")
    (left,) = found.left_out
    assert left.reason == "lora diverged at every rate that was tried, down to 0.001 (--rate lora=0.0001)"


def test_a_rate_that_makes_the_loss_worse_is_warned_of(short, tmp_path):
    wanted = dataclasses.replace(FEW, methods=("full",), seeds=1, rates={"full": 1.0})
    logged = with_settings(short, {"train.log_every": 1})
    (training_found,) = compare_methods(logged, wanted, tmp_path / "out").trainings
    assert training_found.got_worse
    found = compare_methods(logged, wanted, tmp_path / "out")
    assert any("too low for so few steps: full" in warning for warning in found.warnings)
    quiet = compare_methods(logged, dataclasses.replace(wanted, rates={"full": 1e-3}), tmp_path / "out")
    assert not any("too high" in warning for warning in quiet.warnings)


def test_a_full_disk_ends_the_comparison(short, tmp_path, monkeypatch):
    def run_trial(trial, **options):
        raise ResourceError("disk full while writing x")

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    with pytest.raises(ResourceError, match="disk full"):
        compare_methods(short, FEW, tmp_path / "out")


@pytest.mark.parametrize("stop", [Interrupted("stopped", hint="edgetune train --resume X"), KeyboardInterrupt()])
def test_interrupted_it_goes_on_with_the_same_command(short, tmp_path, monkeypatch, trained, stop):
    real = comparing.run_trial

    def run_trial(trial, **options):
        if len(trained) == 1:
            raise stop
        return real(trial, **options)

    with monkeypatch.context() as patched:
        patched.setattr(comparing, "run_trial", run_trial)
        with pytest.raises(Interrupted) as caught:
            compare_methods(short, FEW, tmp_path / "out")
    assert caught.value.hint is None
    compare_methods(short, FEW, tmp_path / "out")
    assert trained == [(f"tiny-{method}", seed) for seed in (17, 18, 19) for method in ("full", "lora")]


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
    real = comparing.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.data.train_limit and trial.resolved.recipe.train.seed == 18:
            raise DataError("class 'good' has no training row")
        return real(trial, **options)

    def look(module, job, log):
        if "-full-" in job["run"]:
            raise ExportError("no such operator")
        child.look(job)

    monkeypatch.setattr(device, "PLAN", Plan(prompts=1, rounds=1, starts=0, memory_rounds=1, threads=1))
    monkeypatch.setattr(comparing, "run_trial", run_trial)
    monkeypatch.setattr(comparing, "in_fresh_process", look)
    found = compare_methods(short, dataclasses.replace(FEW, seeds=2, shares=(0.5,), export=True), tmp_path / "out")
    assert [one.method for one in found.devices] == ["lora"]
    assert "full was not exported: no such operator" in found.warnings
    assert "lora, seed 18, was not trained on 50% of the rows: class 'good' has no training row" in found.warnings
    assert [len(found.of(method, 0.5)) for method in ("full", "lora")] == [1, 1]
    assert [len(found.of(method)) for method in ("full", "lora")] == [2, 2]


def test_one_failure_takes_nothing_else_away(short, tmp_path, monkeypatch):
    real = comparing.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.data.train_limit and trial.resolved.recipe.train.seed == 18:
            raise Diverged("the loss is not finite")
        return real(trial, **options)

    def fail(*_):
        raise EdgetuneError("the measured process died")

    monkeypatch.setattr(comparing, "run_trial", run_trial)
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
    monkeypatch.setattr(comparing, "in_fresh_process", look)
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

    monkeypatch.setattr(comparing, "run_trial", run_trial)
    with pytest.raises(EdgetuneError, match="no method could be trained"):
        compare_methods(short, FEW, tmp_path / "out")
