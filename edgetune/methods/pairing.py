"""How methods differ in the task's figure: trained from the same seed, asked the same rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

from edgetune.bench.statistics import mean_interval
from edgetune.evaluation.intervals import Ratio, paired_bootstrap, pooled
from edgetune.evaluation.record import Evaluation
from edgetune.methods.record import Pair

#: Seed → the evaluation of what was trained from it.
BySeed = Mapping[int, Evaluation]


def all_pairs(evaluations: Mapping[str, BySeed], figure: str) -> tuple[Pair, ...]:
    """Every method against every other, on the seeds and rows that both have."""
    found = []
    for one, other in combinations(evaluations, 2):
        seeds = [seed for seed in evaluations[one] if seed in evaluations[other]]
        both = [(evaluations[other][seed], evaluations[one][seed]) for seed in seeds]
        if both:
            pair = _pair(one, other, both, figure)
            found += [pair, _turned(pair)]
    return tuple(found)


def _pair(method: str, other: str, both: Sequence[tuple[Evaluation, Evaluation]], figure: str) -> Pair:
    differences: list[float] = []
    before: list[Ratio] = []
    after: list[Ratio] = []
    groups: list[str] = []
    for first, second in both:
        a, b = (_ratios(side, figure) for side in (first, second))
        common = [row for row in b if row in a]
        before += [a[row] for row in common]
        after += [b[row] for row in common]
        # The same row under another seed is no other row: what all seeds say of it is drawn together.
        own = {answer.row: answer.group or f"row {answer.row}" for answer in second.answers}
        groups += [f"{second.basis.data_sha256}:{own[row]}" for row in common]
        differences.append(pooled([b[row] for row in common]) - pooled([a[row] for row in common]))
    low, high = mean_interval(differences) or (None, None)
    row_low, row_high = paired_bootstrap(before, after, groups)
    return Pair(
        method=method,
        other=other,
        seeds=len(both),
        value=math.fsum(differences) / len(differences),
        low=low,
        high=high,
        row_low=row_low,
        row_high=row_high,
    )


def _turned(pair: Pair) -> Pair:
    """The same, seen from the other method."""
    return Pair(
        method=pair.other,
        other=pair.method,
        seeds=pair.seeds,
        value=-pair.value,
        low=None if pair.high is None else -pair.high,
        high=None if pair.low is None else -pair.low,
        row_low=-pair.row_high,
        row_high=-pair.row_low,
    )


def _ratios(evaluation: Evaluation, figure: str) -> dict[int, Ratio]:
    return {answer.row: answer.ratios[figure] for answer in evaluation.answers if figure in answer.ratios}
