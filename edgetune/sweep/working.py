"""Working at trials until there are enough or the time is up: train, report, prune, and note what came of it."""

from __future__ import annotations

import shutil
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console
from edgetune.errors import (
    DataError,
    EdgetuneError,
    Interrupted,
    MissingExtra,
    ModelError,
    OutOfMemory,
    RecipeError,
    ResourceError,
)
from edgetune.recipe import Resolved
from edgetune.run import Run
from edgetune.sweep import study as studies
from edgetune.sweep.record import Space
from edgetune.sweep.space import draw
from edgetune.training import metrics_file
from edgetune.trials import Trial, run_trial, with_settings

if TYPE_CHECKING:
    import optuna
    from optuna.trial import TrialState

#: What is wrong with the sweep and not with one trial: all others would fail too.
FATAL = (RecipeError, DataError, ModelError, MissingExtra)
#: So many failures end a sweep, if no more trials succeeded.
FAILURES = 3
HEARD_SECONDS = 20.0


@dataclass
class Work:
    """What the workers of one process share.

    Attributes:
        study: with other processes too.
        resolved: the recipe of a trial before its settings.
        space: of the settings.
        folder: of the runs of trials.
        wanted: trials that are to be had; None: as many as there is time for.
        deadline: on the monotonic clock; None: none.
    """

    study: optuna.Study
    resolved: Resolved
    space: Space
    folder: Path
    wanted: int | None
    deadline: float | None
    stop: threading.Event = field(default_factory=threading.Event)
    failure: BaseException | None = None
    own: set[int] = field(default_factory=set)
    choosing: threading.Lock = field(default_factory=threading.Lock)

    @property
    def over(self) -> bool:
        """Whether to begin nothing more, and to stop what runs."""
        return self.stop.is_set() or (self.deadline is not None and time.monotonic() > self.deadline)


def work_all(work: Work, workers: int) -> None:
    """Let some workers work, each at one training at a time in a process of its own.

    Raises:
        Interrupted: Ctrl-C; every training has saved what it has, and is gone on with next time.
        EdgetuneError: all trials would fail.
    """
    # Not joined: Python 3.11 takes a thread for ended whose join Ctrl-C interrupted.
    ended = [threading.Event() for _ in range(workers)]
    for number, event in enumerate(ended):
        threading.Thread(target=_work, args=(work, event), name=f"worker-{number}").start()
    try:
        for event in ended:
            while not event.wait(0.5):
                pass
    except KeyboardInterrupt as stop:
        console.note("stopping; every trial saves what it has")
        raise Interrupted(f"interrupted; {work.folder.parent} keeps every trial") from stop
    finally:
        work.stop.set()
        for event in ended:
            event.wait()
    if work.failure is not None:
        raise work.failure


def _work(work: Work, ended: threading.Event) -> None:
    try:
        while not work.over and (trial := _next(work)) is not None:
            _one(work, trial)
            work.own.discard(trial.number)
    except BaseException as error:  # noqa: BLE001  # raised again by the main thread
        work.failure = work.failure or error
        work.stop.set()
    finally:
        ended.set()


def _next(work: Work) -> optuna.Trial | None:
    """The next trial; None: there are enough, those that run among them.

    What a worker that is gone left running is none: it is tried again first.
    """
    with work.choosing:  # between counting and asking no other worker of this process may ask
        for number in studies.retry_lost(work.study, frozenset(work.own)):
            console.note(f"trial {number}: its worker was gone; it is tried again")
        if _enough(work):
            return None
        trial = work.study.ask()
        work.own.add(trial.number)
        return trial


def _enough(work: Work) -> bool:
    """Whether nothing is left to begin; also ends a sweep in which everything fails.

    Raises:
        EdgetuneError: it does.
    """
    from optuna.trial import TrialState

    trials = work.study.get_trials(deepcopy=False)
    states = [trial.state for trial in trials]
    done = states.count(TrialState.COMPLETE) + states.count(TrialState.PRUNED)
    failed = [trial for trial in trials if trial.user_attrs.get("outcome") == "failed"]
    if len(failed) >= max(FAILURES, done):
        raise EdgetuneError(
            f"{len(failed)} of {len(failed) + done} trials failed, so nothing is tried any more",
            hint="train once by itself: edgetune train RECIPE",
            problems=[f"trial {trial.number}: {trial.user_attrs.get('reason')}" for trial in failed],
        )
    return work.wanted is not None and done + states.count(TrialState.RUNNING) >= work.wanted


