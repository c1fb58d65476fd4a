"""Workers over trainings that are played: each trains as its settings tell it, and fails as the test wants."""

from __future__ import annotations

import _thread
import json
import platform
import subprocess
import sys
import threading
import time

import pytest
import tinyclassifier

from edgetune.errors import EdgetuneError, Interrupted, ModelError, OutOfMemory, ResourceError, TrainingError
from edgetune.run import create_run
from edgetune.sweep import working
from edgetune.sweep.record import Basis, Space
from edgetune.sweep.study import open_study
from edgetune.sweep.working import Work, work_all

SPACE = Space(methods=("lora",), ranks=(2, 4), ratios=(2.0,), targets={"all": "auto"}, learning_rate=1e-3, spread=10.0)
BASIS = Basis(recipe_sha256="r", base_sha256="b", data_sha256={"train": "t"}, validation="own", space=SPACE)


@pytest.fixture
def resolved(tmp_path, base):
    return tinyclassifier.write_recipe(tmp_path / "recipe", base)


@pytest.fixture
def make(tmp_path, resolved):
    def make(wanted=None):
        return Work(open_study(None, tmp_path, BASIS, 0), resolved, SPACE, tmp_path / "trials", wanted, None)

    return make


def play(monkeypatch, losses=lambda n: [0.5, 0.4], end=None):
    """Trainings that write these losses, one after the other, and then end as ``end`` says."""
    calls = []

    def run_trial(job, *, evaluate, go_on):
        assert not evaluate, "nothing of a sweep looks at held-out rows"
        number = len(calls)
        calls.append(job)
        if end is not None and (error := end(number)) is not None:
            raise error
        run = create_run(job.resolved, job.folder, created="2026-01-01T00:00:00Z", version="0")
        found = losses(number)
        for step, loss in enumerate(found, 1):
            entry = {"event": "evaluation", "step": step, "eval_loss": loss, "trained_s": 1.0 * step, "peak_rss": 7}
            with run.metrics_file.open("a") as handle:
                handle.write(json.dumps(entry) + "\n")
            if not go_on(job):
                raise Interrupted("interrupted")
        run.update_manifest(state="trained", result={"best_eval_loss": min(found), "trainable_parameters": 5})
        return run

    monkeypatch.setattr(working, "run_trial", run_trial)
    return calls


def outcomes(work):
    return [trial.user_attrs.get("outcome") for trial in work.study.trials]


def test_trials_are_trained_until_there_are_enough(make, monkeypatch):
    calls = play(monkeypatch, lambda n: [0.5, 0.4 - n / 100])
    work_all(work := make(wanted=3), workers=1)
    assert len(calls) == 3
    assert work.study.best_value == pytest.approx(0.38)
    first = work.study.trials[0]
    assert first.intermediate_values == {1: 0.5, 2: 0.4}
    assert first.user_attrs["trainable_parameters"] == 5
    assert first.user_attrs["settings"]["method.rank"] in (2, 4)
    assert calls[0].resolved.recipe.train.learning_rate == first.user_attrs["settings"]["train.learning_rate"]


def test_called_again_it_goes_on_to_where_there_are_enough(make, monkeypatch):
    calls = play(monkeypatch)
    work_all(make(wanted=2), workers=1)
    work_all(make(wanted=2), workers=1)
    work_all(make(wanted=3), workers=1)
    assert len(calls) == 3


def test_several_workers_share_the_trials(make, monkeypatch):
    threads = set()
    together = threading.Barrier(2, timeout=60)

    def losses(number):
        threads.add(threading.current_thread().name)
        together.wait()  # no worker gets on alone
        return [0.5]

    calls = play(monkeypatch, losses)
    work_all(make(wanted=4), workers=2)
    assert len(threads) == 2
    assert len({job.folder for job in calls}) == len(calls)


def test_what_is_worse_than_the_others_is_stopped_early(make, monkeypatch):
    play(monkeypatch, lambda n: [0.5, 0.4, 0.3, 0.2] if n < 6 else [9.0, 9.0, 9.0, 0.1])
    work_all(work := make(wanted=7), workers=1)
    last = work.study.trials[6]
    assert last.state.name == "PRUNED"
    assert max(last.intermediate_values) < 4


