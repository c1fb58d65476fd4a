"""What ``edgetune compare-methods`` does with the words of its command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from edgetune.errors import WrongUsage
from edgetune.methods.planning import METHODS, Wanted
from edgetune.methods.record import Budget


def wanted_of(
    methods: tuple[str, ...],
    minutes: float | None,
    examples: int | None,
    shares: Iterable[str],
    rates: Iterable[str],
    **others: Any,
) -> Wanted:
    """The options as one object.

    Args:
        methods: names; none: all.
        minutes: of each training.
        examples: of each training.
        shares: of the rows, such as ``25%`` or ``0.25``.
        rates: such as ``full=2e-5``.
        others: further fields of :class:`~edgetune.methods.planning.Wanted`.

    Raises:
        WrongUsage: two budgets, or a share or rate that is none.
    """
    if minutes is not None and examples is not None:
        raise WrongUsage("--minutes and --examples are two budgets", hint="give one of them")
    return Wanted(
        methods=methods or tuple(METHODS),
        budget=Budget(minutes=minutes, examples=examples),
        shares=tuple(_share(word) for word in shares),
        rates=dict(_rate(word) for word in rates),
        **others,
    )


def _share(word: str) -> float:
    """Of the rows.

    >>> _share("25%"), _share("0.5")
    (0.25, 0.5)
    """
    share = _number(word.removesuffix("%"), f"--rows: '{word}'") / (100 if word.endswith("%") else 1)
    if not 0 < share <= 1:
        raise WrongUsage(f"--rows: '{word}' is no share of the rows", hint="--rows 25%,50%")
    return share


def _rate(word: str) -> tuple[str, float]:
    """Of a method.

    >>> _rate("full=2e-5")
    ('full', 2e-05)
    """
    name, equals, value = word.partition("=")
    if not equals:
        raise WrongUsage(f"--rate: '{word}' names no method", hint="METHOD=RATE: --rate full=2e-5")
    rate = _number(value, f"--rate: '{word}'")
    if not 0 < rate <= 1:
        raise WrongUsage(f"--rate: '{word}' is no learning rate", hint="above 0, at most 1: --rate full=2e-5")
    return name, rate


def _number(word: str, where: str) -> float:
    try:
        return float(word)
    except ValueError as error:
        raise WrongUsage(f"{where} is no number", hint="edgetune compare-methods --help") from error
