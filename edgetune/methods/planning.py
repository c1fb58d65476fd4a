"""Which methods a recipe can be trained with, each with the settings that make it so and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edgetune.errors import RecipeError, WrongUsage
from edgetune.methods.record import Budget, LeftOut, Try
from edgetune.recipe import MethodSettings, Recipe, Resolved
from edgetune.training.methods import ADAPTER_LEARNING_RATE, FULL_LEARNING_RATE, default_learning_rate
from edgetune.trials import with_settings

#: Name → what makes a recipe that method, in the order of tables: from all weights to the fewest.
METHODS: dict[str, dict[str, Any]] = {
    "full": {"method.kind": "full"},
    "frozen": {"method.kind": "freeze"},
    "head-only": {"method.kind": "freeze", "method.train_head_only": True},
    "lora": {"method.kind": "lora"},
    "dora": {"method.kind": "dora"},
    "qlora": {"method.kind": "qlora"},
}
#: The method that others are held against.
REFERENCE = "full"
#: Settings that belong to one method and must not reach another.
_OF_FREEZING: dict[str, Any] = {
    "method.train_last_layers": None,
    "method.train_patterns": [],
    "method.train_head_only": False,
}
#: With a budget of time it is the time that ends a training, however few rows there are.
_ENDLESS_EPOCHS = 1000.0
#: Frozen layers: this part of them, the last ones, trains.
_TRAINED_PART = 3
#: Recipes take none above it.
HIGHEST_RATE = 1.0
#: Trials are named after recipe and method; a name has 64 letters at most.
_NAME = 48
#: Rounding of floating point.
_SAME = 1e-9


@dataclass(frozen=True)
class Wanted:
    """What shall be compared, and at what cost.

    Attributes:
        methods: names of :data:`METHODS`.
        seeds: trainings of each method; below three there are no intervals.
        budget: what each training may use; without one the recipe's own holds.
        shares: shares of the training rows; all of them are always trained on too.
        rates: method → learning rate, instead of the one that follows from the recipe's.
        tries: learning rates of each other method that are tried first; 0: none, the known ratio decides.
        last_layers: with frozen layers, how many of them train; default: a third.
        general_limit: questions of each task that measure forgetting; 0: it is not measured.
        export: also export and time one model of each method.
        margin: share of the best method's figure by which a cheaper one may stay behind.
    """

    methods: tuple[str, ...] = tuple(METHODS)
    seeds: int = 3
    budget: Budget = field(default_factory=Budget)
    shares: tuple[float, ...] = ()
    rates: Mapping[str, float] = field(default_factory=dict)
    tries: int = 0
    last_layers: int | None = None
    general_limit: int = 100
    export: bool = True
    margin: float = 0.01

    @property
    def all_shares(self) -> tuple[float, ...]:
        """Of the rows, all of them first."""
        return (1.0, *sorted({share for share in self.shares if share < 1}, reverse=True))


@dataclass(frozen=True)
class Method:
    """One way to train the recipe.

    Attributes:
        name: of :data:`METHODS`.
        settings: dotted key → value, laid over the recipe.
        rate: peak learning rate.
        why: where the rate comes from.
        tried: the rates it was chosen from.
    """

    name: str
    settings: Mapping[str, Any]
    rate: float
    why: str
    tried: tuple[Try, ...] = ()
    given_up: tuple[float, ...] = ()


def require_known(wanted: Wanted) -> None:
    """Do nothing if there are such methods.

    Raises:
        WrongUsage: a method or rate has an unknown name, or a rate is of a method that is not compared.
    """
    if unknown := [name for name in [*wanted.methods, *wanted.rates] if name not in METHODS]:
        raise WrongUsage(f"no method is called {', '.join(unknown)}", hint=f"one of: {', '.join(METHODS)}")
    if idle := [name for name in wanted.rates if name not in wanted.methods]:
        raise WrongUsage(
            f"a rate is given for {', '.join(idle)}, which is not compared",
            hint=f"--methods {','.join([*wanted.methods, *idle])}, or leave that --rate out",
        )


def plan_methods(resolved: Resolved, wanted: Wanted, layers: Callable[[], int]) -> tuple[list[Method], list[LeftOut]]:
    """What can be trained, and what cannot, with the reason.

    Args:
        resolved: the recipe.
        wanted: of which methods, under which budget.
        layers: counts those of the base, where that is needed.

    Raises:
        WrongUsage: as :func:`require_known`.
        RecipeError: none is left.
    """
    require_known(wanted)
    methods, left_out = [], []
    for name in (name for name in METHODS if name in wanted.methods):
        try:
            settings = _settings(name, resolved.recipe, wanted, layers)
            rate, why = _rate(name, resolved.recipe, wanted.rates)
            settings |= {"train.learning_rate": rate}
            with_settings(resolved, settings)
        except RecipeError as error:
            left_out.append(LeftOut(method=name, reason="; ".join(error.problems) or error.message))
        else:
            methods.append(Method(name, settings, rate, why))
    if not methods:
        problems = [f"{one.method}: {one.reason}" for one in left_out]
        raise RecipeError("none of the methods can train this recipe", hint="see --methods", problems=problems)
    return methods, left_out


def own_method(method: MethodSettings) -> str:
    """What a recipe's own method is called here."""
    if method.kind == "freeze":
        return "head-only" if method.train_head_only else "frozen"
    return method.kind


