"""Every method from every seed, each training in a process of its own and kept as soon as it is done."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from edgetune import __version__, console, files
from edgetune.bench.company import MUCH_COMPANY, Company
from edgetune.bench.environment import environment
from edgetune.errors import (
    DataError,
    Diverged,
    EdgetuneError,
    Interrupted,
    InUse,
    OutOfMemory,
    RecipeError,
)
from edgetune.evaluation.classification import evaluate_classifier
from edgetune.evaluation.metrics import Score
from edgetune.general.comparing import compare
from edgetune.methods import child
from edgetune.methods.collecting import collect, tuned_evaluation
from edgetune.methods.device import Exporting, format_of
from edgetune.methods.forgetting import no_general, stored_general
from edgetune.methods.pairing import all_pairs
from edgetune.methods.planning import Method, Wanted, plan_methods
from edgetune.methods.record import Device, LeftOut, MethodsComparison, Rate, Training, Try
from edgetune.methods.tuning import at_lower_rate, is_given_up, short, tune
from edgetune.models import load_config, resolve_base
from edgetune.models.base import Base
from edgetune.models.weights import weight_files
from edgetune.recipe import Resolved
from edgetune.report.quality import find_score, task_figure
from edgetune.run import Run
from edgetune.stored import read_if_sound, write_stored
from edgetune.training.finishing import FEW_STEPS
from edgetune.training.methods import count_layers
from edgetune.trial_rows import fixed_rows, rows_settings, same_questions
from edgetune.trials import Trial, in_fresh_process, make_trial, run_trial, with_settings

#: In the folder of a comparison.
RECORD, TRIALS, ROWS, BENCH, BASE_GENERAL = "methods.json", "trials", "rows", "bench", "general-base.json"
NO_DEVICE = "not asked for: --no-export"
#: Rates are tried from a seed that no method is compared from.
_TUNING_SEED = 1000


def default_folder(name: str) -> Path:
    """Where the comparison of a recipe of that name lies."""
    return Path("runs") / "compare-methods" / name


def compare_methods(
    resolved: Resolved, wanted: Wanted, folder: Path, *, allow_scripts: bool = False
) -> MethodsComparison:
    """Train, evaluate, export and time as wanted, and store what came out in ``folder``.

    Everything finished is kept and found again by the hash of its settings and files, so a second call goes on.

    Raises:
        EdgetuneError: see the tree; what was finished stays. After :class:`Interrupted` the same call goes on.
    """
    try:
        with _alone(folder):
            found = _Comparison(resolved, wanted, folder, allow_scripts).walk()
            found.write(folder / RECORD)
            return found
    except Interrupted as stop:  # its hint would go on with one training alone
        raise Interrupted(stop.message) from stop
    except KeyboardInterrupt as stop:
        raise Interrupted(f"interrupted; {folder} keeps what is finished") from stop


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One comparison at a time in a folder.

    Raises:
        InUse: another one is at work there.
    """

    def refuse(holder: str) -> NoReturn:
        raise InUse(
            f"{folder} is being filled by another edgetune: {holder}",
            hint="wait until it has ended, or compare in another folder: --output FOLDER",
        )

    whole = folder.resolve()
    with files.locked(whole.with_name(f".{whole.name}.lock"), refuse):
        yield


