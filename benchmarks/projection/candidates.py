"""The models of the projection that were tried, each judged by leaving out one SoC after the other.

A candidate is a function from measurements to a function from a measurement to seconds a token.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgetune.devices.measurements import Measurement
from edgetune.devices.projection import T0_S, work_of

Rows = Sequence[Measurement]
Predict = Callable[[Measurement], float]
Candidate = Callable[[Rows], Predict]


def log_efficiency(row: Measurement, t0: float, arithmetic: bool) -> float:
    work = work_of(row)
    extra = work.arithmetic_s() if arithmetic else 0.0
    return math.log(work.bytes / (1 / row.decode_tok_s - t0 - extra) / work.bandwidth)


def seconds(row: Measurement, log_eta: float, t0: float, arithmetic: bool) -> float:
    work = work_of(row)
    extra = work.arithmetic_s() if arithmetic else 0.0
    return t0 + work.bytes / (math.exp(log_eta) * work.bandwidth) + extra


def by_group(
    key: Callable[[Measurement], str], shrink: float = 0.0, t0: float = T0_S, arithmetic: bool = True, cap: float = 0.0
) -> Candidate:
    """One efficiency a group: the mean logarithm over its SoCs, drawn to that of all by ``shrink`` SoCs' weight.

    A group that is not among the measurements gets that of all. ``cap``: highest bytes a second.
    """

    def fit(rows: Rows) -> Predict:
        socs: dict[str, list[float]] = {}
        groups: dict[str, set[str]] = {}
        for row in rows:
            socs.setdefault(row.soc, []).append(log_efficiency(row, t0, arithmetic))
            groups.setdefault(key(row), set()).add(row.soc)
        means = {soc: float(np.mean(values)) for soc, values in socs.items()}
        overall = float(np.mean(list(means.values())))

        def predict(row: Measurement) -> float:
            known = [means[soc] for soc in groups.get(key(row), ())]
            weight = len(known) + shrink
            eta = (sum(known) + shrink * overall) / weight if weight else overall
            if cap:
                eta = min(eta, math.log(cap / (row.bandwidth_gb_s * 1e9)))
            return seconds(row, eta, t0, arithmetic)

        return predict

    return fit


def power(rows: Rows) -> Predict:
    """Log efficiency falls with the logarithm of the bandwidth; another constant where small cores work too."""
    counts = {soc: sum(row.soc == soc for row in rows) for soc in {row.soc for row in rows}}
    weights = np.array([counts[row.soc] ** -0.5 for row in rows])
    design = np.array([_design(row) for row in rows])
    wanted = np.array([log_efficiency(row, T0_S, arithmetic=True) for row in rows])
    found = np.linalg.lstsq(design * weights[:, None], wanted * weights, rcond=None)[0]
    return lambda row: seconds(row, float(_design(row) @ found), T0_S, arithmetic=True)


def _design(row: Measurement) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([1.0, math.log(row.bandwidth_gb_s / 30), float(row.mixed_cores)])


def _kind(row: Measurement) -> str:
    return "mixed" if row.mixed_cores else "one kind"


def _core(row: Measurement) -> str:
    return row.device_class


#: Name → candidate, and how many numbers are fitted. CHOSEN is what edgetune.devices.projection does.
CHOSEN = "by how cores are used"
CANDIDATES: dict[str, tuple[Candidate, str]] = {
    "one efficiency for all": (by_group(lambda _row: "all"), "1"),
    "by core class": (by_group(_core), "6"),
    "by core class, drawn to the mean": (by_group(_core, shrink=1.0), "6"),
    CHOSEN: (by_group(_kind), "2"),
    "the same, without t0": (by_group(_kind, t0=0.0), "2"),
    "the same, without the arithmetic of weak cores": (by_group(_kind, arithmetic=False), "2"),
    "the same, capped at 45 GB/s": (by_group(_kind, cap=45e9), "2"),
    "the same, and a power of the bandwidth": (power, "3"),
}


def errors(candidate: Candidate, rows: Rows) -> list[float]:
    """(projected - measured) / measured of every row, its SoC left out."""
    found = {}
    for soc in {row.soc for row in rows}:
        predict = candidate([row for row in rows if row.soc != soc])
        found |= {id(row): 1 / predict(row) / row.decode_tok_s - 1 for row in rows if row.soc == soc}
    return [found[id(row)] for row in rows]


def mean_absolute(values: Sequence[float]) -> float:
    return float(np.mean(np.abs(values)))


def relabelled(rows: Rows) -> dict[str, float]:
    """Mean error of the chosen model with other labels of how cores are used: what the labels are worth."""
    labels: dict[str, Callable[[Measurement], bool]] = {
        "without labels": lambda _row: False,
        "with small cores wherever the source does not say how many threads ran": (
            lambda row: row.mixed_cores or row.threads is None
        ),
        "with the two kinds of big cores of the Snapdragon 7+ Gen 2 told apart": (
            lambda row: row.mixed_cores or row.soc == "Snapdragon 7+ Gen 2"
        ),
    }
    chosen = CANDIDATES[CHOSEN][0]
    return {
        name: mean_absolute(errors(chosen, [row.model_copy(update={"mixed_cores": label(row)}) for row in rows]))
        for name, label in labels.items()
    }


def nested(rows: Rows) -> float:
    """Mean error when the candidate, too, is chosen without the SoC it is judged by: the price of having looked."""
    found = []
    for soc in sorted({row.soc for row in rows}):
        rest = [row for row in rows if row.soc != soc]
        best = min(CANDIDATES.values(), key=lambda one: mean_absolute(errors(one[0], rest)))[0]
        predict = best(rest)
        found += [1 / predict(row) / row.decode_tok_s - 1 for row in rows if row.soc == soc]
    return mean_absolute(found)
