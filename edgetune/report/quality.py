"""How good each model of a run is at the task, on the same rows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from edgetune.evaluation.compare import Difference, compare
from edgetune.evaluation.figures import part
from edgetune.evaluation.metrics import Score
from edgetune.evaluation.record import Evaluation
from edgetune.evaluation.retention import retention
from edgetune.report.evidence import Evidence, Shipped

#: What base and trained model are called in reports; artifacts have the names of their folders.
BASE, TUNED = "untuned base", "tuned, torch"
#: Scores that say something of a model, but not how good it is at the task.
_BESIDE = ("loss", "perplexity", "stopped")


@dataclass(frozen=True)
class Gain:
    """The share of what training gained that an artifact keeps.

    Attributes:
        value: (artifact - base) / (tuned - base); None where it is not known.
        low, high: 95 % interval.
        rows: that it rests on.
        source: which evidence it was made from.
        reason: why there is no value.
        nothing_gained: training gained nothing that is sure, so there is no share of it.
    """

    value: float | None
    low: float = 0.0
    high: float = 0.0
    rows: int = 0
    source: str = ""
    reason: str = ""
    nothing_gained: bool = False


class Quality:
    """Scores of base, tuned model and artifacts, and how they compare.

    Args:
        evidence: of the run.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        named = [(BASE, evidence.base), (TUNED, evidence.tuned)]
        named += [(one.label, one.evaluation) for one in evidence.shipped]
        #: Name for people → evaluation, of those there are.
        self.evaluations: dict[str, Evaluation] = {name: found for name, found in named if found}

    @cached_property
    def metric(self) -> str | None:
        """The figure that says how good a model is: the first task metric, or the loss of plain text."""
        return task_figure(self.evaluations.values())

    @property
    def lower_is_better(self) -> bool:
        """Whether less of the metric is better."""
        return self.metric == "loss"

    @cached_property
    def common_rows(self) -> frozenset[int]:
        """The rows that every one was evaluated on."""
        rows = [frozenset(answer.row for answer in one.answers) for one in self.evaluations.values()]
        return frozenset.intersection(*rows) if rows else frozenset()

    @cached_property
    def on_common(self) -> dict[str, Evaluation]:
        """The evaluations on :attr:`common_rows` alone, figures and intervals made again."""
        if not self.common_rows:
            return {}
        return {
            name: one if one.n == len(self.common_rows) else part(one, self.common_rows)
            for name, one in self.evaluations.items()
        }

    def score(self, name: str) -> Score | None:
        """The metric of one model on the rows that all have; where there are none, on its own."""
        evaluation = self.on_common.get(name) or self.evaluations.get(name)
        return find_score(evaluation, self.metric) if evaluation else None

    def own_score(self, name: str) -> Score | None:
        """The metric of one model on all rows that it was asked."""
        evaluation = self.evaluations.get(name)
        return find_score(evaluation, self.metric) if evaluation else None

    def gain(self, shipped: Shipped) -> Gain:
        """What an artifact keeps: from the evaluations, or else from its verification, which has fewer rows."""
        if shipped.label not in self._gains:
            self._gains[shipped.label] = self._gain(shipped)
        return self._gains[shipped.label]

    @cached_property
    def _gains(self) -> dict[str, Gain]:
        return {}

    def _gain(self, shipped: Shipped) -> Gain:
        base, tuned, own, metric = self._evidence.base, self._evidence.tuned, shipped.evaluation, self.metric
        if base and tuned and own and metric:
            found = retention(base, tuned, own, metric, lower_is_better=self.lower_is_better)
            if found.rows and found.value is None:
                return Gain(None, rows=found.rows, reason="training gained nothing that is sure", nothing_gained=True)
            if found.value is not None:
                return Gain(found.value, found.low, found.high, found.rows, "the evaluations")
        return _verified_gain(shipped)

    def certainly_worse(self, one: Shipped, other: Shipped) -> Difference | None:
        """How ``one`` differs from ``other`` on the rows both have, if it is worse and that cannot be chance."""
        if one is other or not (one.evaluation and other.evaluation and self.metric):
            return None
        if not {a.row for a in one.evaluation.answers} & {a.row for a in other.evaluation.answers}:
            return None
        differences = compare(only(other.evaluation, self.metric), only(one.evaluation, self.metric)).differences
        found = next(iter(differences), None)
        if found is None or not found.certain:
            return None
        return found if (found.value > 0) == self.lower_is_better else None

    def best(self, candidates: Sequence[Shipped]) -> Shipped:
        """The one with the best score; of equals the first."""
        sign = -1.0 if self.lower_is_better else 1.0
        scores = {one.label: self.score(one.label) for one in candidates}
        return max(candidates, key=lambda one: sign * found.value if (found := scores[one.label]) else float("-inf"))


def only(evaluation: Evaluation, *names: str | None) -> Evaluation:
    """An evaluation with some of its figures, so that no intervals are made that nobody reads."""
    answers = tuple(
        answer.model_copy(update={"ratios": {name: ratio for name, ratio in answer.ratios.items() if name in names}})
        for answer in evaluation.answers
    )
    return evaluation.model_copy(update={"answers": answers})


def task_figure(evaluations: Iterable[Evaluation]) -> str | None:
    """Name of the figure that says how good a model is at its task; None: there is none."""
    names = dict.fromkeys(score.name for one in evaluations for score in one.scores)
    task = [name for name in names if name not in _BESIDE]
    return task[0] if task else "loss" if "loss" in names else None


def find_score(evaluation: Evaluation, name: str | None) -> Score | None:
    """A score by name, if it is there."""
    return next((score for score in evaluation.scores if score.name == name), None)


def _verified_gain(shipped: Shipped) -> Gain:
    checks = shipped.verification.checks if shipped.verification else ()
    task = next((check for check in checks if check.name == "task"), None)
    if task is None or "retention" not in task.figures:
        return Gain(None, reason="base, tuned model and artifact were not all evaluated")
    answers = shipped.verification.depth.answers if shipped.verification else None
    figures = task.figures
    value, low, high = figures["retention"], figures.get("low"), figures.get("high")
    if low is None or high is None:
        return Gain(None, reason="its verification has no interval for it")
    return Gain(value, low, high, answers or 0, "its verification")