def _settings(name: str, recipe: Recipe, wanted: Wanted, layers: Callable[[], int]) -> dict[str, Any]:
    """What makes the recipe a training with this method under the budget."""
    found = {"name": f"{recipe.name[:_NAME]}-{name}"} | _OF_FREEZING | METHODS[name]
    if name == "frozen":
        found |= _frozen(recipe.method, wanted.last_layers, layers)
    if name == "qlora" and recipe.method.base_storage == "auto":
        found["method.base_storage"] = "4bit"  # auto hangs on how much memory is free that day
    if (wanted.budget.minutes, wanted.budget.examples) != (None, None) and recipe.train.early_stopping is not None:
        found["train.early_stopping"] = None  # as much for each; the best checkpoint is chosen all the same
    if wanted.budget.minutes is not None:
        found |= {"train.max_minutes": wanted.budget.minutes, "train.epochs": _ENDLESS_EPOCHS, "train.max_steps": None}
    if wanted.budget.examples is not None:
        steps = math.ceil(wanted.budget.examples / recipe.train.batch_size)
        found |= {"train.max_steps": steps, "train.max_minutes": None}
    return found


def _frozen(own: MethodSettings, last_layers: int | None, layers: Callable[[], int]) -> dict[str, Any]:
    """Which layers train."""
    if last_layers is None and own_method(own) == "frozen":
        return {"method.train_last_layers": own.train_last_layers, "method.train_patterns": list(own.train_patterns)}
    return {"method.train_last_layers": last_layers or max(1, layers() // _TRAINED_PART)}


def _rate(name: str, recipe: Recipe, given: Mapping[str, float]) -> tuple[float, str]:
    """Peak learning rate of a method, and where it comes from."""
    if name in given:
        return given[name], "as given"
    if name == own_method(recipe.method):
        return recipe.train.learning_rate or default_learning_rate(recipe.method), "the recipe's own"
    own = recipe.train.learning_rate or _usual_rate(own_method(recipe.method), recipe)
    new_head = name == "head-only" and recipe.task.kind != "generation"
    ratio = _usual_rate(name, recipe) / _usual_rate(own_method(recipe.method), recipe)
    why = f"{ratio:g} times the recipe's: adapters take about ten times what full training takes"
    if abs(ratio - 1) < _SAME:
        why = "the recipe's: both methods take the same"
    why += "; a new head starts from nothing, as an adapter does" if new_head else ""
    return min(own * ratio, HIGHEST_RATE), why


def _usual_rate(name: str, recipe: Recipe) -> float:
    """Of a method: adapters, and heads that start from nothing, take ten times what weights take that know something.

    Rank-stabilised LoRA and others of no name here are adapters.
    """
    weights = name in METHODS and METHODS[name]["method.kind"] in ("full", "freeze")
    new_head = name == "head-only" and recipe.task.kind != "generation"
    return FULL_LEARNING_RATE if weights and not new_head else ADAPTER_LEARNING_RATE