@pytest.mark.parametrize("error", [OutOfMemory("not enough memory: 9 GB"), TrainingError("the loss is not finite")])
def test_a_trial_that_fails_is_noted_and_the_sweep_goes_on(make, monkeypatch, error):
    play(monkeypatch, end=lambda n: error if n == 1 else None)
    work_all(work := make(wanted=3), workers=1)
    assert outcomes(work) == ["complete", "failed", "complete", "complete"]
    assert work.study.trials[1].user_attrs["reason"] == error.message


def test_a_sweep_in_which_everything_fails_ends(make, monkeypatch):
    calls = play(monkeypatch, end=lambda n: OutOfMemory(f"not enough memory: {n}"))
    with pytest.raises(EdgetuneError, match="3 of 3 trials failed") as caught:
        work_all(make(wanted=20), workers=1)
    assert len(calls) == 3
    assert caught.value.problems[0] == "trial 0: not enough memory: 0"


def test_what_is_wrong_with_the_recipe_ends_the_sweep_at_once(make, monkeypatch):
    calls = play(monkeypatch, end=lambda n: ModelError("the base is gone"))
    with pytest.raises(ModelError, match="the base is gone"):
        work_all(make(wanted=20), workers=2)
    assert len(calls) <= 2


def test_when_the_time_is_up_what_runs_is_stopped_and_gone_on_with_next_time(make, monkeypatch):
    work = make()

    def losses(number):
        work.deadline = time.monotonic() - 1
        return [0.5, 0.4]

    calls = play(monkeypatch, losses)
    work_all(work, workers=1)
    assert outcomes(work) == ["stopped", None]
    again = make(wanted=1)
    play_again = []
    monkeypatch.setattr(working, "run_trial", lambda job, **_: play_again.append(job) or _trained(job))
    work_all(again, workers=1)
    assert play_again[0].folder == calls[0].folder
    assert play_again[0].resolved.recipe == calls[0].resolved.recipe


def _trained(job):
    from edgetune.run import open_run

    run = open_run(job.folder)
    run.update_manifest(state="trained", result={"best_eval_loss": 0.3, "trainable_parameters": 5})
    return run


def test_ctrl_c_stops_every_training_and_keeps_it(make, monkeypatch):
    work = make(wanted=5)

    def losses(number):
        _thread.interrupt_main()
        assert work.stop.wait(60)
        return [0.5, 0.4]

    play(monkeypatch, losses)
    with pytest.raises(Interrupted, match="keeps every trial"):
        work_all(work, workers=1)
    assert outcomes(work) == ["stopped", None]
    assert work.study.trials[1].state.name == "WAITING"


def test_a_sweep_that_only_fails_from_some_time_on_ends(make, monkeypatch):
    calls = play(monkeypatch, end=lambda n: OutOfMemory("no memory") if n >= 4 else None)
    with pytest.raises(EdgetuneError, match="4 of 8 trials failed"):
        work_all(make(wanted=20), workers=1)
    assert len(calls) == 8


def test_a_full_disk_ends_a_sweep_at_once_and_keeps_it(make, monkeypatch):
    calls = play(monkeypatch, end=lambda n: ResourceError("disk full while writing x") if n == 1 else None)
    with pytest.raises(ResourceError, match="disk full"):
        work_all(work := make(wanted=5), workers=1)
    assert (len(calls), outcomes(work)) == (2, ["complete", "failed"])


def test_a_trial_that_a_killed_process_left_is_none_of_those_wanted(make, monkeypatch):
    calls = play(monkeypatch)
    work_all(make(1), 1)
    gone = make(2)
    trial = gone.study.ask()
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    trial.set_user_attr("pid", int(done.stdout))
    trial.set_user_attr("host", platform.node())
    work_all(make(2), 1)
    assert len(calls) == 2, "it was tried again, and not waited for"
    states = [one.state.name for one in make().study.trials]
    assert states.count("COMPLETE") == 2
    assert "RUNNING" not in states


def test_workers_together_train_no_more_than_wanted(make, monkeypatch):
    calls = play(monkeypatch, end=lambda _: time.sleep(0.05))  # none of them fails, and all overlap
    work_all(make(3), 4)
    assert len(calls) == 3
