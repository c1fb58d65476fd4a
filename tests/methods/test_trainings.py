"""Which trainings a comparison makes, over which rows and at which rates."""

from __future__ import annotations

import dataclasses

import pytest
import tinyclassifier

from edgetune.errors import (
    Diverged,
    OutOfMemory,
)
from edgetune.methods import trainings
from edgetune.methods.collecting import tuned_evaluation
from edgetune.methods.comparing import compare_methods
from edgetune.methods.planning import Wanted
from edgetune.run import open_run
from edgetune.trials import with_settings

FEW = Wanted(methods=("full", "lora"), export=False)

pytestmark = pytest.mark.usefixtures("trained")


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
    real = trainings.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.method.kind == "full" and trial.resolved.recipe.train.seed == 18:
            raise OutOfMemory("training 7 M parameters needs at least 3 GB more memory")
        return real(trial, **options)

    monkeypatch.setattr(trainings, "run_trial", run_trial)
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
    real = trainings.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.method.kind == "lora" and trial.resolved.recipe.train.learning_rate > 0.005:
            raise Diverged("the loss is not finite at step 3")
        return real(trial, **options)

    monkeypatch.setattr(trainings, "run_trial", run_trial)
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
    real, begun = trainings.run_trial, []

    def run_trial(trial, **options):
        begun.append(trial.folder.name)
        loss = loss_of(trial.resolved.recipe)
        if loss is None:
            raise Diverged("the loss is not finite at step 3")
        run = real(trial, **options)
        run.update_manifest(result={**run.manifest.result, "best_eval_loss": loss})
        return run

    monkeypatch.setattr(trainings, "run_trial", run_trial)
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


def test_at_the_lowest_rate_all_seeds_are_trained_though_it_is_too_high_too(short, tmp_path, monkeypatch):
    def loss_of(recipe):
        if recipe.name.endswith("-rate"):
            return TRIED[recipe.train.learning_rate]
        return 0.9 if recipe.train.seed >= 18 or recipe.train.learning_rate < 0.01 else 0.05

    end_with(monkeypatch, loss_of)
    found = compare_methods(short, dataclasses.replace(FEW, tries=4, rates={"full": 1e-3}), tmp_path / "out")
    assert found.rates[1].given_up == (0.01,)
    assert [(one.seed, one.settings["train.learning_rate"]) for one in found.of("lora")] == [
        (seed, 0.00316) for seed in (17, 18, 19)
    ]
    assert sum("no lower rate is left" in one for one in found.warnings) == 1


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
    real = trainings.run_trial

    def run_trial(trial, **options):
        if trial.resolved.recipe.method.kind == "lora":
            raise Diverged("the loss is not finite at step 3")
        return real(trial, **options)

    monkeypatch.setattr(trainings, "run_trial", run_trial)
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
