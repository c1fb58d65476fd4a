"""The study in Optuna: where it is stored, who works at which trial, and trials whose worker is gone."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgetune import extras
from edgetune.errors import EdgetuneError, RecipeError
from edgetune.machine import is_running
from edgetune.sweep.record import Basis

if TYPE_CHECKING:
    import optuna

NAME = "edgetune"
JOURNAL = "journal.log"
#: A trial of which nothing was heard for so long has lost its worker, wherever that was.
STALE = dt.timedelta(minutes=5)
#: A trial whose worker was killed is tried again so many times: it may be the trial that kills.
RETRIES = 2
#: Trials drawn at random before the sampler has learnt anything, and before anything is pruned.
STARTUP = 8
PRUNING_STARTUP = 4


#: What of a sweep's basis may differ, in words of the command line.
DIFFERENT = {
    "recipe_sha256": "the recipe, or the limit of a trial (--trial-steps, --trial-minutes)",
    "base_sha256": "the base",
    "data_sha256": "the rows",
    "validation": "the rows that choose",
    "space": "what is tried (--methods, --ranks, --rates)",
}


def load_optuna() -> ModuleType:
    """Import Optuna, which then says only what is wrong.

    Raises:
        MissingExtra: it is not installed.
    """
    found = extras.require("optuna", extra="sweep", needed_for="edgetune sweep")
    found.logging.set_verbosity(found.logging.ERROR)
    return found


def open_study(storage: str | None, folder: Path, basis: Basis, seed: int) -> optuna.Study:
    """The study of a sweep; made where it is new.

    Args:
        storage: a URL that SQLAlchemy knows, the path of a journal file, or None: a journal in ``folder``.
        folder: of the sweep.
        basis: what its trials share.
        seed: of the sampler.

    Raises:
        RecipeError: the storage holds a sweep of something else.
        EdgetuneError: it cannot be opened.
    """
    library = load_optuna()
    try:
        study: optuna.Study = library.create_study(
            storage=_storage(storage or str(folder / JOURNAL)),
            study_name=NAME,
            direction="minimize",
            load_if_exists=True,
        )
    except Exception as error:  # every database has its own
        raise EdgetuneError(
            f"the storage {storage} cannot be opened: {str(error).splitlines()[0]}",
            hint="give a file, or a URL such as sqlite:///sweep.db",
        ) from error
    _require_same(study, basis, storage or str(folder))
    # A study that is gone on with must not draw again what it drew at first.
    study.sampler = library.samplers.TPESampler(
        seed=seed + len(study.trials), n_startup_trials=STARTUP, constant_liar=True
    )
    study.pruner = library.pruners.MedianPruner(n_startup_trials=PRUNING_STARTUP, n_warmup_steps=1)
    return study


def _storage(place: str) -> Any:
    optuna = load_optuna()
    if "://" in place:
        return optuna.storages.RDBStorage(place)
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(place))


def _require_same(study: optuna.Study, basis: Basis, place: str) -> None:
    given = basis.model_dump(mode="json")
    kept = study.user_attrs.get("basis")
    if kept is None:
        study.set_user_attr("basis", given)
        return
    different = [name for name in given if _comparable(kept).get(name) != _comparable(given)[name]]
    if different:
        raise RecipeError(
            f"{place} holds a sweep over something else; different: {', '.join(DIFFERENT[name] for name in different)}",
            hint="give the same choices as before, or another folder: --output FOLDER",
        )


def _comparable(basis: dict[str, Any]) -> dict[str, Any]:
    """Without the names of targets: another machine rounds otherwise, and may be suggested others."""
    return {**basis, "space": {name: value for name, value in basis["space"].items() if name != "targets"}}


def basis_of(study: optuna.Study) -> Basis:
    """What all workers share, as the first of them stored it."""
    return Basis.model_validate(study.user_attrs["basis"])


def enqueue_once(study: optuna.Study, origin: str, params: dict[str, Any]) -> None:
    """Have something tried first, unless it has been asked for already."""
    if not any(trial.user_attrs.get("origin") == origin for trial in study.trials):
        study.enqueue_trial(params, user_attrs={"origin": origin})


def claim(trial: optuna.Trial) -> None:
    """Say who works at a trial. :func:`heard` says that it still does."""
    trial.set_user_attr("pid", os.getpid())
    trial.set_user_attr("host", platform.node())  # after it: others look for the process of their own host
    heard(trial)


def heard(trial: optuna.Trial) -> None:
    """Say that a trial is being worked at now."""
    trial.set_user_attr("heard", dt.datetime.now(dt.UTC).isoformat(timespec="seconds"))


def retry_lost(study: optuna.Study, own: frozenset[int]) -> list[int]:
    """Give up trials whose worker is gone, and enqueue them again; returns their numbers.

    Args:
        study: shared with other workers.
        own: numbers of the trials that this process works at.
    """
    from optuna.trial import TrialState

    lost = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if trial.number not in own and _is_lost(trial) and _give_up(study, trial.number):
            lost.append(trial.number)
            again(study, trial, "its worker was gone")
    return lost


def _is_lost(trial: Any) -> bool:
    known = trial.user_attrs
    if known.get("host") == platform.node() and known.get("pid") != os.getpid() and not is_running(known["pid"]):
        return True
    last = dt.datetime.fromisoformat(known["heard"]) if "heard" in known else trial.datetime_start.astimezone(dt.UTC)
    return dt.datetime.now(dt.UTC) - last > STALE


def _give_up(study: optuna.Study, number: int) -> bool:
    """Whether it was this process that ended the trial: of several workers that find it, one enqueues it again."""
    from optuna.exceptions import UpdateFinishedTrialError
    from optuna.trial import TrialState

    try:
        study.tell(number, state=TrialState.FAIL)
    except (ValueError, UpdateFinishedTrialError):
        return False
    return True


def again(study: optuna.Study, trial: Any, reason: str, *, limit: int | None = RETRIES) -> None:
    """Enqueue a trial once more, to go on in its folder.

    Args:
        study: that it is of.
        trial: ended.
        reason: why it ended.
        limit: not if it was tried again so often before; None: always.
    """
    known = trial.user_attrs
    tries = known.get("tries", 0) + (limit is not None)
    if limit is not None and tries > limit:
        return
    kept = {"origin": known.get("origin", "sampled"), "tries": tries, "retried": trial.number, "because": reason}
    study.enqueue_trial(trial.params, user_attrs=kept | {"place": known.get("place", trial.number)})


def retried_numbers(study: optuna.Study) -> Iterator[int]:
    """Trials that another one goes on with."""
    return (trial.user_attrs["retried"] for trial in study.get_trials(deepcopy=False) if "retried" in trial.user_attrs)
