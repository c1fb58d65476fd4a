"""Which method to take. The rule is written down in :func:`rule`, and nothing else decides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgetune.bench.statistics import FEWEST_ROUNDS
from edgetune.methods import floor
from edgetune.methods.planning import REFERENCE
from edgetune.methods.record import MethodsComparison, Pair
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
        "Of classes, a mean task figure above that of the most frequent class, unless classes are weighed alike.",
        f"Mean task figure within {percent(margin)} of the best method's, and not certainly worse than it.",
        "Of these, none whose intervals of forgetting (bits for a byte of plain text) lie wholly above another's.",
        f"Of these, the least peak memory in training; within {percent(SAME_MEMORY)} of it, the smallest file.",
    )


def choose(comparison: MethodsComparison) -> Choice:
    """Apply the rule."""
    found = summaries(comparison)
    best = max(found, key=lambda one: -one.task.value if comparison.lower_is_better else one.task.value)
    if (none := _no_choice(comparison, found, best)) is not None:
        return none
    allowed = comparison.margin * abs(best.task.value)
    binds = floor.binds(comparison)
    good = [one for one in found if _is_good(comparison, one, best, allowed)]
    good = [one for one in good if not binds or floor.learnt(comparison, one)]
    chosen = _cheapest(_forgetting_least(good))
    gap = comparison.pair(chosen.method, best.method)
    # Were one of them as good, it would stand among the good ones, and be judged by what those forget.
    eligible = [one for one in found if one in _forgetting_least([*good, one])]
    rivals = _cheaper_rivals(comparison, chosen, best, eligible)
    near = chosen is best or (gap is not None and _worst(gap, comparison) >= -allowed)
    learnt = not binds or floor.surely_learnt(comparison, chosen)
    sure = near and not rivals and learnt
    against = next((one for one in found if one.method == REFERENCE), best)
    against = best if against is chosen else against
    doubts = _doubts(comparison, chosen, good)
    if not learnt:
        doubts.insert(0, "Not certain: chance could make it as good as the most frequent class.")
    elif not sure:
        doubts.insert(0, _uncertain(comparison, best, near, rivals))
    reasons = [*_against(comparison, chosen, against), *doubts, *floor.not_learnt(comparison)]
    return Choice(chosen.method, sure, _headline(comparison, chosen, against, sure=sure), tuple(reasons))


def _no_choice(comparison: MethodsComparison, found: Sequence[Summary], best: Summary) -> Choice | None:
    """Why nothing is taken; None: something can be."""
    seeds = min(len(one.trainings) for one in found)
    if seeds < FEWEST_ROUNDS:
        said = f"Not yet: {seeds} seed{'s' if seeds > 1 else ''}, {FEWEST_ROUNDS} are needed"
        why = "How much chance there is in one training is not known."
        return Choice(None, False, said, (why, *floor.not_learnt(comparison)), "seeds")
    if len(found) == 1:
        said = f"Nothing to choose between: {best.method} alone was trained"
        return Choice(None, False, said, floor.not_learnt(comparison), "methods")
    if floor.binds(comparison) and not floor.learnt(comparison, best):
        said = "None: no method is better than the most frequent class"
        return Choice(None, False, said, floor.not_learnt(comparison), "learning")
    return None


def _better_by(pair: Pair, comparison: MethodsComparison) -> float:
    """By how much the first of a pair is better; less than zero: it is worse."""
    return -pair.value if comparison.lower_is_better else pair.value


def _worst(pair: Pair, comparison: MethodsComparison) -> float:
    """The same, as bad as the intervals allow."""
    if pair.low is None or pair.high is None:
        return float("-inf")
    return -max(pair.high, pair.row_high) if comparison.lower_is_better else min(pair.low, pair.row_low)


def _is_good(comparison: MethodsComparison, one: Summary, best: Summary, allowed: float) -> bool:
    if one is best:
        return True
    pair = comparison.pair(one.method, best.method)
    if pair is None:
        return False
    better = _better_by(pair, comparison)
    return better >= -allowed and not (pair.certain and better < 0)


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
        return f"{take}: the best {comparison.metric}, {score_number(chosen.task.value)}"
    pair = comparison.pair(chosen.method, against.method)
    parts = [_distance(_better_by(pair, comparison), against.method)] if pair else []
    parts += [f"at {percent(chosen.peak / against.peak)} of the memory"]
    parts += [f"and {forgetting}" if (forgetting := _forgetting_share(chosen, against)) else ""]
    return f"{take}: {' '.join(part for part in parts if part)}"


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
        return [f"It has the best {comparison.metric} of {len(comparison.methods)} methods."]
    sentences = []
    if (pair := comparison.pair(chosen.method, against.method)) is not None:
        sentences.append(
            f"{comparison.metric}: {score_number(chosen.task.value)} against {score_number(against.task.value)} of "
            f"{against.method}, {pair.value:+.3f}{_interval(pair.low, pair.high)} over {pair.seeds} seeds, "
            f"[{pair.row_low:+.3f}, {pair.row_high:+.3f}] over the held-out rows."
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


def _cheaper_rivals(
    comparison: MethodsComparison, chosen: Summary, best: Summary, found: Sequence[Summary]
) -> list[str]:
    """Of some methods those that take less memory and are not certainly worse than the best.

    Were they as good, the rule would take one of them.
    """
    cheaper = [one for one in found if one.peak * (1 + SAME_MEMORY) < chosen.peak]
    return [one.method for one in cheaper if not _told_apart(comparison, one, best)]


def _uncertain(comparison: MethodsComparison, best: Summary, near: bool, rivals: Sequence[str]) -> str:
    """Why more would have to be known."""
    if near:
        said = f"{', '.join(rivals)} took less memory, and {'is' if len(rivals) == 1 else 'are'} not certainly worse"
    else:
        said = f"by these intervals it could be further behind {best.method} than {percent(comparison.margin)}"
    return f"Not certain: {said}; more seeds or more held-out rows would tell."


def _doubts(comparison: MethodsComparison, chosen: Summary, good: Sequence[Summary]) -> list[str]:
    """What the figures do not say."""
    doubts = []
    same = [one.method for one in good if one is not chosen and not _told_apart(comparison, one, chosen)]
    if same:
        doubts.append(f"Not told apart from it in {comparison.metric}: {', '.join(same)}; the costs decided.")
    shift = chosen.device.shift if chosen.device else None
    if shift is not None and (shift.low > 0 if comparison.lower_is_better else shift.high < 0):
        moved = f"{comparison.metric} {shift.value:+.3f}{_interval(shift.low, shift.high)}"
        doubts.append(
            f"Exported, its first seed's model is worse than as trained by more than its rows explain ({moved}); "
            "the rule does not look at that."
        )
    return doubts


def _told_apart(comparison: MethodsComparison, one: Summary, other: Summary) -> bool:
    pair = comparison.pair(one.method, other.method)
    return pair is not None and pair.certain
