"""Trials: trainings of a recipe under other settings, each in a fresh process, and each done once.

A process of its own, because a peak of memory is of a process, and because one that dies takes no other trial along.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from edgetune.bench.processes import died, revive
from edgetune.errors import Interrupted
from edgetune.files import disk_errors
from edgetune.recipe import Origin, Resolved, put_setting, validate
from edgetune.run import Run, is_run, open_run
from edgetune.sources import default_folder

CHILD = "edgetune.trial_child"
#: How often somebody who watches a trial is asked whether it shall go on.
WATCH_SECONDS = 1.0
#: So many settings are told with their values where they do not suit a recipe.
_TOLD = 3


@dataclass(frozen=True)
class Trial:
    """One training: a resolved recipe and the run folder that is its own."""

    resolved: Resolved
    folder: Path

    @property
    def log(self) -> Path:
        """What the process says while it works: beside the run folder, which training makes itself."""
        return self.folder.with_name(f"{self.folder.name}.log")

    @property
    def run(self) -> Run | None:
        """The run, as far as it has come; None before it is prepared."""
        return open_run(self.folder) if is_run(self.folder) else None

    @property
    def trained(self) -> bool:
        """Whether nothing is left to train."""
        return (run := self.run) is not None and run.manifest.state == "trained"


def make_trial(resolved: Resolved, settings: Mapping[str, Any], root: Path) -> Trial:
    """A recipe under other settings, in the folder below ``root`` that belongs to them.

    Args:
        resolved: the recipe to change.
        settings: dotted key → value, as in :func:`with_settings`.
        root: of all trials; the same settings over the same files always get the same folder in it.

    Raises:
        RecipeError: the settings do not suit the task or each other.
    """
    changed = with_settings(resolved, settings)
    return Trial(changed, default_folder(changed, root))


def with_settings(resolved: Resolved, settings: Mapping[str, Any]) -> Resolved:
    """A resolved recipe with some settings replaced; they count as given by flag.

    Args:
        resolved: stays as it is.
        settings: dotted key → value: ``{"train.seed": 3, "data.prepare": None}``.

    Raises:
        RecipeError: a value is wrong, or does not suit the rest.
    """
    values = resolved.recipe.model_dump(mode="json")
    for key, value in settings.items():
        put_setting(values, key, value)
    told = [f"{key} = {value}" for key, value in settings.items()] if len(settings) <= _TOLD else settings
    recipe = validate(values, f"{resolved.path} with {', '.join(told)}")
    kept = {key: origin for key, origin in resolved.origins.items() if not _is_of(key, settings)}
    changed: dict[str, Origin] = dict.fromkeys(settings, "flag")
    return Resolved(recipe, kept | changed, resolved.path)


def _is_of(key: str, settings: Mapping[str, Any]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in settings)


def run_trial(
    trial: Trial,
    *,
    allow_scripts: bool = False,
    evaluate: bool = True,
    go_on: Callable[[Trial], bool] | None = None,
) -> Run:
    """Train a trial in a fresh process, or go on with it; what is trained already is not trained again.

    Args:
        trial: what to train. Its run is whole or can be gone on with at any moment, however this ends.
        allow_scripts: let the recipe run a data script that is not edgetune's own.
        evaluate: also evaluate the trained model on the held-out rows, which stores it in the run.
        go_on: asked about every second; when it says no, training stops after the step under way and saves.

    Raises:
        Interrupted: Ctrl-C, or ``go_on`` said no; the same call goes on.
        EdgetuneError: as training raised it, or that the process died.
    """
    job = {
        "recipe": trial.resolved.recipe.model_dump(mode="json"),
        "origins": dict(trial.resolved.origins),
        "path": str(trial.resolved.path),
        "folder": str(trial.folder),
        "allow_scripts": allow_scripts,
        "evaluate": evaluate,
    }
    if not trial.trained or evaluate:
        in_fresh_process(CHILD, job, trial.log, None if go_on is None else lambda: go_on(trial))
    return open_run(trial.folder)


def in_fresh_process(module: str, job: Mapping[str, Any], log: Path, go_on: Callable[[], bool] | None = None) -> None:
    """Have a module do a job in a process of its own; see :func:`edgetune.trial_child.do` for its side.

    Ctrl-C ends it as it would end a command: it saves what it has. That its standard input ends is how it is asked,
    so it also ends when this process is killed.

    Args:
        module: run with ``-m``; it reads the job, one line of JSON, from its standard input.
        job: what to do.
        log: gets what it says to people; written anew.
        go_on: asked about every second whether it shall.

    Raises:
        Interrupted: it was asked to stop.
        EdgetuneError: of the class that the process raised, or that it died.
    """
    with disk_errors(log):
        log.parent.mkdir(parents=True, exist_ok=True)
        said = log.open("w", encoding="utf-8")
    with said:
        child = subprocess.Popen(  # noqa: S603  # our own module in our own interpreter
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,  # a terminal's Ctrl-C is for this process, which passes it on once
        )
    with child:  # its pipes are closed when it has ended
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            with suppress(BrokenPipeError):  # it died before it read its job: told below
                child.stdin.write(json.dumps(job) + "\n")
                child.stdin.flush()
            asked = _wait(child, child.stdin, go_on)
        finally:
            child.kill()
        _raise_what_went_wrong(child, child.stdout.read(), log, asked)


#: Who asked a process to stop.
_Asked = Literal["nobody", "watcher", "user"]


def _wait(child: subprocess.Popen[str], stdin: IO[str], go_on: Callable[[], bool] | None) -> _Asked:
    """Until it has ended; ask it to stop where somebody wants that, and wait for what it saves.

    Raises:
        KeyboardInterrupt: a second one, while it is stopping.
    """
    asked: _Asked = "nobody"
    while True:
        try:
            with suppress(subprocess.TimeoutExpired):
                child.wait(WATCH_SECONDS)
                return asked
            if asked == "nobody" and go_on is not None and not go_on():
                asked = "watcher"
        except KeyboardInterrupt:
            if asked == "user":
                raise
            asked = "user"
        if asked != "nobody":
            with suppress(BrokenPipeError):
                stdin.close()


def _raise_what_went_wrong(child: subprocess.Popen[str], told: str, log: Path, asked: _Asked) -> None:
    if told:
        raise revive(json.loads(told))
    if asked == "user" or (asked == "watcher" and child.returncode):
        raise Interrupted("interrupted")
    if child.returncode:
        complaints = log.read_text(encoding="utf-8", errors="replace")
        raise died(child.returncode, complaints, f"the process whose log is {log}")
