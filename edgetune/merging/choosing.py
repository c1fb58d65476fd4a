"""Which base to merge into, by the held-out rows, with the reason in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edgetune.evaluation.compare import Comparison, Difference, compare
from edgetune.evaluation.record import Evaluation
from edgetune.run import TrainedAgainst

#: A smaller share of the loss does not count: rounding to a stored type moves it beyond chance and to no effect.
LOSS_SHARE = 0.01
RULE = (
    "the adapter goes into what it was trained against, unless the other merge is better than that one, or that one "
    "is worse than unmerged and the other is not. Better and worse: beyond chance (the 95 % interval of the paired "
    f"difference leaves 0 out) in the first task metric, else in the loss by more than {LOSS_SHARE:.0%} of it"
)
#: In words.
NAMES: Mapping[TrainedAgainst, str] = {"base": "the base as stored", "nf4": "the base rounded to NF4"}


@dataclass(frozen=True)
class Verdict:
    """A choice, and why.

    Attributes:
        chosen: what to merge into.
        reason: in words.
        notes: what else the user should know.
    """

    chosen: TrainedAgainst
    reason: str
    notes: tuple[str, ...] = ()


def choose(
    trained_against: TrainedAgainst, unmerged: Evaluation, merged: Mapping[TrainedAgainst, Evaluation]
) -> Verdict:
    """Apply :data:`RULE`.

    Args:
        trained_against: what the adapter was trained on top of.
        unmerged: the adapter over just that.
        merged: what it was merged into → the merged model; with what it was trained against.
    """
    own = NAMES[trained_against]
    others = [into for into in merged if into != trained_against]
    if not others:
        reason = f"the adapter was trained against {own}: no rounding was trained with that could be merged into"
        return Verdict(trained_against, reason, _warnings(trained_against, unmerged, merged))
    (other,) = others
    between = compare(merged[trained_against], merged[other])
    found = figures(between)
    if _verdict(between) > 0:
        chosen, reason = other, f"better than the merge into {own}, which it was trained against: {found}"
    elif _is_worse(unmerged, merged[trained_against]) and not _is_worse(unmerged, merged[other]):
        lost = figures(compare(unmerged, merged[trained_against]))
        chosen, reason = other, f"the merge into {own}, which it was trained against, is worse than unmerged: {lost}"
    else:
        how = "is worse" if _verdict(between) < 0 else "is not better beyond chance"
        chosen, reason = trained_against, f"it was trained against that; the merge into {NAMES[other]} {how}: {found}"
    return Verdict(chosen, reason, _warnings(chosen, unmerged, merged))


def metric_of(evaluation: Evaluation) -> str | None:
    """The first task metric; None for plain text, which asks nothing."""
    names = [score.name for score in evaluation.scores if score.name not in ("loss", "perplexity", "stopped")]
    return names[0] if names else None


def figures(comparison: Comparison) -> str:
    """Loss and first task metric of a comparison, in a line."""
    return ", ".join(f"{one.name} {interval(one)}" for one in judged(comparison))


def interval(one: Difference) -> str:
    """A difference with its interval.

    >>> interval(Difference("loss", 0.5, 0.25, -0.3, -0.00001))
    '-0.2500 [-0.3000, +0.0000]'
    """
    value, low, high = (f"{round(number, 4) + 0.0:+.4f}" for number in (one.value, one.low, one.high))
    return f"{value} [{low}, {high}]"


def judged(comparison: Comparison) -> list[Difference]:
    """The differences that the rule looks at: of the loss, and of the first task metric where there is one."""
    others = [one for one in comparison.differences if one.name != "loss"]
    return [comparison.difference("loss"), *others[:1]]


def _warnings(
    chosen: TrainedAgainst, unmerged: Evaluation, merged: Mapping[TrainedAgainst, Evaluation]
) -> tuple[str, ...]:
    if not _is_worse(unmerged, merged[chosen]):
        return ()
    found = figures(compare(unmerged, merged[chosen]))
    return (f"the merge into {NAMES[chosen]} is worse than unmerged, and no other merge is better: {found}",)


def _is_worse(before: Evaluation, after: Evaluation) -> bool:
    return _verdict(compare(before, after)) < 0


def _verdict(comparison: Comparison) -> int:
    """Whether ``after`` is better (1) or worse (-1) than ``before``; 0: neither that can be told."""
    loss, *metrics = judged(comparison)
    if metrics and metrics[0].certain:
        return 1 if metrics[0].low > 0 else -1
    if loss.certain and abs(loss.value) > LOSS_SHARE * loss.before:
        return 1 if loss.high < 0 else -1
    return 0
