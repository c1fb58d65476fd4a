"""What is stored of a device: measured, constrained or projected, in a versioned JSON; never two in one column."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from edgetune import files
from edgetune.bench.objective import Verdict
from edgetune.devices.device import Device
from edgetune.devices.transport import Over
from edgetune.errors import ArtifactError
from edgetune.stored import json_schema


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Subject(_Part):
    """What it is about: a file by name and hash, without this machine's folders."""

    name: str
    file: str
    """The one that the runtime opens."""
    sha256: str
    """Of that file."""
    size_bytes: int
    """Of all files together, those of the base beneath an adapter included."""
    precision: str | None
    bytes_per_token: int
    """Of the weights, read from the real tensors."""


class DeviceState(_Part):
    """A device at one moment. None where it does not say."""

    soc: str | None
    model: str | None
    system: str | None
    cpu: str | None
    features: str | None
    cores: int | None
    highest_khz: dict[int, int]
    clock_khz: dict[int, int]
    governor: str | None
    memory_total: int | None
    memory_available: int | None
    thermal_status: str | None
    temperatures_c: dict[str, float]
    battery_percent: int | None
    battery_c: float | None
    on_power: bool | None

    @property
    def title(self) -> str:
        """What the device says it is."""
        names = [name for name in (self.model, self.soc or self.cpu, self.system) if name]
        return ", ".join(names) or "unknown device"


class Timing(_Part):
    """One row of the runner: so many tokens of a prompt, or so many new ones, behind ``depth`` tokens."""

    prompt_tokens: int
    new_tokens: int
    depth: int
    threads: int
    samples_s: tuple[float, ...]
    """Seconds of each repetition, as the runner measured them."""

    @property
    def name(self) -> str:
        """What is timed: prefill, decode, or both in one, which is no figure of ours."""
        return "prefill" if not self.new_tokens else "decode" if not self.prompt_tokens else "prefill and decode"


class Watch(_Part):
    """What a look every half second saw while the runner ran. Bytes, kHz."""

    peak_rss: int | None
    anonymous: int | None
    file_backed: int | None
    clocks_khz: tuple[dict[int, int], ...]


class Figure(_Part):
    """One figure with its definition, derived from the samples."""

    name: str
    unit: str
    definition: str
    depth: int | None = None
    median: float | None
    mad: float | None = None
    samples: int


class Measured(_Part):
    """A real run, on the device or on the constrained host."""

    over: Over
    where: str
    context: str
    runner: str
    """Name and build of the program that ran."""
    mask: str | None
    """Processor mask it was pinned with, hexadecimal; None: not pinned."""
    threads: int
    before: DeviceState
    after: DeviceState
    tests: tuple[Timing, ...]
    watch: Watch


class Limits(_Part):
    """What was limited on the host, and what could not be."""

    cores: tuple[int, ...]
    memory_bytes: int
    memory_by: str
    """``cgroup v1``, ``cgroup v2`` or ``rlimit``."""
    not_limited: tuple[str, ...]


#: What a constrained run says of the memory.
MemoryVerdict = Literal["fits", "out of memory", "would not fit", "reads weights again and again"]


class Constrained(_Part):
    """A run on this host within a device's cores and memory. Its speed is this host's, not the device's."""

    limits: Limits
    verdict: MemoryVerdict
    reason: str
    context: int | None = None
    """Tokens that it was opened for; None: the runtime's own choice."""
    tests: tuple[Timing, ...]
    peak_rss: int | None
    anonymous: int | None
    read_bytes: int | None
    """Read from storage after its first answer: much means that weights were dropped and read again."""


class Projected(_Part):
    """Projected decode speed at one depth, tokens a second: an interval with its class."""

    device: str
    depth: int
    low: float
    middle: float
    high: float
    device_class: str
    group: str
    efficiency: float
    bytes_per_token: float
    notes: tuple[str, ...]


class DeviceReport(_Part):
    """One report. Only the part that ``how`` names is filled."""

    kind: Literal["edgetune-device-report"] = "edgetune-device-report"
    schema_version: Literal[1] = 1
    how: Literal["measured on a device", "measured on this host", "constrained host", "projected"]
    created: str
    edgetune: str
    subject: Subject
    devices: tuple[Device, ...]
    measured: Measured | None = None
    constrained: Constrained | None = None
    projected: tuple[Projected, ...] = ()
    figures: tuple[Figure, ...] = ()
    warnings: tuple[str, ...] = ()
    target: str | None = None
    """What the verdicts hold it to: a target's name, a file's, or both."""
    verdicts: tuple[Verdict, ...] = ()

    @property
    def device(self) -> str:
        """What people call the device, or the devices."""
        return ", ".join(device.title for device in self.devices)

    @property
    def place(self) -> str:
        """Where it was measured, without what only its user knows: no serial number, no name of a user or a host."""
        if self.how == "measured on this host":
            return "this host"
        if self.constrained:
            return f"this host, limited as {self.device}"
        return self.device or (self.measured.before.title if self.measured else "")

    def write(self, path: Path) -> None:
        """Store it as JSON, whole or not at all."""
        files.write_text(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def read(cls, path: Path) -> Self:
        """A stored report.

        Raises:
            ArtifactError: there is none, or it is damaged or of another version.
        """
        try:
            return cls.model_validate_json(path.read_bytes())
        except OSError as error:
            raise ArtifactError(
                f"cannot read {path}: {error.strerror}",
                hint="edgetune device project ARTIFACT --output FILE writes one",
            ) from error
        except ValidationError as error:
            raise ArtifactError(f"{path} is no device report of this version", hint="measure again") from error


def device_schema() -> dict[str, Any]:
    """The JSON Schema of a stored report, as plain values."""
    return json_schema(DeviceReport, "device report")
