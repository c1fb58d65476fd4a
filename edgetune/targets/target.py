"""A target: one YAML file that says where a model must run, how it is asked, and what it must keep to."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from edgetune.bench.objective import Objective
from edgetune.stored import json_schema

#: The published schema, beside this module in every installation.
SCHEMA_FILE = Path(__file__).with_name("target.schema.json")


class Target(BaseModel):
    """A named place to run, with objectives."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=64)
    """Lower-case letters, digits, dot, dash, underscore; the file is called NAME.yaml."""
    description: str
    """One line for people."""
    kind: Literal["host", "realtime", "mobile"]
    """host: this machine. realtime: this machine, held to deadlines. mobile: a device, never judged by this machine."""
    device: str | None = None
    """mobile: name of the device, as `edgetune.devices` knows it."""
    transport: Literal["host", "adb", "ssh", "none"] = "host"
    """How it is measured; none: it cannot be from here; `edgetune device project` projects decode speed."""
    threads: int | None = Field(default=None, ge=1)
    """Of the runtime; default: the physical cores this process may use."""
    memory_budget_mb: float | None = Field(default=None, gt=0)
    """What the process may hold at most: an objective on peak_rss."""
    context: int | None = Field(default=None, ge=1)
    """Tokens of context that must fit."""
    prompt_tokens: int | None = Field(default=None, ge=1)
    """mobile: length of the prompt that ttft_bound is about."""
    scenario: Literal["single stream", "open loop", "frames"] = "single stream"
    """single stream: one request after another. open loop: requests at random times, whether or not the last one is
    answered. frames: at a fixed rate to what classifies; one that a newer one overtakes while it waits is dropped."""
    rate: float | None = Field(default=None, gt=0)
    """open loop: requests a second that must be carried. frames: frames a second."""
    new_tokens: int | None = Field(default=None, ge=2)
    """Longest answer, in tokens."""
    objectives: tuple[Objective, ...] = ()
    """What must be kept."""
    sources: dict[str, str] = {}
    """Where each number comes from: key or metric → source."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.kind == "mobile" and self.transport == "host":
            raise ValueError("a mobile target needs transport: adb, ssh or none")
        if self.kind != "mobile" and (self.device is not None or self.transport != "host"):
            raise ValueError(f"device and transport are for kind mobile, not {self.kind}")
        if any(one.metric == "ttft_bound" for one in self.objectives) and self.prompt_tokens is None:
            raise ValueError("an objective on ttft_bound needs prompt_tokens: the length of the prompt it is about")
        if self.scenario == "frames" and self.rate is None:
            raise ValueError("the scenario frames needs a rate, in frames a second")
        if self.scenario == "open loop" and self.rate is None:
            raise ValueError(
                "the scenario 'open loop' needs a rate, in requests a second: without both, one request after another "
                "is judged, and the highest rate is looked for"
            )
        if self.scenario == "single stream" and self.rate is not None:
            raise ValueError("a rate needs the scenario 'open loop' or 'frames'")
        return self

    @property
    def held_to(self) -> tuple[Objective, ...]:
        """The objectives, and the memory budget as one of them."""
        if self.memory_budget_mb is None or any(one.metric == "peak_rss" for one in self.objectives):
            return self.objectives
        budget = Objective(metric="peak_rss", at_most=self.memory_budget_mb, unit="MB")
        return (*self.objectives, budget)


def target_schema() -> dict[str, Any]:
    """The JSON Schema of targets, as plain values."""
    return json_schema(Target, "target")
