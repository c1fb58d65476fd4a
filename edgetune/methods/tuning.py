"""The peak learning rate of a method by trying: around what the known ratio gives, in short trainings.

Every method may have as many tries as any other, so none looks bad for a rate that suits another one; and a rate that
a whole training does not bear is given up for a lower one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgetune.errors import Diverged
from edgetune.methods.planning import HIGHEST_RATE, Method
from edgetune.methods.record import Try
from edgetune.recipe import Recipe

#: From one rate to the next.
STEP = math.sqrt(10)
#: A try gets this part of the budget.
PART = 3
#: Seeds choose their checkpoints by different rows, so losses differ a little by that alone.
WORSE = 1.05


def tune(method: Method, tries: int, loss_at: Callable[[float], float | None]) -> Method:
    """The same method with the best of the rates that were tried.

    Starts at the method's own rate and goes on beside the best one so far, until the rates on both sides of it are
    worse or there are no tries left.

    Args:
        method: with the rate to start at.
        tries: at most so many.
        loss_at: trains at a rate; None: it diverged.

    Raises:
        Diverged: at all of them.
    """
    losses: dict[int, float | None] = {}
    place: int | None = 0
    while place is not None and len(losses) < tries:
        losses[place] = loss_at(_rate(method, place))
        place = _next(method, losses)
    best = _best(losses)
    if losses[best] is None:
        raise Diverged(
            f"{method.name} diverged at every rate that was tried, down to {_rate(method, best):g}",
            hint=f"--rate {method.name}={_rate(method, best) / 10:g}",
        )
    found = tuple(Try(rate=_rate(method, place), loss=losses[place]) for place in sorted(losses))
    rate = _rate(method, best)
    edge = len(losses) == tries and _next(method, losses) is not None
    why = f"the best of {len(found)} that were tried, each for a third of the budget: {', '.join(map(_said, found))}"
    return replace(
        method,
        rate=rate,
        settings={**method.settings, "train.learning_rate": rate},
        why=why + ("; the next one was not tried" if edge else ""),
        tried=found,
    )


def is_given_up(method: Method, loss: float) -> bool:
    """Whether a whole training ended worse than the short one that chose its rate: then it does not bear that rate.

    Args:
        method: as :func:`tune` gives it.
        loss: the best of the whole training; infinite: it diverged.
    """
    tried = [one.loss for one in method.tried if one.rate == method.rate and one.loss is not None]
    return any(loss > WORSE * short for short in tried)


def at_lower_rate(method: Method, seed: int, loss: float) -> Method | None:
    """The same method at the next lower of the rates that were tried; None: there is none that did not diverge.

    Short trainings like higher rates than long ones, and are from one seed: a rate can be more than others bear.

    Args:
        method: whose rate is given up.
        seed: of the training that ended worse than the try.
        loss: of that training; infinite: it diverged.
    """
    lower = [one.rate for one in method.tried if one.rate < method.rate and one.loss is not None]
    if not lower:
        return None
    rate = max(lower)
    ended = "diverged" if math.isinf(loss) else f"ended at loss {loss:.3f}, worse than the try"
    return replace(
        method,
        rate=rate,
        settings={**method.settings, "train.learning_rate": rate},
        why=f"the next lower, as the whole training from seed {seed} {ended} at {method.rate:g}: {method.why}",
        given_up=(*method.given_up, method.rate),
    )


def short(settings: Mapping[str, Any], recipe: Recipe, rate: float) -> dict[str, Any]:
    """The settings of a try: a method's own, at a rate and with a part of the budget.

    Args:
        settings: of the method, laid over the recipe.
        recipe: says what the settings do not.
        rate: to try.
    """
    train = recipe.train
    steps, minutes, epochs = (
        settings.get(f"train.{name}", getattr(train, name)) for name in ("max_steps", "max_minutes", "epochs")
    )
    return {
        **settings,
        "name": f"{settings['name']}-rate",
        "train.learning_rate": rate,
        "train.max_steps": None if steps is None else math.ceil(steps / PART),
        "train.max_minutes": None if minutes is None else minutes / PART,
        "train.epochs": epochs if steps is not None else epochs / PART,
    }


def _rate(method: Method, place: int) -> float:
    """Three digits: what is printed is what was trained with."""
    return float(f"{method.rate * STEP**place:.3g}")


def _best(losses: Mapping[int, float | None]) -> int:
    """Of equal ones the lowest rate: where all diverged, the way is down."""
    return min(losses, key=lambda place: (math.inf if (loss := losses[place]) is None else loss, place))


def _next(method: Method, losses: Mapping[int, float | None]) -> int | None:
    """Down first: too high a rate does more harm."""
    best = _best(losses)
    beside = (place for place in (best - 1, best + 1) if place not in losses)
    return next((place for place in beside if _rate(method, place) <= HIGHEST_RATE), None)


def _said(one: Try) -> str:
    return f"{one.rate:g} ({'diverged' if one.loss is None else f'loss {one.loss:.3f}'})"
