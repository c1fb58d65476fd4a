"""What a measured process reports: raw samples, nothing derived. Seconds are of one clock, bytes are bytes."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

#: What can be varied on purpose, one at a time.
Axis = Literal["prefill_threads", "decode_threads", "kv_type", "batch", "context"]


class Part(BaseModel):
    """A part of a report: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoadSample(Part):
    """One start of one fresh process. Seconds since that process was started."""

    round: int = 0
    ready_s: float
    first_token_s: float
    first_request_s: float | None = None
    """Of the first answer: first output token visible - request scheduled."""
    storage_bytes: int | None = None
    """Read from storage by then, as the kernel counts it: evidence that a cold start was cold."""


class Loads(Part):
    """Starts with the files in the page cache (warm) and without (cold)."""

    warm: tuple[LoadSample, ...]
    cold: tuple[LoadSample, ...]
    cold_reason: str | None = None
    """Why there are no cold starts."""


class RequestSample(Part):
    """One prompt answered, or one input classified, alone. Seconds since the request was scheduled."""

    round: int = 0
    prompt: int = 0
    """Which of the prompts."""
    prompt_tokens: int
    """0: of an image."""
    tokenised_s: float
    """When the prompt was tokens; of an image: when it was read and resized."""
    token_s: tuple[float, ...]
    """When each output token was visible, as text or as a part of a character that is not whole yet; of a classifier:
    when the class was known."""
    finish: Literal["stop", "length"]


class RawSample(Part):
    """The same tokens through the runtime's own lowest-level loop; of a classifier the same input through its graph."""

    round: int
    prompt: int
    prompt_tokens: int
    prefill_s: float
    step_s: tuple[float, ...]
    """Of each token after the first."""


class BatchSample(Part):
    """Inputs given to a classifier at once, with a setting varied where ``axis`` says so."""

    round: int
    inputs: int
    done_s: float
    """From when they were given until all their classes were known."""
    raw_s: float | None
    """The same, prepared already, through the runtime alone."""
    axis: Literal["threads", "batch"] | None = None
    value: int | None = None
    peak_rss: int | None = None
    """Of the process so far, in bytes."""


class DepthSample(Part):
    """Prefill and decode after so many tokens, in the runtime's own loop."""

    round: int
    depth: int
    prefill_tokens: int
    prefill_s: float
    step_s: tuple[float, ...]


class AxisSample(DepthSample):
    """The same with one setting varied, in a process of its own."""

    axis: Axis
    value: int | str
    peak_rss: int
    kv: int | None


class MemorySample(Part):
    """Memory of one process that loaded the model and answered, in bytes."""

    round: int = 0
    peak_rss: int
    anonymous: int | None
    file_backed: int | None
    pss: int | None
    python_only: int
    """Peak RSS of the same process before the model was loaded."""
    programs: int | None = None
    """Of ``file_backed``, the interpreter and all libraries; null: not known."""
    weights: int | None = None
    kv: int | None = None
    compute: int | None = None
    reasons: dict[str, str] = {}
    """weights, kv or compute → why it is null, or what it is instead of a count."""


class EnergySample(Part):
    """Energy of the processor packages while all prompts were answered once."""

    round: int
    joules: float | None
    tokens: int
    reason: str | None = None


class Sustained(Part):
    """Decoding without a pause."""

    minutes: float
    tokens: tuple[int, ...]
    """Tokens decoded in each second."""
    joules: float | None
    reason: str | None = None
    """Why the energy is null."""


class Told(Part):
    """What a runtime says of itself."""

    features: str
    context: int
    threads: int | None
    prefill_threads: int | None
    batch: int | None
