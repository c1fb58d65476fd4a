"""From a recipe to a sweep, its record, its pictures, and the best recipe."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from edgetune import console
from edgetune.changed_recipe import write_changed
from edgetune.data.advice import Advice
from edgetune.errors import MissingExtra, WrongUsage
from edgetune.recipe import Resolved
from edgetune.sources import default_folder
from edgetune.stored import write_stored
from edgetune.sweep.charts import write_charts
from edgetune.sweep.collecting import collect
from edgetune.sweep.preparing import Shared, prepare
from edgetune.sweep.record import Basis, Space, Sweep, TrialRecord
from edgetune.sweep.space import first_choices, make_space
from edgetune.sweep.study import basis_of, enqueue_once, load_optuna, open_study
from edgetune.sweep.wanted import Wanted
from edgetune.sweep.working import Work, work_all
from edgetune.trials import with_settings

#: Where sweeps are stored, and what lies in the folder of one.
ROOT = Path("sweeps")
RECORD, BEST, TRIALS, CHARTS = "sweep.json", "best.yaml", "trials", "charts"


@dataclass(frozen=True)
class Swept:
    """A sweep and where it lies."""

    sweep: Sweep
    folder: Path

    @property
    def best_recipe(self) -> Path | None:
        """The recipe with the best settings."""
        return self.folder / BEST if self.sweep.best is not None else None


def sweep(resolved: Resolved, wanted: Wanted, folder: Path | None = None) -> Swept:
    """Train a recipe under many settings, or go on with that.

    Args:
        resolved: the recipe; its method is an adapter.
        wanted: what is asked for.
        folder: of the sweep; default: ``sweeps/NAME-HASH``.

    Raises:
        MissingExtra: Optuna is not installed.
        WrongUsage: neither trials nor minutes end it.
        RecipeError: the folder or storage holds another sweep, or a method does not suit the task.
        Interrupted: Ctrl-C; the same call goes on.
        EdgetuneError: the recipe cannot be trained at all.
    """
    load_optuna()
    if wanted.trials is None and wanted.minutes is None:
        raise WrongUsage("a sweep needs an end", hint="--minutes 60, or --trials 30")
    place = folder or default_folder(resolved, ROOT)
    shared = prepare(resolved, place, wanted.limits, allow_scripts=wanted.allow_scripts)
    space = make_space(resolved.recipe, shared.suggestion, wanted.methods, wanted.ranks, wanted.spread)
    _require_suitable(shared, space)
    study = open_study(wanted.storage, place, _basis(shared, space), resolved.recipe.train.seed)
    basis = basis_of(study)
    choices = first_choices(resolved.recipe, shared.suggestion, basis.space)
    if shared.suggestion.changes and "suggested" not in choices:
        console.note("what edgetune suggest proposes is not among the ranks of this sweep, and is not tried")
    for origin, params in choices.items():
        enqueue_once(study, origin, dict(params))
    deadline = None if wanted.minutes is None else time.monotonic() + 60 * wanted.minutes
    work = Work(study, shared.resolved, basis.space, place / TRIALS, wanted.trials, deadline)
    try:
        work_all(work, wanted.workers)
    finally:  # whatever ends it, what was tried can be read
        done = Swept(collect(study, resolved.recipe.name, basis, wanted.limits, shared.suggestion), place)
        _store(done, resolved)
    return done


def _require_suitable(shared: Shared, space: Space) -> None:
    """Refuse methods that the task cannot take, before anything is trained.

    Raises:
        RecipeError: naming the method.
    """
    for method in space.methods:
        with_settings(shared.resolved, {"method.kind": method})


def _basis(shared: Shared, space: Space) -> Basis:
    return Basis(
        recipe_sha256=shared.recipe_sha256,
        base_sha256=shared.base_sha256,
        data_sha256=dict(shared.data_sha256),
        validation=shared.validation,
        space=space,
    )


def _store(done: Swept, resolved: Resolved) -> None:
    """Record, pictures and the best recipe; they replace those of an earlier call."""
    write_stored(done.folder / RECORD, done.sweep)
    try:
        write_charts(done.sweep, done.folder / CHARTS)
    except MissingExtra as missing:
        console.note(f"no pictures: {missing.message}; {missing.hint}")
    if done.sweep.best is not None and done.best_recipe is not None:
        best = done.sweep.trial(done.sweep.best)
        write_changed(resolved, _changes(best, done.sweep), done.best_recipe, written_by="edgetune sweep")


def _changes(best: TrialRecord, sweep: Sweep) -> list[Advice]:
    limits = ", ".join(f"{name} {value:g}" for name, value in sweep.limits.items())
    short = f", each with {limits}: longer trainings may want other settings" if limits else ""
    why = f"trial {best.number} of {len(sweep.complete)} complete ones, lowest validation loss ({best.loss:.4f}){short}"
    return [Advice(key, tuple(v) if isinstance(v, list) else v, why) for key, v in best.settings.items()]
