"""Two evaluations compared on the rows they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol, TypeVar

from edgetune.errors import DataError
from edgetune.evaluation.intervals import Ratio, mcnemar, paired_bootstrap, paired_permutation, pooled
from edgetune.evaluation.record import NOTHING_RAN, Answer, Evaluation


@dataclass(frozen=True)
class Difference:
    """How one figure moved.

    Attributes:
        name: of the figure.
        before, after: the figure on the common rows.
        low, high: 95 % interval of ``after - before``, from a bootstrap over paired rows, or groups of them.
    """

    name: str
    before: float
    after: float
    low: float
    high: float

    @property
    def value(self) -> float:
        """After minus before."""
        return self.after - self.before

    @property
    def certain(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


class Named(Protocol):
    """Anything that evaluates a subject."""

    @property
    def subject(self) -> str: ...


Evaluated = TypeVar("Evaluated", bound=Named)


@dataclass(frozen=True)
class Comparison:
    """``after`` against ``before``, row by row.

    Attributes:
        before, after: names of the subjects.
        n: rows both were evaluated on.
        differences: one for each figure both have.
        lost: rows right before and wrong after.
        gained: rows wrong before and right after.
        p_value: chance of so uneven a split of ``lost`` and ``gained`` if both were equally good.
        test: what says so: McNemar's where rows stand for themselves.
        notes: what limits the comparison.
    """

    before: str
    after: str
    n: int
    differences: tuple[Difference, ...]
    lost: int
    gained: int
    p_value: float
    test: str
    notes: tuple[str, ...]

    def difference(self, name: str) -> Difference:
        """The difference in the figure called ``name``.

        Raises:
            KeyError: there is none.
        """
        return {difference.name: difference for difference in self.differences}[name]

    def to_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        return asdict(self)


def compare(before: Evaluation, after: Evaluation) -> Comparison:
    """Compare two evaluations of the same data on the rows both have.

    Raises:
        DataError: different data, or no row in common.
    """
    if before.basis.data_sha256 != after.basis.data_sha256:
        raise DataError(
            f"'{before.subject}' and '{after.subject}' were evaluated on different data",
            hint="evaluate both with the same --data",
        )
    pairs = _pairs(before, after)
    if not pairs:
        raise DataError(
            f"'{before.subject}' and '{after.subject}' were evaluated on no row in common",
            hint="evaluate both with the same --limit",
        )
    names = dict.fromkeys(name for a, b in pairs for name in a.ratios if name in b.ratios)
    lost = sum(bool(a.correct) and not b.correct for a, b in pairs)
    gained = sum(bool(b.correct) and not a.correct for a, b in pairs)
    return Comparison(
        before=before.subject,
        after=after.subject,
        n=len(pairs),
        differences=tuple(_difference(name, pairs) for name in names),
        lost=lost,
        gained=gained,
        p_value=_split_by_chance(pairs) if after.groups is not None else mcnemar(lost, gained),
        test="exact McNemar test" if after.groups is None else "permutation test over groups of rows",
        notes=_notes(before, after, len(pairs)),
    )


def _pairs(before: Evaluation, after: Evaluation) -> list[tuple[Answer, Answer]]:
    by_row = {answer.row: answer for answer in before.answers}
    return [(by_row[answer.row], answer) for answer in after.answers if answer.row in by_row]


def _difference(name: str, pairs: list[tuple[Answer, Answer]]) -> Difference:
    both = [(a.ratios[name], b.ratios[name]) for a, b in pairs if name in a.ratios and name in b.ratios]
    first: list[Ratio] = [a for a, _ in both]
    second: list[Ratio] = [b for _, b in both]
    groups = [b.group for a, b in pairs if name in a.ratios and name in b.ratios]
    return Difference(name, pooled(first), pooled(second), *paired_bootstrap(first, second, groups))


def _split_by_chance(pairs: list[tuple[Answer, Answer]]) -> float:
    before: list[Ratio] = [(float(bool(one.correct)), 1.0) for one, _ in pairs]
    after: list[Ratio] = [(float(bool(one.correct)), 1.0) for _, one in pairs]
    return paired_permutation(before, after, [one.group for _, one in pairs])


def _notes(before: Evaluation, after: Evaluation, common: int) -> tuple[str, ...]:
    notes = []
    if common < max(before.n, after.n):
        notes.append(f"compared on the {common} rows both were evaluated on ({before.n} and {after.n})")
    if before.runtime != after.runtime and NOTHING_RAN not in (before.runtime, after.runtime):
        notes.append(f"'{before.subject}' ran in {before.runtime}, '{after.subject}' in {after.runtime}")
    if before.basis.max_new_tokens != after.basis.max_new_tokens:
        notes.append(f"answers were cut at {before.basis.max_new_tokens} and {after.basis.max_new_tokens} tokens")
    return tuple(notes)


def with_earlier(
    evaluations: Sequence[Evaluated], compare_two: Callable[[Evaluated, Evaluated], Comparison]
) -> tuple[tuple[Comparison, ...], list[str]]:
    """Each evaluation compared with the base and the tuned model before it; and what could not be, and why."""
    comparisons, remarks = [], []
    for at, after in enumerate(evaluations):
        for before in (one for one in evaluations[:at] if one.subject in ("base", "tuned")):
            try:
                comparisons.append(compare_two(before, after))
            except DataError as error:
                remarks.append(error.message)
    return tuple(comparisons), remarks
