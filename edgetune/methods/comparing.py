"""Methods trained, exported, asked and timed alike, and what came out stored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import NoReturn

from edgetune import __version__, console, files
from edgetune.bench.environment import environment
from edgetune.errors import DataError, EdgetuneError, Interrupted, InUse, RecipeError
from edgetune.evaluation.classification import evaluate_classifier
from edgetune.evaluation.metrics import Score
from edgetune.methods.collecting import tuned_evaluation
from edgetune.methods.device import Exporting, format_of
from edgetune.methods.forgetting import no_general
from edgetune.methods.limits import limits
from edgetune.methods.pairing import all_pairs
from edgetune.methods.planning import Method, Wanted, plan_methods, require_known
from edgetune.methods.record import Device, MethodsComparison, Rate
from edgetune.methods.trainings import Trainings
from edgetune.models import load_config, resolve_base
from edgetune.models.base import Base
from edgetune.models.weights import weight_files
from edgetune.recipe import Resolved
from edgetune.report.quality import find_score, task_figure
from edgetune.run import Run
from edgetune.training.methods import count_layers

#: In the folder of a comparison.
RECORD, BENCH = "methods.json", "bench"
NO_DEVICE = "not asked for: --no-export"


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
    require_known(wanted)  # before anything is written
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
    """A comparison on its way."""

    resolved: Resolved
    wanted: Wanted
    folder: Path
    allow_scripts: bool

    def walk(self) -> MethodsComparison:
        recipe = self.resolved.recipe
        general_reason = no_general(recipe, self.wanted.general_limit)
        base = resolve_base(recipe.model, self.resolved.path.parent)
        methods, left_out = plan_methods(self.resolved, self.wanted, partial(_layers, base, self.resolved))
        for one in left_out:
            console.note(f"{one.method} is left out: {one.reason}")
        format_of(recipe)  # an unknown format is said before training
        trainings = Trainings(self.resolved, self.wanted, self.folder, self.allow_scripts, left_out)
        methods = trainings.tuned(methods)
        for method in methods:
            console.note(f"{method.name}: learning rate {method.rate:g} ({method.why})")
        methods = trainings.train_all(methods, general=general_reason is None)
        if not trainings.trained:
            raise EdgetuneError(
                "no method could be trained",
                hint="--tune 4 or --rate METHOD=RATE where it diverged; a smaller model or batch where memory ran out",
                problems=[f"{one.method}: {one.reason}" for one in trainings.left_out],
            )
        devices = self._devices(trainings) if self.wanted.export else []
        return self._record(base, trainings, methods, general_reason, devices)

    def _devices(self, trainings: Trainings) -> list[Device]:
        """The model of each method's first seed, exported and timed."""
        firsts = {
            name: Run(trial.folder)
            for (name, seed, share), (trial, _) in trainings.trained.items()
            if (seed, share) == (trainings.seeds[0], 1)
        }

        def look(run: Run, what: str) -> None:
            trainings.look(run, export=what)

        return Exporting(self.resolved.recipe, self.folder / BENCH, look, trainings.lack).devices(firsts)

    def _record(
        self, base: Base, trainings: Trainings, methods: list[Method], general_reason: str | None, devices: list[Device]
    ) -> MethodsComparison:
        evaluations = {key: tuned_evaluation(Run(trial.folder)) for key, (trial, _) in trainings.trained.items()}
        figure = task_figure(evaluations.values())
        if figure is None:
            raise DataError("nothing was scored on the held-out rows", hint="edgetune data check FILE")
        by_method = {
            method.name: {
                seed: one for (name, seed, share), one in evaluations.items() if name == method.name and share == 1
            }
            for method in methods
        }
        score = next(known for one in evaluations.values() if (known := find_score(one, figure)))
        run = Run(next(iter(trainings.trained.values()))[0].folder)
        found = tuple(training for _, training in trainings.trained.values())
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
            seeds=tuple(trainings.seeds),
            margin=self.wanted.margin,
            rates=tuple(
                Rate(method=one.name, value=one.rate, why=one.why, tried=one.tried, given_up=one.given_up)
                for one in methods
            ),
            left_out=tuple(trainings.left_out),
            floor=self._floor(run, figure),
            trainings=found,
            pairs=all_pairs({name: one for name, one in by_method.items() if one}, figure),
            general_reason=general_reason,
            devices=tuple(devices),
            device_reason=None if self.wanted.export else NO_DEVICE,
            environment=environment(""),
            warnings=(*trainings.lacking, *limits(found, methods, run)),
        )

    def _floor(self, run: Run, figure: str) -> Score | None:
        """What the most frequent class gets; of a task that is answered the base would have to be asked, for hours."""
        if self.resolved.recipe.task.kind == "generation":
            return None
        return find_score(evaluate_classifier(run, "base"), figure)


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
