"""The most frequent class of the training rows, for every held-out row: what a classifier that has learnt beats."""

from __future__ import annotations

from edgetune.methods.record import MethodsComparison, Training
from edgetune.methods.summing import Summary, summaries
from edgetune.report.cells import score_number


def binds(comparison: MethodsComparison) -> bool:
    """Whether a method that is no better is not to be taken.

    Rare classes that count as much as frequent ones in training cost accuracy, and are meant to.
    """
    return comparison.floor is not None and comparison.recipe.get("train", {}).get("class_weights") != "balanced"


def learnt(comparison: MethodsComparison, one: Summary) -> bool:
    """Whether a method's mean figure, less what exporting took, is better; yes where rows are answered."""
    floor = comparison.floor
    return floor is None or (one.net < floor.value if comparison.lower_is_better else one.net > floor.value)


def surely_learnt(comparison: MethodsComparison, one: Summary) -> bool:
    """Whether it is better by its interval over seeds, and by its mean against the floor's own interval over rows.

    Exporting may have taken as much as its interval allows.
    """
    floor, task, lost = comparison.floor, one.task, one.lost_on_export.below
    if floor is None:
        return True
    if comparison.lower_is_better:
        return task.below + lost < floor.value and task.value + lost < floor.low
    return task.above - lost > floor.value and task.value - lost > floor.high


def failed(comparison: MethodsComparison) -> tuple[Training, ...]:
    """Trainings that by their interval over the rows may be no better, of methods that on average are."""
    floor = comparison.floor
    if floor is None or not binds(comparison):
        return ()
    methods = {one.method for one in summaries(comparison) if learnt(comparison, one)}
    scores = [(one, one.score(comparison.metric)) for one in comparison.trainings if one.method in methods]
    lower = comparison.lower_is_better
    return tuple(
        one for one, score in scores if score and (score.high >= floor.value if lower else score.low <= floor.value)
    )


def notes(comparison: MethodsComparison) -> tuple[str, ...]:
    """Sentences that name methods and single trainings which are no better."""
    bad = [
        f"{one.method} from seed {one.seed}{'' if one.share == 1 else f' on {one.share:.0%} of the rows'}"
        for one in failed(comparison)
    ]
    said = (f"Learnt nothing that is certain: {', '.join(bad)}; at a lower rate, or in more steps, it may.",)
    return _not_learnt(comparison) + (said if bad else ())


def _not_learnt(comparison: MethodsComparison) -> tuple[str, ...]:
    """A sentence that names the methods which are no better; none where there are none."""
    below = [one for one in summaries(comparison) if not learnt(comparison, one)]
    if comparison.floor is None or not below:
        return ()
    named = f"{comparison.metric} {score_number(comparison.floor.value)}"
    less = ", less what exporting took," if any(one.lost_on_export.value for one in below) else ""
    said = f"No better{less} than the most frequent class ({named}): {', '.join(one.method for one in below)}"
    if not binds(comparison):
        said += "; but classes were weighed alike, which costs accuracy: see macro_f1 of edgetune eval"
    return (f"{said}.",)
