"""A recipe under other settings, trained in fresh processes that can be stopped, killed and gone on with."""

from __future__ import annotations

import _thread
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import tinyclassifier

from edgetune import trials
from edgetune.errors import DataError, EdgetuneError, Interrupted, RecipeError
from edgetune.evaluation.record import load
from edgetune.trials import in_fresh_process, make_trial, run_trial, with_settings

HELPERS = Path(__file__).parent / "helpers"


@pytest.fixture
def resolved(tmp_path):
    return tinyclassifier.write_recipe(tmp_path / "recipe", tinyclassifier.write_base(tmp_path / "base"))


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HELPERS), *sys.path]))


def test_settings_replace_those_of_the_recipe_and_nothing_else(resolved):
    changed = with_settings(resolved, {"train.seed": 3, "method.kind": "full"})
    assert (changed.recipe.train.seed, changed.recipe.method.kind) == (3, "full")
    assert changed.recipe.train.max_steps == resolved.recipe.train.max_steps
    assert changed.origins["train.seed"] == "flag"
    assert changed.origins["train.max_steps"] == "recipe"
    assert resolved.recipe.train.seed == 17


def test_a_whole_section_can_be_replaced(resolved):
    prepare = {"script": "prepare.py", "arguments": ()}
    with_script = with_settings(resolved, {"data.prepare": prepare})
    without = with_settings(with_script, {"data.prepare": None})
    assert without.recipe == resolved.recipe
    assert "data.prepare.script" not in without.origins


def test_what_does_not_suit_the_task_is_refused(resolved):
    with pytest.raises(RecipeError) as caught:
        with_settings(resolved, {"method.kind": "qlora"})
    assert "qlora is for generation" in str(caught.value.problems)


def test_the_same_settings_have_the_same_folder(resolved, tmp_path):
    folders = [make_trial(resolved, {"train.seed": seed}, tmp_path / "trials").folder for seed in (1, 1, 2)]
    assert folders[0] == folders[1] != folders[2]


def test_a_trial_is_trained_and_evaluated_once(resolved, tmp_path, monkeypatch):
    trial = make_trial(resolved, {"train.seed": 3}, tmp_path / "trials")
    assert trial.run is None
    run = run_trial(trial)
    assert run.manifest.seed == 3
    assert run.manifest.result["peak_rss"] > 0
    assert load(run.evaluation_file("tuned")).score("accuracy").value > 0.6
    assert "training" in trial.log.read_text()
    monkeypatch.setattr(trials, "in_fresh_process", lambda *given: pytest.fail("nothing is left to do"))
    assert run_trial(trial, evaluate=False) == run


def test_who_watches_can_stop_a_trial_and_it_goes_on_later(resolved, tmp_path):
    trial = make_trial(resolved, {"train.max_steps": 100_000, "train.save_every": 5}, tmp_path / "trials")
    with pytest.raises(Interrupted, match="everything is saved"):
        run_trial(trial, go_on=lambda trial: not (trial.run and trial.run.metrics_file.is_file()))
    steps = [int(folder.name.split("-")[1]) for folder in trial.run.checkpoints_folder.glob("checkpoint-*")]
    assert 0 < max(steps) < 100_000
    assert not trial.trained


def test_an_error_of_the_process_is_raised_here(tmp_path):
    with pytest.raises(DataError) as caught:
        in_fresh_process("jobs", {"how": "fail"}, tmp_path / "log")
    assert (caught.value.message, caught.value.hint, caught.value.problems) == ("wrong rows", "mend them", ("row 1",))
    assert set((tmp_path / "log").read_text().splitlines()) == {"a script to the log", "to the log"}


def test_a_process_that_dies_is_told_with_its_log(tmp_path):
    with pytest.raises(EdgetuneError, match=r"the process whose log is .*log died \(signal 9\)") as caught:
        in_fresh_process("jobs", {"how": "die"}, tmp_path / "log")
    assert "a script to the log" in caught.value.problems


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_ctrl_c_waits_for_what_the_process_saves(tmp_path):
    file = tmp_path / "file"

    def press():
        wait_for(file.is_file)
        _thread.interrupt_main()

    threading.Thread(target=press).start()
    with pytest.raises(Interrupted, match="saved what there was"):
        in_fresh_process("jobs", {"how": "wait", "file": str(file)}, tmp_path / "log")
    assert file.read_text() == "saved"


def test_a_process_ends_with_the_one_that_started_it(tmp_path):
    file = tmp_path / "file"
    code = f"""
from pathlib import Path
from edgetune.trials import in_fresh_process
in_fresh_process("jobs", {{"how": "wait", "file": {str(file)!r}}}, Path({str(tmp_path / "log")!r}))
"""
    deaf = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"  # as a shell's background jobs are
    parent = subprocess.Popen([sys.executable, "-c", deaf + code])
    wait_for(file.is_file)
    (child,) = psutil.Process(parent.pid).children()
    parent.kill()
    parent.wait()
    wait_for(lambda: file.read_text() == "saved")
    psutil.wait_procs([child], timeout=60)
    said = (tmp_path / "log").read_text()
    assert "saved what there was" in said
    assert "Traceback" not in said
    assert "BrokenPipeError" not in said
