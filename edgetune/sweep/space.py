"""The settings that a sweep chooses from, and how one trial's are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgetune.recipe import Recipe
from edgetune.sensitivity.choosing import names_of
from edgetune.sensitivity.record import RANKS, LayerGradients, Suggestion
from edgetune.sweep.record import Space, Targets
from edgetune.training.methods import ADAPTER_LEARNING_RATE, FULL_LEARNING_RATE, default_learning_rate

if TYPE_CHECKING:
    import optuna

#: Alpha over rank: 1 and 2 are usual.
RATIOS = (1.0, 2.0, 4.0)
#: Methods without an adapter: rank, alpha and target modules mean nothing to them.
WHOLE = ("full",)
#: Words in the names of layers that belong to attention.
_ATTENTION = ("attn", "attention")


def make_space(
    recipe: Recipe, suggestion: Suggestion, methods: Sequence[str], ranks: Sequence[int], spread: float
) -> Space:
    """The choices for a recipe; what the recipe itself has is always one of them.

    Args:
        recipe: with an adapter as its method.
        suggestion: for it.
        methods: to try; none: the recipe's, and dora.
        ranks: to try; none: those that `edgetune suggest` proposes.
        spread: of learning rates, up and down.
    """
    method = recipe.method
    return Space(
        methods=tuple(dict.fromkeys((method.kind, *(methods or ("dora",))))),
        ranks=tuple(sorted({method.rank, *(ranks or RANKS)})),
        ratios=tuple(sorted({method.effective_alpha / method.rank, *RATIOS})),
        targets=_targets(method.target_modules, suggestion),
        learning_rate=recipe.train.learning_rate or default_learning_rate(method),
        spread=spread,
    )


def _targets(own: Targets, suggestion: Suggestion) -> dict[str, Targets]:
    layers = suggestion.sensitivity.layers
    inside = [layer for layer in layers if layer.block is not None]
    middle = (max((layer.block or 0 for layer in inside), default=0) + 1) // 2
    proposed = {change.key: change.value for change in suggestion.changes}.get("method.target_modules", "auto")
    attention = [layer for layer in inside if _is_attention(layer)]
    parts = {
        "attention": attention,
        "mlp": [layer for layer in inside if layer not in attention] if attention else [],
        "upper half": [layer for layer in inside if (layer.block or 0) >= middle],
    }
    named: dict[str, Any] = {"all": "auto", "suggested": proposed if proposed == "auto" else tuple(proposed)}
    named["recipe"] = own
    for name, some in parts.items():
        if some:
            named[name] = names_of(some, layers)
    found: dict[str, Targets] = {}
    for name, value in named.items():
        if value not in found.values():
            found[name] = value
    return found


def _is_attention(layer: LayerGradients) -> bool:
    return any(word in layer.kind for word in _ATTENTION)


def draw(trial: optuna.Trial, space: Space) -> dict[str, Any]:
    """One trial's settings, by dotted key of the recipe."""
    method = trial.suggest_categorical("method", space.methods)
    factor = 1.0
    if space.spread > 1:
        factor = trial.suggest_float("rate", 1 / space.spread, space.spread, log=True)
    if method in WHOLE:
        middle = space.learning_rate * FULL_LEARNING_RATE / ADAPTER_LEARNING_RATE
        return {"method.kind": method, "train.learning_rate": _rounded(middle * factor)}
    rank = trial.suggest_categorical("rank", space.ranks)
    ratio = trial.suggest_categorical("alpha_over_rank", space.ratios)
    targets = trial.suggest_categorical("targets", tuple(space.targets))
    return {
        "method.kind": method,
        "method.rank": rank,
        "method.alpha": ratio * rank,
        "method.target_modules": space.targets[targets],
        "train.learning_rate": _rounded(space.learning_rate * factor),
    }


def _rounded(rate: float) -> float:
    """Three digits, which a person can read and type; at most 1, as in a recipe."""
    return min(1.0, float(f"{rate:.3g}"))


def first_choices(recipe: Recipe, suggestion: Suggestion, space: Space) -> dict[str, Mapping[str, Any]]:
    """What to try before anything is sampled: the recipe as it is, and with what was suggested."""
    method = recipe.method
    own = {
        "method": method.kind,
        "rank": method.rank,
        "alpha_over_rank": method.effective_alpha / method.rank,
        "targets": name_of(method.target_modules, space),
    }
    own |= {"rate": 1.0} if space.spread > 1 else {}
    proposed = {change.key: change.value for change in suggestion.changes}
    if not proposed or proposed["method.rank"] not in space.ranks:
        return {"recipe": own}
    targets = name_of(proposed["method.target_modules"], space)
    return {"recipe": own, "suggested": own | {"rank": proposed["method.rank"], "targets": targets}}


def name_of(targets: Any, space: Space) -> str | None:
    """What a space calls some target modules."""
    wanted = targets if isinstance(targets, str) else tuple(targets)
    return next((name for name, value in space.targets.items() if value == wanted), None)
