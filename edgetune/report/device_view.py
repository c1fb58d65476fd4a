"""Stored device reports as the report reads them: measured, constrained or projected, kept apart."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict


class _Read(BaseModel):
    """Reads what it needs of a report; the rest is that room's own."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class DeviceName(_Read):
    """A device."""

    name: str
    title: str = ""


class DeviceSubject(_Read):
    """The file that it is about."""

    name: str
    sha256: str


class DeviceFigure(_Read):
    """A measured figure."""

    name: str
    unit: str
    definition: str
    depth: int | None = None
    median: float | None
    mad: float | None = None
    samples: int


class DeviceRun(_Read):
    """A real run."""

    over: str
    where: str
    context: str
    runner: str
    threads: int


class DeviceLimits(_Read):
    """What was limited on this host."""

    cores: tuple[int, ...]
    memory_bytes: int
    memory_by: str
    not_limited: tuple[str, ...] = ()


class ConstrainedRun(_Read):
    """A run on this host within a device's limits."""

    limits: DeviceLimits
    verdict: str
    reason: str
    peak_rss: int | None


class Projection(_Read):
    """Projected decode speed, tokens a second."""

    device: str
    depth: int
    low: float
    middle: float
    high: float
    device_class: str
    efficiency: float
    bytes_per_token: float
    notes: tuple[str, ...] = ()


class DeviceView(_Read):
    """One stored report."""

    kind: Literal["edgetune-device-report"]
    how: Literal["measured on a device", "measured on this host", "constrained host", "projected"]
    created: str
    subject: DeviceSubject
    devices: tuple[DeviceName, ...]
    measured: DeviceRun | None = None
    constrained: ConstrainedRun | None = None
    projected: tuple[Projection, ...] = ()
    figures: tuple[DeviceFigure, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def device(self) -> str:
        """What people call the device."""
        return ", ".join(one.title or one.name for one in self.devices)


def read_device_report(path: Path) -> DeviceView:
    """A stored device report.

    Raises:
        ValueError: it is none, or damaged.
        OSError: it cannot be read.
    """
    return DeviceView.model_validate_json(path.read_bytes())
