"""A climb as stored in a run."""

from __future__ import annotations

from typing import Literal

from edgetune.stored import Stored

#: The file in a run.
FILE = "ladder.json"
#: ships: chosen; the others say why not; not written: it cannot be of this model, or what its rounding needs could not
#: be collected; not tried: a smaller one shipped, or one of the same tensors did not.
Verdict = Literal[
    "ships", "too large", "not written", "not verified", "too little left", "task not judged", "too slow", "not tried"
]


class Limits(Stored):
    """What the artifact must keep to."""

    max_bytes: int | None = None
    """Of all its files."""
    min_decode: float | None = None
    """Tokens a second on this machine: median over requests of 1 / itl_mean."""
    min_retention: float = 0.97
    """Share of the task metric's gain over the base that is left."""
    rows: int = 200
    """At most so many held-out rows are answered for it."""


class Rung(Stored):
    """One precision."""

    name: str
    """``q4_k_m-imatrix``, as its folder is called."""
    size_bytes: int | None
    """Predicted, or of the files where they were written; None: it cannot be written at all."""
    written: bool = False
    verdict: Verdict
    why: str
    """The verdict with its figures."""
    kl: float | None = None
    """Mean KL from the trained model, nats a position."""
    retention: float | None = None
    retention_interval: tuple[float, float] | None = None
    decode: float | None = None


class Ladder(Stored):
    """Every rung from the smallest up."""

    kind: Literal["edgetune-ladder"] = "edgetune-ladder"
    schema_version: Literal[1] = 1
    run: str
    format: str
    limits: Limits
    rungs: tuple[Rung, ...]
    chosen: str | None
    """Folder of the artifact; None: nothing keeps to the limits."""
    created: str
    """UTC, ISO 8601."""
    edgetune: str
