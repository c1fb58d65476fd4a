"""What the trainings of one method come to: means over the seeds, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edgetune.bench.statistics import mean_interval
from edgetune.general.figures import BITS_PER_BYTE, TOGETHER
from edgetune.methods.planning import METHODS
from edgetune.methods.record import Device, MethodsComparison, Training

#: Bytes that specialisations are counted in.
GIGABYTE = 1_000_000_000
#: Figures whose best is another than one.
_OF = {"chrf": 100.0}


@dataclass(frozen=True)
class Spread:
    """A mean over seeds.

    Attributes:
        value: the mean.
        low, high: Student's 95 % interval; None below three seeds.
    """

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def above(self) -> float:
        """The lower end, or the mean where there is no interval."""
        return self.value if self.low is None else self.low

    @property
    def below(self) -> float:
        """The upper end, or the mean where there is no interval."""
        return self.value if self.high is None else self.high


def spread(values: Sequence[float | None]) -> Spread | None:
    """Over the seeds that have a value; None: there is none.

    >>> spread([0.5, None])
    Spread(value=0.5, low=None, high=None)
    """
    known = [value for value in values if value is not None]
    if not known:
        return None
    return Spread(math.fsum(known) / len(known), *(mean_interval(known) or (None, None)))


@dataclass(frozen=True)
class Summary:
    """One method.

    Attributes:
        method: its name.
        trainings: on all rows, seed by seed.
        comparison: that it is part of.
    """

    method: str
    trainings: tuple[Training, ...]
    comparison: MethodsComparison

    def over_seeds(self, value: Callable[[Training], float | None]) -> Spread | None:
        """The mean of something that each training has."""
        return spread([value(training) for training in self.trainings])

    @property
    def task(self) -> Spread:
        """The task's figure."""
        return task_at(self.comparison, self.method, 1.0)

    @property
    def peak(self) -> float:
        """Peak memory in bytes: on a GPU of the GPU, else of the process."""
        peaks = [one.peak_cuda if one.peak_cuda is not None else one.peak_rss for one in self.trainings]
        return math.fsum(peaks) / len(peaks)

    @property
    def questions(self) -> Spread | None:
        """Change in the share of general questions answered right."""
        return self._forgot(TOGETHER)

    @property
    def bits(self) -> Spread | None:
        """Change in the bits for a byte of plain text: what is forgotten adds some."""
        return self._forgot(BITS_PER_BYTE)

    @property
    def bits_by_passage(self) -> tuple[float, float] | None:
        """The same change over the passages of the text: the mean interval of its trainings; None: not measured."""
        found = [one for training in self.trainings if (one := training.forgotten(BITS_PER_BYTE))]
        if not found:
            return None
        return math.fsum(one.low for one in found) / len(found), math.fsum(one.high for one in found) / len(found)

    def _forgot(self, name: str) -> Spread | None:
        return self.over_seeds(lambda one: found.value if (found := one.forgotten(name)) else None)

    @property
    def result_bytes(self) -> int:
        """Of what training leaves."""
        return self.trainings[0].result_bytes

    @property
    def is_adapter(self) -> bool:
        """Whether that is an adapter, which needs the base beside it."""
        return METHODS[self.method]["method.kind"] not in ("full", "freeze")

    @property
    def fit_trained(self) -> int:
        """Specialisations that fit into a gigabyte as training leaves them: a base with adapters, or whole models."""
        room = GIGABYTE - self.comparison.base_bytes if self.is_adapter else GIGABYTE
        return max(0, room // self.result_bytes)

    @property
    def device(self) -> Device | None:
        """Its exported model, if one was timed."""
        return next((one for one in self.comparison.devices if one.method == self.method), None)

    @property
    def was_asked(self) -> bool:
        """Whether its exported model was, for the held-out rows."""
        return self.device is not None and self.device.shift is not None

    @property
    def lost_on_export(self) -> Spread:
        """By how much exporting certainly worsened the task's figure of its first seed; zeros: by nothing that is sure.

        The interval is over the held-out rows.
        """
        shift = self.device.shift if self.device else None
        if shift is None or not shift.certain or (shift.value < 0) == self.comparison.lower_is_better:
            return Spread(0.0, 0.0, 0.0)
        return Spread(abs(shift.value), *sorted((abs(shift.low), abs(shift.high))))

    @property
    def net(self) -> float:
        """The task's figure less that."""
        lost = self.lost_on_export.value
        return self.task.value + (lost if self.comparison.lower_is_better else -lost)

    @property
    def fit_exported(self) -> int | None:
        """Specialisations that fit into a gigabyte as exported: whole models, or more adapters kept apart on a base."""
        if self.device is None:
            return None
        whole, apart = GIGABYTE // self.device.size_bytes, self.device.apart
        return whole if apart is None else max(whole, (GIGABYTE - apart.base_bytes) // apart.adapter_bytes)


def summaries(comparison: MethodsComparison) -> list[Summary]:
    """All methods, in the order of tables."""
    return [Summary(method, comparison.of(method), comparison) for method in comparison.methods]


def task_at(comparison: MethodsComparison, method: str, share: float) -> Spread:
    """The task's figure of a method trained on a share of the rows; its interval is cut at what it can be.

    Losses are nats and have no upper end; chrF is of a hundred, all others are shares of one.
    """
    values = [score.value for one in comparison.of(method, share) if (score := one.score(comparison.metric))]
    found = spread(values)
    assert found is not None, "every training was scored"
    if found.low is None or found.high is None:
        return found
    most = math.inf if comparison.lower_is_better else _OF.get(comparison.metric, 1.0)
    return Spread(found.value, max(0.0, found.low), min(most, found.high))
