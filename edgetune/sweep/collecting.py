"""From the study to the stored record of a sweep."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from edgetune import __version__
from edgetune.sensitivity.record import Suggestion
from edgetune.sweep.figures import FEWEST, agreement, importance
from edgetune.sweep.record import Basis, State, Sweep, TrialRecord

if TYPE_CHECKING:
    import optuna

PACKAGES = ("optuna", "torch", "transformers", "peft")


def collect(study: optuna.Study, name: str, basis: Basis, limits: Mapping[str, float], suggestion: Suggestion) -> Sweep:
    """Everything that the study knows, with what can be said of it."""
    stored = study.get_trials(deepcopy=False)
    trials = tuple(_record(trial) for trial in stored)
    complete = [trial for trial in trials if trial.loss is not None]
    found = importance(complete, {trial.number: trial.params for trial in stored})
    few = f"{len(complete)} trials are complete, and {FEWEST} are needed"
    return Sweep(
        recipe=name,
        basis=basis,
        limits=dict(limits),
        trials=trials,
        best=min(complete, key=lambda trial: trial.reached).number if complete else None,
        importance=found,
        importance_missing=None if found else few,
        agreement=agreement(complete, suggestion),
        created=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        edgetune=__version__,
        versions={package: version(package) for package in PACKAGES},
    )


def _record(trial: Any) -> TrialRecord:
    known = trial.user_attrs
    state = _state(trial)
    return TrialRecord(
        number=trial.number,
        state=state,
        origin=known.get("origin", "sampled"),
        settings=known.get("settings", {}),
        targets=trial.params.get("targets"),
        loss=trial.value if state == "complete" else None,
        losses=dict(trial.intermediate_values),
        seconds=known.get("seconds"),
        peak_rss=known.get("peak_rss"),
        trainable_parameters=known.get("trainable_parameters"),
        reason=known.get("reason"),
        folder=known.get("folder"),
    )


def _state(trial: Any) -> State:
    words: dict[str, State] = {"COMPLETE": "complete", "PRUNED": "pruned", "RUNNING": "running", "WAITING": "waiting"}
    if trial.state.name in words:
        return words[trial.state.name]
    return "failed" if trial.user_attrs.get("outcome") == "failed" else "stopped"
