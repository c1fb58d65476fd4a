from __future__ import annotations

import datetime as dt
import os
import platform
import subprocess
import sys

import pytest

from edgetune.errors import EdgetuneError, RecipeError
from edgetune.sweep.record import Basis, Space
from edgetune.sweep.study import RETRIES, STALE, again, basis_of, claim, enqueue_once, open_study, retry_lost


def basis(base="b"):
    space = Space(methods=("lora",), ranks=(4,), ratios=(2.0,), targets={"all": "auto"}, learning_rate=0.1, spread=1)
    return Basis(recipe_sha256="r", base_sha256=base, data_sha256={"train": "t"}, validation="own", space=space)


@pytest.fixture(params=["journal", "sqlite"])
def opened(request, tmp_path):
    storage = None if request.param == "journal" else f"sqlite:///{tmp_path / 'sweep.db'}"
    return lambda **changes: open_study(storage, tmp_path, basis(**changes), 0)


@pytest.fixture
def dead():
    """The number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def begin(study, **known):
    trial = study.ask()
    trial.suggest_float("rate", 0.1, 10.0)
    for key, value in known.items():
        trial.set_user_attr(key, value)
    return trial


def test_a_study_is_opened_again_and_shared(opened):
    opened().tell(begin(opened()).number, 1.0)
    assert [trial.value for trial in opened().trials] == [1.0]


def test_a_sweep_of_something_else_is_refused(opened):
    opened()
    with pytest.raises(RecipeError, match="different: the base"):
        opened(base="another")


def test_targets_are_those_of_the_worker_that_came_first(tmp_path):
    study = open_study(None, tmp_path, basis(), 0)
    other = basis()
    space = other.space.model_copy(update={"targets": {"all": "auto", "suggested": ("q_proj",)}})
    study = open_study(None, tmp_path, other.model_copy(update={"space": space}), 0)
    assert basis_of(study) == basis()
    with pytest.raises(RecipeError, match="different: what is tried"):
        open_study(None, tmp_path, other.model_copy(update={"space": space.model_copy(update={"ranks": (8,)})}), 0)


def test_a_storage_that_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(EdgetuneError, match="cannot be opened"):
        open_study("nonsense://x", tmp_path, basis(), 0)


def test_a_study_that_goes_on_does_not_draw_the_same_again(opened):
    drawn = []
    for _ in range(3):
        study = opened()
        trial = begin(study)
        drawn.append(trial.params["rate"])
        study.tell(trial, 1.0)
    assert len(set(drawn)) == 3


def test_first_choices_are_enqueued_once(opened):
    for _ in range(2):
        enqueue_once(opened(), "recipe", {"rate": 1.0})
    assert len(opened().trials) == 1


def test_the_trial_of_a_killed_worker_is_tried_again_where_it_was(opened, dead):
    study = opened()
    lost = begin(study, host=platform.node(), pid=dead, origin="recipe")
    assert retry_lost(opened(), frozenset()) == [lost.number]
    assert retry_lost(opened(), frozenset()) == [], "another worker has done it"
    retried = opened().ask()
    assert retried.suggest_float("rate", 0.1, 10.0) == lost.params["rate"]
    assert retried.user_attrs["place"] == lost.number
    assert retried.user_attrs["origin"] == "recipe"


def test_the_trial_of_a_living_worker_is_left_alone(opened):
    study = opened()
    trial = begin(study)
    claim(trial)
    trial.set_user_attr("pid", os.getppid())
    assert retry_lost(study, frozenset()) == []


def test_a_worker_elsewhere_is_gone_when_nothing_is_heard_of_it(opened):
    study = opened()
    now = dt.datetime.now(dt.UTC)
    begin(study, host="elsewhere", pid=1, heard=now.isoformat())
    silent = begin(study, host="elsewhere", pid=1, heard=(now - STALE - STALE).isoformat())
    assert retry_lost(study, frozenset()) == [silent.number]


def test_own_trials_are_not_lost(opened, dead):
    study = opened()
    trial = begin(study, host=platform.node(), pid=dead)
    assert retry_lost(study, frozenset({trial.number})) == []


def test_a_trial_that_kills_its_workers_is_given_up(opened, dead):
    study = opened()
    begin(study, host=platform.node(), pid=dead)
    for _ in range(RETRIES):
        assert len(retry_lost(study, frozenset())) == 1
        begin(study, host=platform.node(), pid=dead)
    retry_lost(study, frozenset())
    assert [trial.state.name for trial in study.trials] == ["FAIL"] * (1 + RETRIES)


def test_a_trial_that_was_stopped_is_always_gone_on_with(opened):
    study = opened()
    for _ in range(RETRIES + 2):
        trial = begin(study)
        study.tell(trial, state=__import__("optuna").trial.TrialState.FAIL)
        again(study, study.trials[trial.number], "stopped", limit=None)
    assert study.trials[-1].state.name == "WAITING"
    assert {trial.user_attrs.get("place", 0) for trial in study.trials} == {0}