@dataclass
class _Comparison:
    """A comparison on its way, and what was found so far.

    Attributes:
        laid: the recipe over rows that all trainings share.
        lacking: what could not be had of a method that was trained, and why.
        trained: by method, seed and share of the rows.
        ended: best loss of each training on all rows, by method and seed; infinite: it diverged.
    """

    resolved: Resolved
    wanted: Wanted
    folder: Path
    allow_scripts: bool
    laid: Resolved = field(init=False)
    left_out: list[LeftOut] = field(default_factory=list)
    lacking: list[str] = field(default_factory=list)
    trained: dict[tuple[str, int, float], tuple[Trial, Training]] = field(default_factory=dict)
    ended: dict[tuple[str, int], float] = field(default_factory=dict)

    @property
    def seeds(self) -> list[int]:
        first = self.resolved.recipe.train.seed
        return list(range(first, first + self.wanted.seeds))

    def walk(self) -> MethodsComparison:
        recipe = self.resolved.recipe
        general_reason = no_general(recipe, self.wanted.general_limit)
        base = resolve_base(recipe.model, self.resolved.path.parent)
        methods, self.left_out = plan_methods(self.resolved, self.wanted, partial(_layers, base, self.resolved))
        for one in self.left_out:
            console.note(f"{one.method} is left out: {one.reason}")
        format_of(recipe)  # an unknown format is said before training
        self.laid = self._with_rows()
        methods = self._tuned(methods)
        for method in methods:
            console.note(f"{method.name}: learning rate {method.rate:g} ({method.why})")
        methods = self._train_all(methods, general=general_reason is None)
        if not self.trained:
            raise EdgetuneError(
                "no method could be trained",
                hint="--tune 4 or --rate METHOD=RATE where it diverged; a smaller model or batch where memory ran out",
                problems=[f"{one.method}: {one.reason}" for one in self.left_out],
            )
        devices = self._devices() if self.wanted.export else []
        return self._record(base, methods, general_reason, devices)

    def _with_rows(self) -> Resolved:
        """The recipe over rows that are made once: to make them may take longer than a training."""
        place = make_trial(self.resolved, {"name": ROWS}, self.folder / TRIALS).folder
        run, recipe = fixed_rows(self.resolved, place, allow_scripts=self.allow_scripts), self.resolved.recipe
        return with_settings(self.resolved, rows_settings(run, recipe) | same_questions(run, recipe))

    def _tuned(self, methods: list[Method]) -> list[Method]:
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

    def _train_all(self, methods: list[Method], *, general: bool) -> list[Method]:
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
                if self._given_up(method):
                    break
        return method

    def _lack_lower_rate(self, method: Method, seed: int) -> None:
        said = f"{method.name} from seed {seed} ended worse than its short try or diverged, and no lower rate is left"
        if said not in self.lacking:
            self.lacking.append(said)

    def _given_up(self, method: Method) -> tuple[int, float] | None:
        """Seed and loss of a training that does not bear the method's rate."""
        own = [(seed, loss) for (name, seed), loss in self.ended.items() if name == method.name]
        return next(((seed, loss) for seed, loss in own if is_given_up(method, loss)), None)

    def _train(self, method: Method, seed: int, share: float, *, general: bool) -> None:
        if any(one.method == method.name for one in self.left_out):
            return
        settings = {**method.settings, "train.seed": seed, **self._limit(share)}
        trial = make_trial(self.laid, settings, self.folder / TRIALS)
        done = _known(trial)
        can_go_lower = share == 1 and at_lower_rate(method, seed, math.inf) is not None
        if can_go_lower and not done and read_if_sound(_record_of(trial), Try) is not None:
            self.ended[method.name, seed] = math.inf
            return
        try:
            company = Company()
            run = Run(trial.folder) if done else run_trial(trial, allow_scripts=self.allow_scripts)
            others = done.others_share if done else company.share()
        except (OutOfMemory, Diverged, DataError) as error:
            if share < 1:
                self._lack(f"{method.name}, seed {seed}, was not trained on {share:.0%} of the rows", error)
            elif isinstance(error, DataError):
                raise
            elif isinstance(error, Diverged) and can_go_lower:
                write_stored(_record_of(trial), Try(rate=method.rate, loss=None))
                self.ended[method.name, seed] = math.inf
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
        if share == 1:
            self.ended[method.name, seed] = run.manifest.result["best_eval_loss"]

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
        self.ended = {key: value for key, value in self.ended.items() if key[0] != method.name}

    def _lack(self, what: str, error: EdgetuneError) -> None:
        """Go on without something: hours of trainings are not lost for it."""
        console.note(f"{what}: {error.message}")
        self.lacking.append(f"{what}: {error.message}")

    def _look(self, run: Run, *, general_limit: int = 0, export: str | None = None) -> None:
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
            self._look(run, general_limit=self.wanted.general_limit)
        except OutOfMemory as error:
            self._lack(otherwise, error)
            return False
        return True

    def _devices(self) -> list[Device]:
        """The model of each method's first seed, exported and timed."""
        firsts = {
            name: Run(trial.folder)
            for (name, seed, share), (trial, _) in self.trained.items()
            if (seed, share) == (self.seeds[0], 1)
        }
        exporting = Exporting(
            self.resolved.recipe, self.folder / BENCH, lambda run, what: self._look(run, export=what), self._lack
        )
        return exporting.devices(firsts)

    def _record(
        self, base: Base, methods: list[Method], general_reason: str | None, devices: list[Device]
    ) -> MethodsComparison:
        evaluations = {key: tuned_evaluation(Run(trial.folder)) for key, (trial, _) in self.trained.items()}
        figure = task_figure(evaluations.values())
        if figure is None:
            raise DataError("nothing was scored on the held-out rows", hint="edgetune data check FILE")
        by_method = {
            method.name: {
                seed: one for (name, seed, share), one in evaluations.items() if name == method.name and share == 1
            }
            for method in methods
        }
        score = next(found for one in evaluations.values() if (found := find_score(one, figure)))
        trainings = tuple(training for _, training in self.trained.values())
        return MethodsComparison(
            edgetune=__version__,
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            name=self.resolved.recipe.name,
            recipe=self.resolved.recipe.model_dump(mode="json"),
            base_origin=base.origin,
            base_bytes=sum(file.stat().st_size for file in weight_files(base.folder)),
            metric=figure,
            metric_definition=score.definition,
            lower_is_better=figure == "loss",
            budget=self.wanted.budget,
            seeds=tuple(self.seeds),
            margin=self.wanted.margin,
            rates=tuple(
                Rate(method=one.name, value=one.rate, why=one.why, tried=one.tried, given_up=one.given_up)
                for one in methods
            ),
            left_out=tuple(self.left_out),
            floor=self._floor(figure),
            trainings=trainings,
            pairs=all_pairs({name: one for name, one in by_method.items() if one}, figure),
            general_reason=general_reason,
            devices=tuple(devices),
            device_reason=None if self.wanted.export else NO_DEVICE,
            environment=environment(""),
            warnings=tuple(self._warnings(trainings, methods)),
        )

    def _floor(self, figure: str) -> Score | None:
        """What the most frequent class gets; of a task that is answered the base would have to be asked, for hours."""
        if self.resolved.recipe.task.kind == "generation":
            return None
        run = Run(next(iter(self.trained.values()))[0].folder)
        return find_score(evaluate_classifier(run, "base"), figure)

    def _warnings(self, trainings: tuple[Training, ...], methods: list[Method]) -> Iterator[str]:
        """What limits the figures."""
        yield from self.lacking
        shares = [one.others_share for one in trainings if one.others_share is not None]
        if shares and max(shares) >= MUCH_COMPANY:
            yield (
                f"other programs used up to {max(shares):.0%} of the processors' time while it trained: times are too "
                "long, and under a budget of time each training did fewer steps than it would have alone"
            )
        if hasty := list(dict.fromkeys(one.method for one in trainings if one.steps < FEW_STEPS)):
            yield f"fewer than {FEW_STEPS} steps, so hardly trained: {', '.join(hasty)}; more may turn the order"
        if worse := list(dict.fromkeys(one.method for one in trainings if one.got_worse)):
            yield (
                f"training ended above the loss it began with, at a rate too high, or too low for so few steps: "
                f"{', '.join(worse)}; --tune 4 looks for a better one, --rate gives one"
            )
        run = Run(next(iter(self.trained.values()))[0].folder)
        if run.evaluation_rows_file == run.heldout_file:
            if any(one.tried for one in methods):
                yield (
                    "no data.validation: the held-out rows also chose each checkpoint and each learning rate, so "
                    "figures flatter, and those of methods with more tries may flatter more; name rows of their own"
                )
            else:
                yield "no data.validation: the held-out rows also chose each checkpoint, so figures flatter, all alike"


def _layers(base: Base, resolved: Resolved) -> int:
    """How many layers a base has.

    Raises:
        RecipeError: nobody can tell from its configuration.
    """
    trusted = resolved.recipe.model.trust_remote_code
    config = load_config(base.folder, trust_remote_code=trusted)
    try:
        return count_layers(config, trust_remote_code=trusted)
    except (ValueError, TypeError, RuntimeError, AttributeError) as error:  # of code that a model brought along
        raise RecipeError(f"its layers cannot be counted ({error}): give --last-layers") from error


def _known(trial: Trial) -> Training | None:
    """What was collected of a trial that is done; None: it is not, or that must be collected again."""
    return read_if_sound(_record_of(trial), Training) if trial.trained else None


def _record_of(trial: Trial) -> Path:
    """What was collected of a trial, beside its run folder."""
    return trial.folder.with_name(f"{trial.folder.name}.json")
