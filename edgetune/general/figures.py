"""Figures of general ability, each with what every item adds to it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgetune.evaluation.intervals import Ratio, bootstrap, pooled
from edgetune.evaluation.metrics import Score, score
from edgetune.general.record import TEXT, GeneralBasis, GeneralEvaluation

ACC = "share of questions whose right choice has the highest log-likelihood, given the context"
ACC_NORM = "the same, each log-likelihood divided by the characters of its choice"
ALL = "share of all questions answered right, each task judged by its usual figure"
BITS = "bits of information, -log2 p, that a UTF-8 byte of plain text holds for the model; lower is better"
PERPLEXITY = "exp of -ln p of a word of plain text (words parted by white space); lower is better"
#: Names of figures that are not of one task.
TOGETHER, BITS_PER_BYTE, WORD_PERPLEXITY = "all questions", f"{TEXT} bits_per_byte", f"{TEXT} word_perplexity"


@dataclass(frozen=True)
class Figure:
    """One figure, before it is summed up.

    Attributes:
        name: such as ``piqa acc_norm``.
        definition: for people.
        ratios: (task, row) → what the item adds.
        proportion: items are right or wrong.
        exponential: the figure is exp of what is pooled.
    """

    name: str
    definition: str
    ratios: Mapping[tuple[str, int], Ratio]
    proportion: bool = True
    exponential: bool = False

    @property
    def of(self) -> Callable[[NDArray[np.float64]], NDArray[np.float64]] | None:
        """What makes the figure of what is pooled."""
        return np.exp if self.exponential else None

    def value(self, ratios: list[Ratio]) -> float:
        """The figure over some items."""
        return math.exp(pooled(ratios)) if self.exponential else pooled(ratios)

    def score(self) -> Score:
        """Summed up, with its interval."""
        ratios = list(self.ratios.values())
        if not self.exponential:
            return score(self.name, self.definition, ratios, proportion=self.proportion)
        low, high = bootstrap(ratios)
        return Score(self.name, self.value(ratios), math.exp(low), math.exp(high), len(ratios), self.definition)


def figures_of(evaluation: GeneralEvaluation) -> list[Figure]:
    """Every figure of an evaluation, in the order of its tasks."""
    found: list[Figure] = []
    for task in (task for task, rows in evaluation.basis.rows.items() if task != TEXT and rows):
        for metric, definition in (("acc", ACC), ("acc_norm", ACC_NORM)):
            found.append(Figure(f"{task} {metric}", definition, _right(evaluation, {task: metric})))
    tasks = evaluation.basis.metrics
    if len(tasks) > 1:
        used = ", ".join(f"{task} {metric}" for task, metric in tasks.items())
        found.append(Figure(TOGETHER, f"{ALL}: {used}", _right(evaluation, tasks)))
    if evaluation.passages:
        bits = {(TEXT, one.row): (-one.log_likelihood / math.log(2), float(one.bytes)) for one in evaluation.passages}
        words = {(TEXT, one.row): (-one.log_likelihood, float(one.words)) for one in evaluation.passages}
        found.append(Figure(BITS_PER_BYTE, BITS, bits, proportion=False))
        found.append(Figure(WORD_PERPLEXITY, PERPLEXITY, words, proportion=False, exponential=True))
    return found


def _right(evaluation: GeneralEvaluation, metrics: Mapping[str, str]) -> dict[tuple[str, int], Ratio]:
    """Of each question of some tasks, whether it was answered right."""
    return {
        (one.task, one.row): (float(one.right(metrics[one.task])), 1.0)
        for one in evaluation.choices
        if one.task in metrics
    }


def with_scores(evaluation: GeneralEvaluation) -> GeneralEvaluation:
    """The same with its figures made again from what each item gave."""
    return evaluation.model_copy(update={"scores": tuple(figure.score() for figure in figures_of(evaluation))})


def part(evaluation: GeneralEvaluation, basis: GeneralBasis) -> GeneralEvaluation:
    """The same on some of its items."""
    wanted = {task: frozenset(rows) for task, rows in basis.rows.items()}
    few = evaluation.model_copy(
        update={
            "basis": basis,
            "choices": tuple(one for one in evaluation.choices if one.row in wanted[one.task]),
            "passages": tuple(one for one in evaluation.passages if one.row in wanted[TEXT]),
        }
    )
    return with_scores(few)
