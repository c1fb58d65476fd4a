"""The trainings of a comparison: every method from every seed, each in a process of its own, kept once it is done."""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from edgetune import console
from edgetune.bench.company import Company
from edgetune.errors import DataError, Diverged, EdgetuneError, OutOfMemory
from edgetune.general.comparing import compare
from edgetune.methods import child
from edgetune.methods.collecting import collect
from edgetune.methods.device import format_of
from edgetune.methods.forgetting import stored_general
from edgetune.methods.planning import Method, Wanted
from edgetune.methods.record import LeftOut, Training, Try
from edgetune.methods.tuning import at_lower_rate, is_given_up, short, tune
from edgetune.recipe import Resolved
from edgetune.run import Run
from edgetune.stored import read_if_sound, write_stored
from edgetune.trial_rows import fixed_rows, rows_settings, same_questions
from edgetune.trials import Trial, in_fresh_process, make_trial, run_trial, with_settings

#: In the folder of a comparison.
TRIALS, ROWS, BASE_GENERAL = "trials", "rows", "general-base.json"
#: Rates are tried from a seed that no method is compared from.
_TUNING_SEED = 1000


@dataclass
class Trainings:
    """Trainings on their way, and what was found so far.

    Attributes:
        folder: of the comparison.
        left_out: methods that are not trained, or not any more.
        lacking: what could not be had of a method that was trained, and why.
        trained: by method, seed and share of the rows.
        diverged: method and seed of trainings on all rows that did, at a rate below which another one was tried.
        laid: the recipe over rows that all trainings share.
    """

    resolved: Resolved
    wanted: Wanted
    folder: Path
    allow_scripts: bool
    left_out: list[LeftOut]
    lacking: list[str] = field(default_factory=list)
    trained: dict[tuple[str, int, float], tuple[Trial, Training]] = field(default_factory=dict)
    diverged: set[tuple[str, int]] = field(default_factory=set)
    laid: Resolved = field(init=False)

    def __post_init__(self) -> None:
        """Make the rows once: that may take longer than a training."""
        place = make_trial(self.resolved, {"name": ROWS}, self.folder / TRIALS).folder
        run, recipe = fixed_rows(self.resolved, place, allow_scripts=self.allow_scripts), self.resolved.recipe
        self.laid = with_settings(self.resolved, rows_settings(run, recipe) | same_questions(run, recipe))

    @property
    def seeds(self) -> list[int]:
        """Of the trainings of each method."""
        first = self.resolved.recipe.train.seed
        return list(range(first, first + self.wanted.seeds))

    def tuned(self, methods: list[Method]) -> list[Method]:
        """With rates that were tried, where that is wanted and none was given."""
        chosen = [method for method in methods if self.wanted.tries and method.name not in self.wanted.rates]
        if not chosen:
            return methods
        found = {}
        with console.progress("Trying learning rates", total=len(chosen), unit="methods") as bar:
            for method in chosen:
                bar.update(bar.done, method.name)
                try:
                    found[method.name] = tune(method, self.wanted.tries, partial(self._try, method))
                except (OutOfMemory, Diverged) as error:
                    self._leave_out(method, error)
                bar.advance()
        gone = {one.method for one in self.left_out}
        return [found.get(method.name, method) for method in methods if method.name not in gone]

    def _try(self, method: Method, rate: float) -> float | None:
        """The best loss of a short training; None: it diverged."""
        settings = short(method.settings, self.resolved.recipe, rate) | {"train.seed": self.seeds[0] + _TUNING_SEED}
        trial = make_trial(self.laid, settings, self.folder / TRIALS)
        record = _record_of(trial)
        if (known := read_if_sound(record, Try)) is not None:
            return known.loss
        loss: float | None = None
        try:
            loss = run_trial(trial, allow_scripts=self.allow_scripts, evaluate=False).manifest.result["best_eval_loss"]
        except Diverged as error:
            console.note(f"{method.name} at {rate:g}: {error.message}")
        write_stored(record, Try(rate=rate, loss=loss))
        shutil.rmtree(trial.folder, ignore_errors=True)  # the loss is all that a try is for
        return loss

    def train_all(self, methods: list[Method], *, general: bool) -> list[Method]:
        """All trainings: the methods of one seed one after another, so that a busy hour hits all alike.

        Of a method whose rate is given up, all seeds so far follow at once.

        Returns:
            The methods at the rates that they were trained with in the end.
        """
        methods = list(methods)
        total = len(methods) * len(self.seeds) * len(self.wanted.all_shares)
        with console.progress("Comparing methods", total=total, unit="trainings") as bar:
            for share in self.wanted.all_shares:
                for seed in self.seeds:
                    for place, method in enumerate(methods):
                        bar.update(bar.done, f"{method.name}, seed {seed}, {share:.0%} of the rows")
                        self._train(method, seed, share, general=general and share == 1)
                        if share == 1:
                            methods[place] = self._steady(method, seed, general=general)
                        bar.advance()
        order = {method.name: place for place, method in enumerate(methods)}
        by_turn = sorted(self.trained.items(), key=lambda one: (-one[0][2], one[0][1], order[one[0][0]]))
        self.trained = dict(by_turn)  # as if the rate had been known: trainings at a lower one came last
        return methods

    def _steady(self, method: Method, last: int, *, general: bool) -> Method:
        """The method at a rate that its trainings, up to a seed, bear: where one does not, all are made at a lower."""
        while (gone := self._given_up(method)) is not None:
            lower = at_lower_rate(method, *gone)
            if lower is None:
                self._lack_lower_rate(method, gone[0])
                return method
            console.note(f"{method.name}: learning rate {lower.rate:g} ({lower.why})")
            self._forget(method)
            method = lower
            for seed in range(self.seeds[0], last + 1):
                self._train(method, seed, 1, general=general)
                if (gone := self._given_up(method)) and at_lower_rate(method, *gone):
                    break  # the others would be given up too
        return method

    def _lack_lower_rate(self, method: Method, seed: int) -> None:
        said = f"{method.name} from seed {seed} ended worse than its short try or diverged, and no lower rate is left"
        if said not in self.lacking:
            self.lacking.append(said)

    def _given_up(self, method: Method) -> tuple[int, float] | None:
        """Seed and loss of a training that does not bear the method's rate."""
        own = [(seed, math.inf) for name, seed in self.diverged if name == method.name]
        own += [
            (one.seed, one.best_loss)
            for _, one in self.trained.values()
            if one.method == method.name and one.best_loss is not None
        ]
        return next(((seed, loss) for seed, loss in own if is_given_up(method, loss)), None)

    def _train(self, method: Method, seed: int, share: float, *, general: bool) -> None:
        if any(one.method == method.name for one in self.left_out):
            return
        settings = {**method.settings, "train.seed": seed, **self._limit(share)}
        trial = make_trial(self.laid, settings, self.folder / TRIALS)
        done = _known(trial)
        can_go_lower = share == 1 and at_lower_rate(method, seed, math.inf) is not None
        if can_go_lower and not done and read_if_sound(_record_of(trial), Try) is not None:
            self.diverged.add((method.name, seed))
            return
        try:
            company = Company()
            run = Run(trial.folder) if done else run_trial(trial, allow_scripts=self.allow_scripts)
            others = done.others_share if done else company.share()
        except (OutOfMemory, Diverged, DataError) as error:
            if share < 1:
                self.lack(f"{method.name}, seed {seed}, was not trained on {share:.0%} of the rows", error)
            elif isinstance(error, DataError):
                raise
            elif isinstance(error, Diverged) and can_go_lower:
                write_stored(_record_of(trial), Try(rate=method.rate, loss=None))
                self.diverged.add((method.name, seed))
            else:  # a finding, not a failure
                self._leave_out(method, error)
            return
        if general:
            general = self._can_look(run, f"what {method.name}, seed {seed}, forgot was not measured")
        shutil.rmtree(run.checkpoints_folder, ignore_errors=True)  # of no use any more, and the largest part of a run
        known = stored_general(run, self.folder / BASE_GENERAL) if general else None
        forgot = compare(*known).differences if known else ()
        found = collect(run, method.name, share, settings)
        found = found.model_copy(update={"others_share": others, "forgot": forgot})
        write_stored(_record_of(trial), found)
        self.trained[method.name, seed, share] = (trial, found)

    def _limit(self, share: float) -> Mapping[str, Any]:
        """What makes a training see a share of the rows. How many there are, those that saw all have told."""
        if share == 1:
            return {}
        rows = next(training.rows for _, training in self.trained.values())
        return {"data.train_limit": max(1, round(share * rows))}

    def _leave_out(self, method: Method, error: OutOfMemory | Diverged) -> None:
        """Leave a method out that this machine has not the memory for, or whose rate is too high."""
        console.note(f"{method.name} is left out: {error.message}")
        reason = f"{error.message} ({error.hint})" if isinstance(error, Diverged) and error.hint else error.message
        self.left_out.append(LeftOut(method=method.name, reason=reason))
        self._forget(method)

    def _forget(self, method: Method) -> None:
        """That it was trained at all."""
        self.trained = {key: value for key, value in self.trained.items() if key[0] != method.name}
        self.diverged = {key for key in self.diverged if key[0] != method.name}

    def lack(self, what: str, error: EdgetuneError) -> None:
        """Go on without something: hours of trainings are not lost for it."""
        console.note(f"{what}: {error.message}")
        self.lacking.append(f"{what}: {error.message}")

    def look(self, run: Run, *, general_limit: int = 0, export: str | None = None) -> None:
        """Have a fresh process measure general ability, or export; what is stored of the same is not made again."""
        kind, precision = format_of(self.resolved.recipe)
        job = {
            "run": str(run.folder),
            "base": str(self.folder / BASE_GENERAL),
            "general_limit": general_limit,
            "seed": self.seeds[0],
            "export": export,
            "format": kind,
            "precision": precision,
        }
        in_fresh_process(child.__name__, job, run.folder.with_name(f"{run.folder.name}.look.log"))

    def _can_look(self, run: Run, otherwise: str) -> bool:
        """Measure general ability; False, and said, where memory does not suffice for that."""
        try:
            self.look(run, general_limit=self.wanted.general_limit)
        except OutOfMemory as error:
            self.lack(otherwise, error)
            return False
        return True


def _known(trial: Trial) -> Training | None:
    """What was collected of a trial that is done; None: it is not, or that must be collected again."""
    return read_if_sound(_record_of(trial), Training) if trial.trained else None


def _record_of(trial: Trial) -> Path:
    """What was collected of a trial, beside its run folder."""
    return trial.folder.with_name(f"{trial.folder.name}.json")
