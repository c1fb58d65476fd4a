"""What the trainer's callbacks look after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetune.training.stopping import Stop
from edgetune.training.trainer import Parts


@dataclass(frozen=True)
class Watch:
    """Shared by the callbacks.

    Attributes:
        parts: shared with the trainer.
        stop: set by signals.
        metrics: the run's metrics.jsonl; None in processes that write nothing.
        patience: evaluations without a better loss before training ends; None: never.
        save_every: steps between checkpoints.
    """

    parts: Parts
    stop: Stop
    metrics: Path | None
    patience: int | None
    save_every: int
