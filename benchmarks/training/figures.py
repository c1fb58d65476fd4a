"""From raw steps to figures: sums over the timed steps, and intervals by drawing steps again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgetune.bench.statistics import median
from edgetune.errors import EdgetuneError
from edgetune.evaluation.intervals import RESAMPLES, Ratio, paired_bootstrap, pooled

#: Contenders that put their batches together themselves, so that a step holds other rows than the others' step.
OWN_ORDER = frozenset({"loop", "trl-packing"})


@dataclass(frozen=True)
class Speed:
    """One contender's timed steps, those of all its turns together.

    Attributes:
        steps: each with seconds, rows, tokens, computed, loss.
        peak_rss: bytes, the largest of its turns.
        turns: tokens a second of each turn.
    """

    title: str
    steps: tuple[Mapping[str, float], ...]
    peak_rss: int
    turns: tuple[float, ...]

    def rate(self, what: str) -> float:
        """``tokens``, ``rows`` or ``computed`` a second."""
        return pooled(self.pairs(what))

    def pairs(self, what: str = "tokens") -> list[Ratio]:
        """(amount, seconds) of each timed step."""
        return [(step[what], step["seconds"]) for step in self.steps]

    @property
    def step_seconds(self) -> float:
        """Median duration of a step."""
        return median([step["seconds"] for step in self.steps])


def speed(trainings: Sequence[Mapping[str, Any]], name: str, warm_up: int, ladder: int | None = None) -> Speed:
    """The figures of one contender or rung.

    Args:
        trainings: of the results file.
        name: of the contender.
        warm_up: steps left out at the beginning of each turn.
        ladder: with a number, only so many steps of the first turn: those that the rungs make too.
    """
    own = [training for training in trainings if training["contender"] == name]
    if ladder is not None:
        own = own[:1]
    timed = [training["steps"][warm_up:ladder] for training in own]
    return Speed(
        own[0]["title"],
        tuple(step for steps in timed for step in steps),
        max(training["peak_rss"] for training in own),
        tuple(pooled([(step["tokens"], step["seconds"]) for step in steps]) for steps in timed),
    )


def times_faster(before: Speed, after: Speed) -> tuple[float, float, float]:
    """Ratio of tokens a second, and its 95 % interval when steps of each are drawn again (Efron, 1979)."""
    generator = np.random.default_rng(0)

    def drawn(pairs: Sequence[Ratio]) -> Any:
        values = np.asarray(pairs, dtype=np.float64)
        tokens, seconds = values[generator.integers(len(values), size=(RESAMPLES, len(values)))].sum(axis=1).T
        return tokens / seconds

    low, high = np.percentile(drawn(after.pairs()) / drawn(before.pairs()), [2.5, 97.5])
    return after.rate("tokens") / before.rate("tokens"), float(low), float(high)


@dataclass(frozen=True)
class Loss:
    """Held-out loss in nats an answer token.

    Attributes:
        value: over all seeds.
        difference: from the reference's.
        low, high: 95 % interval of the difference, rows drawn again.
        seeds: of each seed alone.
    """

    value: float
    difference: float
    low: float
    high: float
    seeds: tuple[float, ...]


#: Seed → (nats, answer tokens) of each held-out row.
BySeed = Mapping[str, Sequence[Sequence[float]]]


def heldout_losses(heldout: Mapping[str, BySeed], reference: str) -> dict[str, Loss]:
    """The loss of every subject, next to the reference."""
    against = _over_seeds(heldout[reference])
    losses = {}
    for name, by_seed in heldout.items():
        own = _over_seeds(by_seed)
        seeds = tuple(pooled([(row[0], row[1]) for row in rows]) for rows in by_seed.values())
        interval = paired_bootstrap(against, own)
        losses[name] = Loss(pooled(own), pooled(own) - pooled(against), *interval, seeds)
    return losses


def _over_seeds(by_seed: BySeed) -> list[Ratio]:
    """Each row's nats and tokens added up over the seeds, so that a row stays one draw."""
    return [
        (sum(part[0] for part in parts), sum(part[1] for part in parts))
        for parts in zip(*by_seed.values(), strict=True)
    ]


def require_same_rows(trainings: Sequence[Mapping[str, Any]]) -> None:
    """Check that all contenders saw the same rows in the same order, by the tokens and rows of each step.

    Raises:
        EdgetuneError: naming those that did not.
    """
    other = []
    for group in _by_seed(trainings):
        reference = [(step["tokens"], step["rows"]) for step in group[0]["steps"]]
        for training in group[1:]:
            seen = [(step["tokens"], step["rows"]) for step in training["steps"]]
            common = min(len(seen), len(reference))
            if seen[:common] != reference[:common]:
                other.append(f"{training['title']}: {seen[:3]} where {group[0]['title']} saw {reference[:3]}")
    if other:
        raise EdgetuneError(
            "not all contenders trained on the same rows in the same order (tokens and rows of the first steps)",
            hint="a library draws its batches in another way now; see _in_trainers_order in loops.py",
            problems=other,
        )


def loss_gaps(trainings: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """How far step losses lie apart where they should agree.

    Returns:
        Of the first step, before any update, over all contenders that share their order; and of any step
        over the rungs of the ladder, which train the same adapter from the same beginning (0 without a ladder).
    """
    first = [[training["steps"][0]["loss"] for training in group] for group in _by_seed(trainings)]
    rungs = [[step["loss"] for step in t["steps"]] for t in trainings if t["kind"] == "rung"]
    return (
        max(max(losses) - min(losses) for losses in first),
        max((max(at) - min(at) for at in zip(*rungs, strict=True)), default=0.0),
    )


def _by_seed(trainings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Those that share their order of rows: one list for each seed."""
    groups: dict[int, list[Mapping[str, Any]]] = {}
    for training in trainings:
        if training["contender"] not in OWN_ORDER:
            groups.setdefault(training["seed"], []).append(training)
    return list(groups.values())
