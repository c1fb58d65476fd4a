"""What the command line asks of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from edgetune.errors import WrongUsage
from edgetune.recipe import MethodSettings

#: Has no one setting by which a sweep could vary it.
_NOT_SWEPT = frozenset({"freeze"})


@dataclass(frozen=True)
class Wanted:
    """What is asked for.

    Attributes:
        trials: complete or pruned ones to have in the end; None: as many as there is time for.
        minutes: after which everything stops; None: no limit.
        workers: trainings at a time in this process.
        storage: shared with other machines; None: a journal in the folder.
        methods: to try; none: the recipe's, and dora.
        ranks: to try; none: those of `edgetune suggest`.
        spread: learning rates go from the recipe's over this to the recipe's times this.
        limits: of each trial: ``max_steps``, ``max_minutes``; none: the recipe's.
        allow_scripts: as in training.
    """

    trials: int | None = None
    minutes: float | None = None
    workers: int = 1
    storage: str | None = None
    methods: tuple[str, ...] = ()
    ranks: tuple[int, ...] = ()
    spread: float = 10.0
    limits: Mapping[str, float] = field(default_factory=dict)
    allow_scripts: bool = False


def wanted_of(*, trial_steps: int | None, trial_minutes: float | None, rates: float, **others: Any) -> Wanted:
    """The options of the command as one object.

    Args:
        trial_steps: limit of one training.
        trial_minutes: the same.
        rates: the ``spread``.
        others: further fields of :class:`Wanted`.

    Raises:
        WrongUsage: a method or rank that is none.
    """
    limits = {"max_steps": trial_steps, "max_minutes": trial_minutes}
    known = {name: value for name, value in limits.items() if value is not None}
    wanted = Wanted(limits=known, spread=rates, **others)
    methods = [name for name in get_args(MethodSettings.model_fields["kind"].annotation) if name not in _NOT_SWEPT]
    if wrong := [name for name in wanted.methods if name not in methods]:
        raise WrongUsage(f"--methods: no method called {', '.join(wrong)}", hint=f"choose from {', '.join(methods)}")
    if 0 in wanted.ranks:
        raise WrongUsage("--ranks: 0 is no rank", hint="give whole numbers such as 4,8,16")
    return wanted
