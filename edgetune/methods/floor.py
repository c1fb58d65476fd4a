"""The most frequent class of the training rows, for every held-out row: what a classifier that has learnt beats."""

from __future__ import annotations

from edgetune.methods.record import MethodsComparison
from edgetune.methods.summing import Summary, summaries
from edgetune.report.cells import score_number


def binds(comparison: MethodsComparison) -> bool:
    """Whether a method that is no better is not to be taken.

    Rare classes that count as much as frequent ones in training cost accuracy, and are meant to.
    """
    return comparison.floor is not None and comparison.recipe.get("train", {}).get("class_weights") != "balanced"


def learnt(comparison: MethodsComparison, one: Summary) -> bool:
    """Whether a method's mean figure is better; yes where rows are answered."""
    floor, value = comparison.floor, one.task.value
    return floor is None or (value < floor.value if comparison.lower_is_better else value > floor.value)


def surely_learnt(comparison: MethodsComparison, one: Summary) -> bool:
    """Whether it is better by its interval over seeds, and by its mean against the floor's own interval over rows."""
    floor, task = comparison.floor, one.task
    if floor is None:
        return True
    if comparison.lower_is_better:
        return task.below < floor.value and task.value < floor.low
    return task.above > floor.value and task.value > floor.high


def not_learnt(comparison: MethodsComparison) -> tuple[str, ...]:
    """A sentence that names the methods which are no better; none where there are none."""
    below = [one.method for one in summaries(comparison) if not learnt(comparison, one)]
    if comparison.floor is None or not below:
        return ()
    named = f"{comparison.metric} {score_number(comparison.floor.value)}"
    said = f"No better than the most frequent class ({named}): {', '.join(below)}"
    if not binds(comparison):
        said += "; but classes were weighed alike, which costs accuracy: see macro_f1 of edgetune eval"
    return (f"{said}.",)
