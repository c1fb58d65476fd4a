"""What comes out: artifacts, what they must reach, and how they are timed."""

from __future__ import annotations

from pydantic import Field

from edgetune.recipe.section import MAY_BE_PATH, Positive, Section


class ExportSettings(Section):
    """One exporter and what it shall write."""

    format: str = "gguf"
    """Exporter: one of those that `edgetune doctor` lists. Classifiers are exported as onnx."""
    quant: tuple[str, ...] = ()
    """Precisions, one artifact each; default: eight bits, as the format calls them (`q8_0`, `int8`)."""
    imatrix: bool = False
    """gguf: weigh rounding errors by how strongly the trained model uses each input (llama.cpp's imatrix). For
    precisions that cannot do without (`mixed-92mb`; of onnx `int4_gptq`) it is collected unasked."""


class VerifySettings(Section):
    """What an artifact must reach to count as the trained model. Limits left out depend on the precision."""

    rows: Positive = 64
    """Held-out rows on which next-token distributions and prompts are compared, chosen by seed."""
    max_kl: float | None = Field(default=None, ge=0)
    """Largest mean KL divergence from the trained model, in nats a position."""
    min_top1: float | None = Field(default=None, ge=0, le=1)
    """Smallest share of positions at which the likeliest token is the trained model's, of those where that has a clear
    favourite (half a nat or more ahead)."""
    min_retention: float | None = Field(default=None, ge=0)
    """Smallest share of the task metric's gain over the base that the artifact keeps."""


class BenchSettings(Section):
    """How artifacts are timed."""

    prompts: Positive = 13
    """Held-out prompts to time."""
    threads: Positive | None = None
    """Threads of the runtime; default: the physical cores this process may use."""
    target: str | None = Field(default=None, json_schema_extra=MAY_BE_PATH)
    """Hold artifacts to this target's objectives: a name that `edgetune targets list` shows, or a YAML file."""
    slo: str | None = Field(default=None, json_schema_extra=MAY_BE_PATH)
    """Hold artifacts to the objectives in this YAML file, besides those of the target."""
    seconds: float = Field(default=180.0, gt=0)
    """With a target or an SLO: of requests or frames against a clock, for each artifact."""
    required: bool = True
    """Whether a run in which no artifact meets all of it ends with an exit code; the verdicts are the same."""
