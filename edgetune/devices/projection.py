"""How fast a model would probably decode on a device, from bytes a token and the memory's bandwidth.

::

    seconds a token = T0 + bytes / (efficiency x bandwidth) + weights / (cores x RATE)

The last term is for cores without dot-product instructions alone: those are also bound by arithmetic. The efficiency
is the geometric mean over the published measurements of a class (each SoC counts once), and an interval is as wide as
the projection was wrong about SoCs that it had not seen. ``edgetune.devices.validation`` judges it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from edgetune.devices.device import Device
from edgetune.devices.measurements import Measurement, used_for

#: Seconds a token that do not depend on its bytes: intercept over models of several sizes on one device (Raspberry
#: Pi 5, two threads: 2.1 ms; OnePlus 12: 2.3 ms).
T0_S = 0.002
#: The largest such intercept seen (Orion O6, twelve threads: 7.1 ms). Taken for the slow end below the smallest model.
SLOW_T0_S = 0.007
#: Weights a second that a Cortex-A72 multiplies, one core, q8_0 to q4_K: the kernel alone, measured on a Raspberry Pi 4
#: (llama.cpp pull request 8151: 9.3 to 9.5 GB/s of float32 values). No decode speed went into it.
RATE_WITHOUT_DOTPROD = 2.33e9
#: Half the width of an interval: so many times the root mean square of the left-out errors.
SPREADS = 2.0
#: Interval of a class that has one measurement, as a factor: an assumption, and labelled so.
ASSUMED_FACTOR = 1.5
#: Big cores are all but the slowest kind; where there is one kind, all.
BIG, MIXED = "big cores alone", "big and small cores"
_ACCELERATORS = ("npu-hexagon", "gpu-apple")
_WITHOUT_DOTPROD = "a72-no-dotprod"


@dataclass(frozen=True)
class Work:
    """What one token costs on one device.

    Attributes:
        bytes: read for it, weights and key-value cache.
        weights: multiplied for it.
        cores: that compute.
    """

    device_class: str
    mixed_cores: bool
    bandwidth: float
    bytes: float
    weights: float | None
    cores: int

    @property
    def group(self) -> str:
        """Whose efficiency counts: accelerators have their own, processors that of how their cores are used."""
        if self.device_class in _ACCELERATORS:
            return self.device_class
        return MIXED if self.mixed_cores else BIG

    def arithmetic_s(self, rate: float = RATE_WITHOUT_DOTPROD) -> float:
        """Seconds of arithmetic that reading does not hide."""
        if self.device_class != _WITHOUT_DOTPROD:
            return 0.0
        assert self.weights is not None, "cores without dot products need the number of weights"
        return self.weights / (self.cores * rate)


def work_of(row: Measurement) -> Work:
    """The work behind a measurement."""
    weights = row.mweights * 1e6 if row.mweights else None
    size = row.mb_per_token * 1e6
    return Work(row.device_class, row.mixed_cores, row.bandwidth_gb_s * 1e9, size, weights, row.threads or 4)


@dataclass(frozen=True)
class Fit:
    """Efficiencies by group, and how far to trust them.

    Attributes:
        log_efficiency: group → logarithm of the share of the bandwidth that is used.
        socs: group → number of SoCs behind it.
        half_width: of the interval of the logarithm of tokens a second.
        smallest: bytes a token of the smallest model measured.
        bandwidths: slowest and fastest memory measured, bytes a second.
    """

    log_efficiency: Mapping[str, float]
    socs: Mapping[str, int]
    half_width: float
    smallest: float
    bandwidths: tuple[float, float]

    def seconds(self, work: Work, t0: float = T0_S) -> float:
        """One token, by the middle of the group's efficiencies; a group without any takes the mean of the others."""
        known = self.log_efficiency
        log_eta = known.get(work.group, sum(known.values()) / len(known))
        return t0 + work.bytes / (math.exp(log_eta) * work.bandwidth) + work.arithmetic_s()


@dataclass(frozen=True)
class Projection:
    """Projected decode speed: an interval with its class, never a single figure.

    Attributes:
        low, middle, high: tokens a second.
        device_class: of the device.
        group: whose efficiency was taken.
        efficiency: share of the theoretical bandwidth that this group uses.
        bytes_per_token: weights and cache.
        notes: what else should be known.
    """

    device: str
    low: float
    middle: float
    high: float
    device_class: str
    group: str
    efficiency: float
    bytes_per_token: float
    notes: tuple[str, ...] = field(default=())


