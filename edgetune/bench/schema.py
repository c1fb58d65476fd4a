"""The benchmark report: raw samples and environment, in a versioned JSON. Figures are derived in ``summary``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, field_validator

from edgetune import files
from edgetune.bench.objective import Verdict
from edgetune.bench.realtime_section import FrameSection, RealtimeSection
from edgetune.bench.samples import (
    AxisSample,
    BatchSample,
    DepthSample,
    EnergySample,
    Loads,
    LoadSample,
    MemorySample,
    Part,
    RawSample,
    RequestSample,
    Sustained,
)
from edgetune.stored import json_schema

__all__ = ["BenchReport", "Environment", "Figure", "LoadSample", "Loads", "MemorySample", "RequestSample", "Settings"]


class Environment(Part):
    """The machine and the software, as far as they move the figures."""

    cpu: str
    architecture: str
    cpu_features: tuple[str, ...] = ()
    """Instruction sets that the kernel reports."""
    features: str
    """What the runtime itself says it uses of the processor."""
    virtual: bool | None = None
    """Whether this is a virtual machine, whose host may keep dropped pages in its own memory."""
    logical_cpus: int
    usable_cpus: int
    cgroup_cpus: float | None
    cgroup_memory_bytes: int | None = None
    governor: str | None
    memory_bytes: int | None
    load_average: float | None
    """One-minute load when the benchmark began."""
    steal_share: float | None = None
    """Share of the CPUs' time that the host of a virtual machine gave to others while it was measured."""
    others_share: float | None = None
    """Share of the CPUs' time that other processes of this machine used while it was measured."""
    yardstick: tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...] = ()
    """GB/s at which plain memory was copied before and after each round: how fast the machine itself was."""
    system: str
    versions: dict[str, str]


Turns = Literal["prompts", "rounds"]


class Subject(Part):
    """What was measured."""

    name: str
    path: str
    """Name of the file that the runtime opens, without the folders of this machine: reports are given to others."""
    sha256: str
    """Of that file; of a trained model in torch: of its adapter or weights."""
    files: dict[str, str] = Field(default_factory=dict)
    """Hash of every file that runs, those of the base beneath an adapter included."""
    size_bytes: int
    """Of all files together."""
    precision: str | None

    @field_validator("path")
    @classmethod
    def _without_folders(cls, path: str) -> str:
        return Path(path).name


class Settings(Part):
    """How it was measured."""

    runtime: str
    threads: int
    """For single tokens."""
    prefill_threads: int | None = None
    """For prompts; null: the runtime has one number of threads for both."""
    kv_type: str | None = None
    """Of the key-value cache; null: the artifact says."""
    batch: int | None = None
    """Most tokens of a prompt computed in one go; null: the runtime decides."""
    context: int | None = None
    """Tokens that the runtime was opened for."""
    prompts: int
    """Those there were, at most as many as wanted."""
    prompts_wanted: int | None = None
    prompt_source: str
    prompts_sha256: str | None = None
    input: Literal["prompt", "text", "image"] = "prompt"
    """What is given to the model: a prompt is answered, a text or an image classified."""
    new_tokens: int
    """Longest answer; 0: nothing is written."""
    rounds: int = 1
    """Fresh processes that answered all prompts."""
    starts: int
    """Fresh processes of cold starts."""
    depths: tuple[int, ...] = ()
    depth_prefill: int = 0
    """Tokens computed at each depth for the prefill rate."""
    depth_decode: int = 0
    """Tokens computed one by one at each depth for the decode rate."""
    axis_depth: int = 0
    """Depth at which settings are varied."""
    memory_budget_mb: float | None = None
    session: str | None = None
    """Reports of one session were measured in turns: their rounds pair up."""
    turns: Turns | None = None
    """What of a session takes turns: single prompts, all processes of a round being open, or whole rounds where memory
    does not hold them all. Null: it was measured alone, or the report does not say."""
    seed: int = 0

    @property
    def classifies(self) -> bool:
        """Whether the model tells a class instead of writing."""
        return self.new_tokens == 0


class Figure(Part):
    """One metric with its definition; never one without the other."""

    name: str
    """Metric, and where something was varied ``metric@axis=value``."""
    unit: str
    definition: str
    better: Literal["lower", "higher"] = "lower"
    median: float | None
    mad: float | None = None
    interval: tuple[float, float] | None = None
    """Interval of the median: whole rounds are drawn again, 2.5th to 97.5th percentile. From 6 rounds on of 95 %; of
    fewer it holds the median with a chance of at most 1 - 2 · ½ⁿ: 75 % of 3 rounds, 94 % of 5."""
    samples: int
    rounds: tuple[float, ...] = ()
    """Median of each round, which is what runs are compared by."""
    percentiles: dict[str, float | None] = Field(default_factory=dict)
    reasons: dict[str, str] = Field(default_factory=dict)
    """Why a figure is null: percentile, ``interval`` or ``median`` → reason."""

    @property
    def metric(self) -> str:
        """The name without what was varied."""
        return self.name.partition("@")[0]

    @property
    def place(self) -> tuple[str, str] | None:
        """What was varied, and its value: ``("depth", "512")``."""
        axis, found, value = self.name.partition("@")[2].partition("=")
        return (axis, value) if found else None


class BenchReport(Part):
    """A whole benchmark of one artifact."""

    kind: Literal["edgetune-bench"] = "edgetune-bench"
    schema_version: Literal[2] = 2
    created: str
    """UTC, ISO 8601."""
    seconds: float | None = None
    """How long it took, from the first start to the last: of all artifacts of the session together, without requests
    against a clock. null: an older report, which does not say."""
    scenario: Literal["single stream"] = "single stream"
    """Closed loop: the next request is scheduled when the last answer has ended."""
    subject: Subject
    settings: Settings
    environment: Environment
    loads: Loads
    requests: tuple[RequestSample, ...]
    raw: tuple[RawSample, ...] = ()
    raw_reason: str | None = None
    """Why nothing is measured in the runtime's own loop."""
    depths: tuple[DepthSample, ...] = ()
    axes: tuple[AxisSample, ...] = ()
    batches: tuple[BatchSample, ...] = ()
    """Of a classifier."""
    memory: tuple[MemorySample, ...]
    energy: tuple[EnergySample, ...] = ()
    sustained: Sustained | None = None
    figures: tuple[Figure, ...]
    """Derived from the samples above."""
    warnings: tuple[str, ...]
    realtime: RealtimeSection | None = None
    """Requests against a clock, where a target or an SLO asked for it."""
    frames: FrameSection | None = None
    """Frames of a camera, where a target or a rate asked for them."""
    target: str | None = None
    """What the verdicts hold it to: a target's name, a file's, or both."""
    verdicts: tuple[Verdict, ...] = ()

    def figure(self, name: str) -> Figure:
        """The figure of that name.

        Raises:
            KeyError: there is none.
        """
        found = self.find(name)
        if found is None:
            raise KeyError(name)
        return found

    def find(self, name: str) -> Figure | None:
        """The figure of that name, or None."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def curve(self, metric: str, axis: str) -> list[tuple[str, Figure]]:
        """Value of what was varied → figure, in the order measured: ``curve("decode", "depth")``."""
        found = [(figure.place, figure) for figure in self.figures if figure.metric == metric]
        return [(place[1], figure) for place, figure in found if place and place[0] == axis]

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


def bench_schema() -> dict[str, Any]:
    """The JSON Schema of a stored report, as plain values."""
    return json_schema(BenchReport, "bench report")
