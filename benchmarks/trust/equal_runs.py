"""Equal runs measured one after another: which pairs are called different, and which slowdowns would be seen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from edgetune.bench.comparing import DRIFT, DRIFT_VIRTUAL, RISK, Difference, Rule, difference
from edgetune.bench.schema import Figure
from edgetune.bench.statistics import ratio

#: What a later run is made slower by, after it was measured.
SLOWER = (1.05, 1.1, 1.2, 1.3)
#: Figures whose movement from run to run is told.
TOLD = ("itl", "ttft", "decode")

Rounds = Mapping[str, Figure]


def runs_of(result: Mapping[str, Any]) -> list[Rounds]:
    """Figures of each run of a stored result, the one first that the others were compared with."""
    first = {one["name"]: _figure(one, one["rounds"][0]) for one in result["same"][0]}
    return [first, *({one["name"]: _figure(one, one["rounds"][1]) for one in same} for same in result["same"])]


def _figure(one: Mapping[str, Any], rounds: Sequence[float]) -> Figure:
    return Figure(
        name=one["name"],
        unit=one["unit"],
        definition=one["name"],
        better="higher" if one["unit"].endswith("/s") else "lower",
        median=statistics.median(rounds),
        samples=len(rounds),
        rounds=tuple(rounds),
    )


def judged(result: Mapping[str, Any], slower: float = 1.0) -> Iterator[list[Difference]]:
    """Every pair by the rule of today, the later one with all times so much longer."""
    runs = runs_of(result)
    drift = DRIFT_VIRTUAL if result["machine"].get("virtual") else DRIFT
    for one, other in combinations(range(len(runs)), 2):
        moved = ratio(result["yardsticks"][one], result["yardsticks"][other], paired=False)
        pairs = [(before, _slowed(runs[other][name], slower)) for name, before in runs[one].items()]
        rule = Rule(turns=False, confidence=1 - RISK / len(pairs), drift=drift, moved=moved)
        yield [difference(before, after, rule) for before, after in pairs]


def _slowed(figure: Figure, slower: float) -> Figure:
    factor = 1.0 if figure.unit == "MB" else 1 / slower if figure.better == "higher" else slower
    rounds = tuple(value * factor for value in figure.rounds)
    return figure.model_copy(update={"rounds": rounds, "median": statistics.median(rounds)})


def movement(result: Mapping[str, Any], name: str) -> float:
    """By how much the mean of a figure moves from run to run: the standard deviation of its logarithm."""
    return statistics.stdev(
        statistics.fmean(math.log(value) for value in run[name].rounds) for run in runs_of(result) if name in run
    )


def sentences(result: Mapping[str, Any]) -> str:
    """All of it for the page."""
    if len(result["same"]) < 2:
        return "Too few equal runs to look at pairs."
    equal = list(judged(result))
    alarms = sum(any(one.verdict != "same" for one in pair) for pair in equal)
    moved = ", ".join(f"{name} {movement(result, name):.1%}" for name in TOLD)
    found = ", ".join(f"{_found(result, slower)} by {slower - 1:.0%}" for slower in SLOWER)
    return (
        f"Of all {len(equal)} pairs of these runs the rule of today calls {alarms} different. Whole runs moved by "
        f"{moved} (a standard deviation). With the later of two slowed down afterwards `decode` is called worse in "
        f"{found}."
    )


def _found(result: Mapping[str, Any], slower: float) -> int:
    return sum(any(one.name == "decode" and one.verdict == "worse" for one in pair) for pair in judged(result, slower))