def log_efficiencies(rows: Iterable[Measurement]) -> dict[str, dict[str, float]]:
    """Group → SoC → mean logarithm of the efficiency that its measurements show."""
    found: dict[str, dict[str, list[float]]] = {}
    for row in rows:
        work = work_of(row)
        reading = 1 / row.decode_tok_s - T0_S - work.arithmetic_s()
        value = math.log(work.bytes / reading / work.bandwidth)
        found.setdefault(work.group, {}).setdefault(row.soc, []).append(value)
    return {group: {soc: _mean(values) for soc, values in socs.items()} for group, socs in found.items()}


def fit(rows: tuple[Measurement, ...]) -> Fit:
    """Fit the efficiencies, and the interval's width by leaving out one SoC after the other."""
    middle = _fit_middle(rows)
    errors = []
    for soc in sorted({row.soc for row in rows}):
        rest = _fit_middle(tuple(row for row in rows if row.soc != soc))
        errors.append(_mean([log_error(rest, row) for row in rows if row.soc == soc]))
    half_width = SPREADS * math.sqrt(_mean([error**2 for error in errors]))
    return Fit(middle.log_efficiency, middle.socs, half_width, middle.smallest, middle.bandwidths)


def _fit_middle(rows: tuple[Measurement, ...]) -> Fit:
    by_soc = log_efficiencies(rows)
    works = [work_of(row) for row in rows]
    speeds = [work.bandwidth for work in works]
    return Fit(
        {group: _mean(list(values.values())) for group, values in by_soc.items()},
        {group: len(values) for group, values in by_soc.items()},
        math.nan,
        min(work.bytes for work in works),
        (min(speeds), max(speeds)),
    )


def log_error(found: Fit, row: Measurement) -> float:
    """ln(projected / measured) tokens a second."""
    return -math.log(found.seconds(work_of(row)) * row.decode_tok_s)


def project(device: Device, size: float, weights: float) -> Projection:
    """Decode speed of a model on a device.

    Args:
        device: where.
        size: bytes read for one token, the key-value cache at the wanted depth included.
        weights: multiplied for one token.
    """
    threads = device.threads
    work = Work(device.device_class, spans_kinds(device), device.bandwidth_gb_s * 1e9, size, weights, threads)
    if work.group in _ACCELERATORS:
        rows = tuple(row for row in used_for("accelerator") if row.device_class == work.group)
        found, half_width = _fit_middle(rows), math.log(ASSUMED_FACTOR)
    else:
        found = fit(used_for("fit"))
        half_width = found.half_width
    low, middle, high = interval(found, work, half_width)
    efficiency = math.exp(found.log_efficiency[work.group])
    return Projection(
        device.name, low, middle, high, work.device_class, work.group, efficiency, size, tuple(_notes(found, work))
    )


def interval(found: Fit, work: Work, half_width: float) -> tuple[float, float, float]:
    """Slow end, middle and fast end in tokens a second."""
    small = work.bytes < found.smallest
    slow, fast = (SLOW_T0_S, 0.0) if small else (T0_S, T0_S)
    factor = math.exp(half_width)
    return 1 / (found.seconds(work, slow) * factor), 1 / found.seconds(work), factor / found.seconds(work, fast)


def spans_kinds(device: Device) -> bool:
    """Whether its threads run on more cores than the big ones; where those are unknown, on all cores of many."""
    if device.big_cores:
        return device.threads > len(device.big_cores)
    return device.threads == device.cores and device.cores > 4


def _notes(found: Fit, work: Work) -> Iterable[str]:
    if work.group in _ACCELERATORS:
        yield f"one published measurement of this class: the interval is assumed (factor {ASSUMED_FACTOR})"
    if work.bytes < found.smallest:
        yield (
            f"smaller than any model measured ({found.smallest / 1e6:.0f} MB a token): "
            "what does not depend on its bytes decides, so the interval is wider"
        )
    slowest, fastest = found.bandwidths
    if not slowest <= work.bandwidth <= fastest and work.group not in _ACCELERATORS:
        yield f"bandwidth outside of what was measured ({slowest / 1e9:g} to {fastest / 1e9:g} GB/s)"
    if work.device_class == _WITHOUT_DOTPROD:
        yield "without dot-product instructions: arithmetic counts too, by a measurement of one kernel"


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
