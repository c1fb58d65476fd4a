"""The benchmark report: raw samples and environment, in a versioned JSON. Figures are derived in ``summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from edgetune import files


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LoadSample(_Part):
    """One start of one fresh process. Seconds since that process was started."""

    ready_s: float
    first_token_s: float
    storage_bytes: int | None = None
    """Read from storage by then, as the kernel counts it: evidence that a cold start was cold."""


class Loads(_Part):
    """Starts with the file in the page cache (warm) and without (cold)."""

    warm: tuple[LoadSample, ...]
    cold: tuple[LoadSample, ...]
    cold_reason: str | None = None
    """Why there are no cold starts."""


class RequestSample(_Part):
    """One prompt answered alone. Seconds since the request was scheduled."""

    prompt_tokens: int
    tokenised_s: float
    token_s: tuple[float, ...]
    """When each output token was visible."""
    finish: Literal["stop", "length"]


class MemorySample(_Part):
    """Memory of one process that loaded the model and answered, in bytes."""

    peak_rss: int
    anonymous: int | None
    file_backed: int | None
    pss: int | None
    python_only: int
    """Peak RSS of the same process before the model was loaded."""


class Environment(_Part):
    """The machine and the software, as far as they move the figures."""

    cpu: str
    architecture: str
    features: str
    """As llama.cpp reports them."""
    virtual: bool | None = None
    """Whether this is a virtual machine, whose host may keep dropped pages in its own memory."""
    logical_cpus: int
    usable_cpus: int
    cgroup_cpus: float | None
    governor: str | None
    memory_bytes: int | None
    load_average: float | None
    """One-minute load when the benchmark began."""
    system: str
    versions: dict[str, str]


class Subject(_Part):
    """What was measured."""

    name: str
    path: str
    """Name of the file that the runtime opens, without the folders of this machine: reports are given to others."""
    sha256: str
    """Of that file."""
    size_bytes: int
    precision: str | None

    @field_validator("path")
    @classmethod
    def _without_folders(cls, path: str) -> str:
        return Path(path).name


class Settings(_Part):
    """How it was measured."""

    runtime: str
    threads: int
    prompts: int
    """Those there were, at most as many as wanted."""
    prompts_wanted: int | None = None
    prompt_source: str
    new_tokens: int
    starts: int
    seed: int = 0


class Figure(_Part):
    """One metric with its definition; never one without the other."""

    name: str
    unit: str
    definition: str
    median: float | None
    mad: float | None = None
    interval: tuple[float, float] | None = None
    """95 % interval of the median."""
    samples: int
    percentiles: dict[str, float | None] = {}
    reasons: dict[str, str] = {}
    """Why a figure is null: percentile or ``median`` → reason."""


class BenchReport(_Part):
    """A whole benchmark of one artifact."""

    kind: Literal["edgetune-bench"] = "edgetune-bench"
    schema_version: Literal[1] = 1
    created: str
    """UTC, ISO 8601."""
    scenario: Literal["single stream"] = "single stream"
    """Closed loop: the next request is scheduled when the last answer has ended."""
    subject: Subject
    settings: Settings
    environment: Environment
    loads: Loads
    requests: tuple[RequestSample, ...]
    memory: MemorySample
    figures: tuple[Figure, ...]
    """Derived from the samples above."""
    warnings: tuple[str, ...]

    def figure(self, name: str) -> Figure:
        """The figure of that name."""
        return next(figure for figure in self.figures if figure.name == name)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """A stored report; None where there is none, or it is damaged or of another version: it can be made again."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValidationError):
            return None

    def write(self, path: Path) -> None:
        """Store the report as JSON, whole or not at all."""
        files.write_text(path, self.model_dump_json(indent=2) + "\n")
