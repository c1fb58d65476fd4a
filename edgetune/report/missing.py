"""What evidence there is not, and the command that would make it."""

from __future__ import annotations

from collections.abc import Iterator

from edgetune.report.evidence import Evidence, Shipped
from edgetune.report.record import Missing


def missing(evidence: Evidence) -> tuple[Missing, ...]:
    """In the order of the report. In commands RUN stands for the run's folder."""
    if evidence.manifest.state != "trained":
        return (Missing(what="the training has not ended", command="edgetune train --resume RUN"),)
    found = [] if evidence.base else [Missing(what="the untuned base is not evaluated", command="edgetune eval RUN")]
    if not evidence.tuned:
        found.append(Missing(what="the tuned model is not evaluated", command="edgetune eval RUN --no-base"))
    if not evidence.shipped:
        found.append(Missing(what="nothing is exported", command="edgetune export RUN --format gguf --quant q8_0"))
    if len(evidence.shipped) == 1:
        command = "edgetune export RUN --format gguf --quant q4_k_m"
        found.append(Missing(what="there is no second precision to choose from", command=command))
    return (*found, *(one for shipped in evidence.shipped for one in _of(shipped)))


def _of(shipped: Shipped) -> Iterator[Missing]:
    """What one artifact lacks."""
    path = f"RUN/exports/{shipped.label}"
    if not shipped.evaluation:
        yield Missing(what=f"{shipped.label} is not evaluated", command=f"edgetune eval {path}")
    if not shipped.verification:
        yield Missing(what=f"{shipped.label} is not verified", command=f"edgetune verify {path}")
    if not shipped.bench:
        command = f"edgetune bench {path} --output RUN/bench/{shipped.manifest.name}.json"
        yield Missing(what=f"{shipped.label} is not benchmarked", command=command)
