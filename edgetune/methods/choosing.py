"""Which method to take. The rule is written down in :func:`rule`, and nothing else decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from edgetune.bench.statistics import FEWEST_ROUNDS
from edgetune.methods import floor
from edgetune.methods.leads import lead
from edgetune.methods.planning import REFERENCE
from edgetune.methods.record import MethodsComparison
from edgetune.methods.summing import Summary, summaries
from edgetune.report.cells import percent, score_number

#: Peaks of memory that differ by less count as equal: so much they move by themselves.
SAME_MEMORY = 0.05


@dataclass(frozen=True)
class Choice:
    """What to take, and why.

    Attributes:
        method: its name; None: it cannot be said yet.
        sure: that it stays within the margin of the best, and that none which takes less memory is as good as the
            best, is more than chance.
        headline: in a few words.
        reasons: sentences, from stored figures.
        lacking: what keeps anything from being taken; empty: nothing does.
    """

    method: str | None
    sure: bool
    headline: str
    reasons: tuple[str, ...]
    lacking: Literal["", "seeds", "methods", "learning"] = ""


def rule(margin: float) -> tuple[str, ...]:
    """The rule in words, in the order in which it is applied.

    Certain is a difference whose two intervals, over seeds and over held-out rows, both leave zero out.
    """
    return (
        f"Two methods, and {FEWEST_ROUNDS} seeds: fewer do not show how much chance there is in a training.",
        "Of each mean task figure is taken off what exporting certainly took of the first seed's model.",
        "Of classes, that figure above the most frequent class's, unless classes are weighed alike.",
        f"Of that figure within {percent(margin)} of the best method, and not certainly worse than it.",
        "Of these, none whose intervals of forgetting (bits for a byte of plain text) lie wholly above another's.",
        f"Of these, the least peak memory in training; within {percent(SAME_MEMORY)} of it, the smallest file.",
    )


def choose(comparison: MethodsComparison) -> Choice:
    """Apply the rule."""
    found = summaries(comparison)
    binds = floor.binds(comparison)
    learners = [one for one in found if not binds or floor.learnt(comparison, one)]
    if (none := _no_choice(comparison, found, learners)) is not None:
        return none
    best = _best(learners, lambda one: one.lost_on_export.value)
    allowed = comparison.margin * abs(best.net)
    good = [one for one in learners if _is_good(one, best, allowed)]
    chosen = _cheapest(_forgetting_least(good))
    # Were one of them as good, it would stand among the good ones, and be judged by what those forget.
    eligible = [one for one in found if one in _forgetting_least([*good, one])]
    rivals = _cheaper_rivals(chosen, best, eligible)
    # Best as trained, and where exporting took as little as it may have, is not always best on the whole.
    leading = (best, _best(learners, lambda _: 0.0), _best(learners, lambda one: one.lost_on_export.above))
    ahead = dict.fromkeys(one.method for one in leading if not _surely_near(chosen, one, allowed))
    learnt = not binds or floor.surely_learnt(comparison, chosen)
    asked = chosen.was_asked or not any(one.was_asked for one in found)
    sure = asked and learnt and not ahead and not rivals
    against = next((one for one in found if one.method == REFERENCE), best)
    against = best if against is chosen else against
    doubts = _doubts(comparison, chosen, good)
    if not learnt:
        doubts.insert(0, "Not certain: chance could make it as good as the most frequent class.")
    elif not asked:
        doubts.insert(0, "Not certain: exported, others were asked, and this one was not.")
    elif not sure:
        doubts.insert(0, _uncertain(comparison, ahead, rivals))
    reasons = [*_against(comparison, chosen, against), *doubts, *floor.notes(comparison)]
    return Choice(chosen.method, sure, _headline(comparison, chosen, against, sure=sure), tuple(reasons))


def _best(found: Iterable[Summary], taken: Callable[[Summary], float]) -> Summary:
    """By the task's figure, less what is taken off."""
    return max(found, key=lambda one: (-1 if one.comparison.lower_is_better else 1) * one.task.value - taken(one))


def _no_choice(comparison: MethodsComparison, found: Sequence[Summary], learners: Sequence[Summary]) -> Choice | None:
    """Why nothing is taken; None: something can be."""
    seeds = min(len(one.trainings) for one in found)
    if seeds < FEWEST_ROUNDS:
        said = f"Not yet: {seeds} seed{'s' if seeds > 1 else ''}, {FEWEST_ROUNDS} are needed"
        why = "How much chance there is in one training is not known."
        return Choice(None, False, said, (why, *floor.notes(comparison)), "seeds")
    if len(found) == 1:
        said = f"Nothing to choose between: {found[0].method} alone was trained"
        return Choice(None, False, said, floor.notes(comparison), "methods")
    if not learners:
        said = "None: no method is better than the most frequent class"
        return Choice(None, False, said, floor.notes(comparison), "learning")
    return None


def _is_good(one: Summary, best: Summary, allowed: float) -> bool:
    if one is best:
        return True
    found = lead(one, best)
    return found is not None and found.value >= -allowed and found.high >= 0


def _surely_near(chosen: Summary, other: Summary, allowed: float) -> bool:
    """Whether the intervals keep it so near to another, or ahead of it."""
    found = lead(chosen, other)
    return chosen is other or (found is not None and found.low >= -allowed)


def _forgetting_least(good: Sequence[Summary]) -> list[Summary]:
    return [one for one in good if not any(_forgets_more(one, other) for other in good)]


def _forgets_more(one: Summary, other: Summary) -> bool:
    """Whether it certainly does: over the seeds, and over the passages of the text, which all methods share."""
    if one.bits is None or other.bits is None or one.bits_by_passage is None or other.bits_by_passage is None:
        return False
    return one.bits.above > other.bits.below and one.bits_by_passage[0] > other.bits_by_passage[1]