def _one(work: Work, trial: optuna.Trial) -> None:
    """Work at one trial; whatever becomes of it is noted in the study."""
    from optuna.trial import TrialState

    studies.claim(trial)
    settings = draw(trial, work.space)
    place = trial.user_attrs.get("place", trial.number)
    job = Trial(with_settings(work.resolved, settings), work.folder / f"{place:04d}")
    for key, value in {"settings": settings, "folder": str(job.folder)}.items():
        trial.set_user_attr(key, value)
    watch = _Watch(work, trial)
    try:
        run = run_trial(job, evaluate=False, go_on=watch.go_on)
    except Interrupted:
        if watch.pruned:
            _end(work, trial, job, _Outcome("pruned", TrialState.PRUNED))
        else:
            why = "stopped before its end; what it had is saved"
            _end(work, trial, job, _Outcome("stopped", TrialState.FAIL, why))
            studies.again(work.study, _frozen(work.study, trial), "it was stopped", limit=None)
    except EdgetuneError as error:
        said = "; ".join([error.message, *error.problems[-1:]])
        _end(work, trial, job, _Outcome("failed", TrialState.FAIL, said))
        if _is_fatal(error):
            raise
    else:
        watch.report()
        _end(work, trial, job, _Outcome("complete", TrialState.COMPLETE, loss=run.manifest.result["best_eval_loss"]))


def _is_fatal(error: EdgetuneError) -> bool:
    """A full disk is none of a trial's settings; memory is: a smaller one may fit."""
    return isinstance(error, FATAL) or (isinstance(error, ResourceError) and not isinstance(error, OutOfMemory))


@dataclass(frozen=True)
class _Outcome:
    """What came of a trial: a word, Optuna's state, and a reason or a loss."""

    word: str
    state: TrialState
    reason: str | None = None
    loss: float | None = None


def _frozen(study: optuna.Study, trial: optuna.Trial) -> Any:
    return study.get_trials(deepcopy=False)[trial.number]


class _Watch:
    """Looks at a training while it runs: reports its losses, and says whether it shall go on."""

    def __init__(self, work: Work, trial: optuna.Trial) -> None:
        self.pruned = False
        self._work = work
        self._trial = trial
        self._seen: set[int] = set()
        self._heard = time.monotonic()
        self._metrics: Path | None = None

    def go_on(self, job: Trial) -> bool:
        """Asked about every second."""
        self._metrics = job.folder / "metrics.jsonl"
        if time.monotonic() - self._heard > HEARD_SECONDS:
            studies.heard(self._trial)
            self._heard = time.monotonic()
        if self.report() and self._trial.should_prune():
            self.pruned = True
        return not self.pruned and not self._work.over

    def report(self) -> bool:
        """Report losses that are new; whether there were any."""
        entries = metrics_file.read(self._metrics) if self._metrics is not None else []
        losses = {entry["step"]: entry["eval_loss"] for entry in entries if entry["event"] == "evaluation"}
        new = {step: loss for step, loss in losses.items() if step not in self._seen}
        for step, loss in new.items():
            self._trial.report(loss, step)
        self._seen |= new.keys()
        return bool(new)


def _end(work: Work, trial: optuna.Trial, job: Trial, outcome: _Outcome) -> None:
    """Note what came of a trial. One that another worker gave up meanwhile stays given up."""
    from optuna.exceptions import UpdateFinishedTrialError

    known = {"outcome": outcome.word, "reason": outcome.reason, **_figures(job.run)}
    try:
        for key, value in known.items():
            trial.set_user_attr(key, value)
        work.study.tell(trial, outcome.loss, state=outcome.state)
    except (UpdateFinishedTrialError, ValueError):
        console.note(f"trial {trial.number}: another worker took it for lost and tries it again")
        return
    if outcome.word in ("complete", "pruned"):  # never gone on with; its record is metrics.jsonl
        shutil.rmtree(job.folder / "checkpoints", ignore_errors=True)
    loss = f": loss {outcome.loss:.4f}" if outcome.loss is not None else ""
    console.note(f"trial {trial.number}: {outcome.word}{loss}{f': {outcome.reason}' if outcome.reason else ''}")


def _figures(run: Run | None) -> dict[str, Any]:
    """Time and memory of a training, as far as it came."""
    entries = metrics_file.read(run.metrics_file) if run is not None else []
    figures: dict[str, Any] = {}
    if entries:
        figures |= {"seconds": entries[-1]["trained_s"], "peak_rss": entries[-1]["peak_rss"]}
    if run is not None and run.manifest.result:
        figures["trainable_parameters"] = run.manifest.result["trainable_parameters"]
    return figures
