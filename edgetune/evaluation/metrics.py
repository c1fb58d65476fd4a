"""Task metrics. Each row gives a ratio (numerator, denominator); a figure is the sum of one over the other.

That one shape covers shares (1 or 0 over 1), means (value over 1), micro-averaged
F1 (2·agreeing over fields in both) and loss (nats over tokens), so that intervals
and paired comparisons need one piece of code.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from edgetune.errors import DataError
from edgetune.evaluation import jsonfields
from edgetune.evaluation.intervals import Groups, Ratio, bootstrap, pooled, share_interval
from edgetune.extras import require


@dataclass(frozen=True)
class Score:
    """A figure with its uncertainty and its meaning.

    Attributes:
        name: ``exact_match``, …
        value: the figure.
        low, high: 95 % interval.
        n: rows it rests on.
        definition: what exactly was counted; printed with the figure.
    """

    name: str
    value: float
    low: float
    high: float
    n: int
    definition: str


@dataclass(frozen=True)
class Metric:
    """How one figure is made from (prediction, reference) pairs.

    Attributes:
        name: of the figure.
        definition: for people.
        measure: (prediction, reference) → what the row adds.
        proportion: each row is right or wrong, so the interval is a proportion's.
    """

    name: str
    definition: str
    measure: Callable[[str, str], Ratio]
    proportion: bool = False


def score(name: str, definition: str, ratios: Sequence[Ratio], *, proportion: bool, groups: Groups = ()) -> Score:
    """Sum up what the rows gave.

    Args:
        name: of the figure.
        definition: for people.
        ratios: one entry a row.
        proportion: each row is 0 or 1 of 1.
        groups: of those rows, where they have any.

    Raises:
        DataError: there are no rows.
    """
    if not ratios:
        raise DataError(f"nothing to score: no rows for {name}", hint="give a data file with at least one answer")
    interval = share_interval(ratios, groups) if proportion else bootstrap(ratios, groups)
    return Score(name, pooled(ratios), *interval, len(ratios), definition)


def score_answers(metric: Metric, predictions: Sequence[str], references: Sequence[str]) -> Score:
    """A metric over lists of predictions and references of equal length.

    >>> score_answers(EXACT_MATCH, ["on ", "of"], ["on", "off"]).value
    0.5
    """
    ratios = [metric.measure(p, r) for p, r in zip(predictions, references, strict=True)]
    return score(metric.name, metric.definition, ratios, proportion=metric.proportion)


def perplexity(loss: Score) -> Score:
    """exp(loss), interval included."""
    return Score(
        "perplexity",
        _exp(loss.value),
        _exp(loss.low),
        _exp(loss.high),
        loss.n,
        "exp(loss)",
    )


def _exp(nats: float) -> float:
    # e**700 is near the largest float; a loss beyond it means "useless" either way.
    return math.exp(min(nats, 700.0))


def final(text: str) -> str:
    """What a model says after thinking aloud: the text after the last ``</think>``.

    >>> final("<think>kitchen?</think> {}")
    ' {}'
    """
    return text.rpartition("</think>")[2]


def is_exact(prediction: str, reference: str) -> bool:
    """Equal strings, apart from white space at either end."""
    return prediction.strip() == reference.strip()


def _exact(prediction: str, reference: str) -> Ratio:
    return float(is_exact(prediction, reference)), 1.0


def _parsable(prediction: str, _reference: str) -> Ratio:
    return float(jsonfields.parse(prediction) is not None), 1.0


def _json_equal(prediction: str, reference: str) -> Ratio:
    fields = jsonfields.parse(prediction)
    return float(fields is not None and fields == _reference_fields(reference)), 1.0


def _precision(prediction: str, reference: str) -> Ratio:
    fields = jsonfields.parse(prediction) or frozenset()
    return float(len(fields & _reference_fields(reference))), float(len(fields))


def _recall(prediction: str, reference: str) -> Ratio:
    fields = jsonfields.parse(prediction) or frozenset()
    expected = _reference_fields(reference)
    return float(len(fields & expected)), float(len(expected))


def _f1(prediction: str, reference: str) -> Ratio:
    fields = jsonfields.parse(prediction) or frozenset()
    expected = _reference_fields(reference)
    return 2.0 * len(fields & expected), float(len(fields) + len(expected))


def _reference_fields(reference: str) -> frozenset[jsonfields.Leaf]:
    fields = jsonfields.parse(reference)
    if fields is None:
        raise DataError(
            f"the json metric needs JSON answers, and this one is not: {reference[:80]!r}",
            hint="leave json out of task.metrics, or mend the held-out file",
        )
    return fields


class _Words:
    """Runs of letters and digits in any script, lower case: rouge-score's own drops all but a-z and 0-9."""

    _WORD = re.compile(r"[^\W_]+")

    def tokenize(self, text: str) -> list[str]:
        return self._WORD.findall(text.lower())


@cache
def _rouge() -> Any:
    scorer = require("rouge_score.rouge_scorer", extra="eval", needed_for="the rouge_l metric")
    return scorer.RougeScorer(["rougeL"], tokenizer=_Words())


def _rouge_l(prediction: str, reference: str) -> Ratio:
    return float(_rouge().score(reference, prediction)["rougeL"].fmeasure), 1.0


@cache
def _chrf_scorer() -> Any:
    return require("sacrebleu.metrics", extra="eval", needed_for="the chrf metric").CHRF()


def _chrf(prediction: str, reference: str) -> Ratio:
    return float(_chrf_scorer().sentence_score(prediction, [reference]).score), 1.0


EXACT_MATCH = Metric(
    "exact_match",
    "share of answers equal to the reference, outer white space and <think> parts aside",
    _exact,
    proportion=True,
)

#: Name in ``task.metrics`` → the figures it brings.
METRICS: dict[str, tuple[Metric, ...]] = {
    "exact_match": (EXACT_MATCH,),
    "json": (
        Metric(
            "json_equal",
            "share of answers equal to the reference as JSON: key order and white space aside, lists in order",
            _json_equal,
            proportion=True,
        ),
        Metric("json_parsable", "share of answers that are JSON", _parsable, proportion=True),
        Metric(
            "json_precision",
            "agreeing (path, value) leaves / leaves answered, over all rows; an answer that is not JSON has none",
            _precision,
        ),
        Metric("json_recall", "agreeing (path, value) leaves / leaves in the references, over all rows", _recall),
        Metric("json_f1", "harmonic mean of json_precision and json_recall (micro)", _f1),
    ),
    "rouge_l": (
        Metric("rouge_l", "mean ROUGE-L F1 (rouge-score; words of any script, lower case, no stemming)", _rouge_l),
    ),
    "chrf": (Metric("chrf", "mean sentence chrF2 (sacrebleu defaults), 0 to 100", _chrf),),
}

LOSS_DEFINITION = "mean -ln p over all answer tokens, the stop token included, in nats"


def chosen(names: Sequence[str]) -> tuple[Metric, ...]:
    """The metrics for ``task.metrics``, in its order: what keeps to limits or is chosen by one goes by the first.

    Exact match decides what a miss is, so where it is not named it comes last.
    """
    return tuple(metric for name in dict.fromkeys([*names, "exact_match"]) for metric in METRICS[name])