def _cheapest(good: Sequence[Summary]) -> Summary:
    least = min(one.peak for one in good)
    return min((one for one in good if one.peak <= least * (1 + SAME_MEMORY)), key=lambda one: one.result_bytes)


def _headline(comparison: MethodsComparison, chosen: Summary, against: Summary, *, sure: bool) -> str:
    take = f"Take {chosen.method}" if sure else f"Probably {chosen.method}"
    if chosen is against:
        return f"{take}: {_best_of(comparison, chosen)}"
    found = lead(chosen, against)
    parts = [_distance(found.value, against.method) + _less(chosen, against, ends=",")] if found else []
    parts += [f"at {percent(chosen.peak / against.peak)} of the memory"]
    parts += [f"and {forgetting}" if (forgetting := _forgetting_share(chosen, against)) else ""]
    return f"{take}: {' '.join(part for part in parts if part)}"


def _best_of(comparison: MethodsComparison, best: Summary) -> str:
    """The figure of the best method."""
    return f"the best {comparison.metric}{_less(*summaries(comparison))}, {score_number(best.net)}"


def _less(*compared: Summary, ends: str = "") -> str:
    """That something is taken off, where it is off one that is compared."""
    return f"{ends} less what exporting took{ends}" if any(one.lost_on_export.value for one in compared) else ""


def _distance(better: float, other: str) -> str:
    """How far one method is from another, in the unit of the figure.

    >>> _distance(-0.006, "full"), _distance(0.02, "full")
    ('0.006 behind full', '0.020 ahead of full')
    """
    return f"{score_number(abs(better))} {'behind' if better < 0 else 'ahead of'} {other}"


def _forgetting_share(chosen: Summary, against: Summary) -> str | None:
    """Forgetting next to that of another method, where both certainly forget something."""
    own, other = chosen.bits, against.bits
    if own is None or other is None or other.above <= 0:
        return None
    if own.above <= 0:
        return "no forgetting that is certain"
    return f"{percent(own.value / other.value)} of the forgetting"


def _against(comparison: MethodsComparison, chosen: Summary, against: Summary) -> list[str]:
    """How the method taken compares with another, figure by figure."""
    if chosen is against:
        less = _less(*summaries(comparison))
        return [f"It has the best {comparison.metric}{less} of {len(comparison.methods)} methods."]
    sentences = []
    as_trained = ", as trained" if _less(chosen, against) else ""
    if (pair := comparison.pair(chosen.method, against.method)) is not None:
        sentences.append(
            f"{comparison.metric}: {score_number(chosen.task.value)} against {score_number(against.task.value)} of "
            f"{against.method}, {pair.value:+.3f}{_interval(pair.low, pair.high)} over {pair.seeds} seeds, "
            f"[{pair.row_low:+.3f}, {pair.row_high:+.3f}] over the held-out rows{as_trained}."
        )
    sentences.append(
        f"Peak memory: {chosen.peak / 1e6:.0f} MB against {against.peak / 1e6:.0f}. What training leaves: "
        f"{chosen.result_bytes / 1e6:.1f} MB against {against.result_bytes / 1e6:.1f}."
    )
    if chosen.bits and against.bits:
        sentences.append(
            f"Bits for a byte of plain text: {chosen.bits.value:+.3f}{_interval(chosen.bits.low, chosen.bits.high)} "
            f"against {against.bits.value:+.3f}{_interval(against.bits.low, against.bits.high)}."
        )
    return sentences


def _interval(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" [{low:+.3f}, {high:+.3f}]"


def _cheaper_rivals(chosen: Summary, best: Summary, found: Sequence[Summary]) -> list[str]:
    """Of some methods those that take less memory and are not certainly worse than the best.

    Were they as good, the rule would take one of them.
    """
    cheaper = [one for one in found if one.peak * (1 + SAME_MEMORY) < chosen.peak]
    return [one.method for one in cheaper if not _told_apart(one, best)]


def _uncertain(comparison: MethodsComparison, ahead: Iterable[str], rivals: Sequence[str]) -> str:
    """Why more would have to be known."""
    if ahead:
        said = f"by these intervals it could be further behind {', '.join(ahead)} than {percent(comparison.margin)}"
    else:
        said = f"{', '.join(rivals)} took less memory, and {'is' if len(rivals) == 1 else 'are'} not certainly worse"
    return f"Not certain: {said}; more seeds or more held-out rows would tell."


def _doubts(comparison: MethodsComparison, chosen: Summary, good: Sequence[Summary]) -> list[str]:
    """What the figures do not say."""
    doubts = []
    same = [one.method for one in good if one is not chosen and not _told_apart(one, chosen)]
    if same:
        doubts.append(f"Not told apart from it in {comparison.metric}: {', '.join(same)}; the costs decided.")
    found = summaries(comparison)
    if lost := [f"{one.method} {_moved(one)}" for one in found if one.lost_on_export.value]:
        taken = f"Taken off, as exporting took it of the first seed's model ({comparison.metric}): {', '.join(lost)}"
        unasked = ", ".join(one.method for one in found if not one.was_asked)
        doubts.append(f"{taken}{f'; not asked as exported: {unasked}' if unasked else ''}.")
    return doubts


def _moved(one: Summary) -> str:
    """How far exporting moved its figure."""
    shift = one.device.shift if one.device else None
    return "" if shift is None else f"{shift.value:+.3f}{_interval(shift.low, shift.high)}"


def _told_apart(one: Summary, other: Summary) -> bool:
    found = lead(one, other)
    return found is not None and found.certain
