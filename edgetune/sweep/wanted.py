"""What the command line asks of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from edgetune.errors import RecipeError
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


def wanted_of(given: Mapping[str, Any]) -> Wanted:
    """The options of the command.

    Args:
        given: by name; ``methods`` and ``ranks`` as texts with commas.

    Raises:
        RecipeError: a method or rank that is none.
    """
    limits = {"max_steps": given["trial_steps"], "max_minutes": given["trial_minutes"]}
    return Wanted(
        trials=given["trials"],
        minutes=given["minutes"],
        workers=given["workers"],
        storage=given["storage"],
        methods=_methods(_words(given["methods"])),
        ranks=_ranks(_words(given["ranks"])),
        spread=given["rates"],
        limits={name: value for name, value in limits.items() if value is not None},
        allow_scripts=given["allow_scripts"],
    )


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())


def _methods(words: tuple[str, ...]) -> tuple[str, ...]:
    known = [name for name in get_args(MethodSettings.model_fields["kind"].annotation) if name not in _NOT_SWEPT]
    if wrong := [word for word in words if word not in known]:
        raise RecipeError(f"--methods: no method called {', '.join(wrong)}", hint=f"choose from {', '.join(known)}")
    return words


def _ranks(words: tuple[str, ...]) -> tuple[int, ...]:
    if wrong := [word for word in words if not word.isdigit() or int(word) < 1]:
        raise RecipeError(f"--ranks: not a rank: {', '.join(wrong)}", hint="give whole numbers such as 4,8,16")
    return tuple(int(word) for word in words)
