"""The lines of metrics.jsonl while training."""

# ruff: noqa: ARG002  # transformers gives every callback the same arguments
from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from edgetune.errors import TrainingError
from edgetune.training import metrics_file
from edgetune.training.energy import EnergyMeter
from edgetune.training.memory import peak_memory
from edgetune.training.processes import reduced
from edgetune.training.watch import Watch

if TYPE_CHECKING:
    from transformers import TrainerCallback


def make_recorder(watch: Watch) -> TrainerCallback:
    """A callback that writes losses, rate, speed, memory and energy at each log step."""
    recorder: TrainerCallback = _recorder_class()(watch)
    return recorder


@cache
def _recorder_class() -> Any:
    from transformers import TrainerCallback

    class Recorder(TrainerCallback):
        """See :func:`make_recorder`."""

        def __init__(self, watch: Watch) -> None:
            self.watch = watch
            self.energy = EnergyMeter()
            self.session_start = 0.0

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.session_start = self.watch.parts.clock.elapsed
            if self.watch.metrics:
                metrics_file.cut_after(self.watch.metrics, state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs: Mapping[str, float] = kwargs["logs"]
            figures = self.figures(args.device.type)  # asks all processes
            if self.watch.metrics is None or not logs.keys() & {"loss", "eval_loss"}:
                return
            _require_finite(logs, state.global_step)
            event = "evaluation" if "eval_loss" in logs else "step"
            metrics_file.append(self.watch.metrics, event, state.global_step, {**logs, **figures})

        def figures(self, device: str) -> dict[str, Any]:
            """Speed over this session, over all processes; peak memory and energy of this one."""
            counters, clock = self.watch.parts.counters, self.watch.parts.clock
            seconds = max(clock.elapsed - self.session_start, 1e-9)
            tokens, computed, rows = reduced([counters.tokens, counters.computed, counters.rows], "sum")
            return {
                "elapsed_s": round(clock.elapsed, 3),
                "tokens": int(tokens),
                "tokens_per_s": round(tokens / seconds, 2),
                "computed_tokens_per_s": round(computed / seconds, 2),
                "rows_per_s": round(rows / seconds, 3),
                "energy_j": self.energy.joules(),
                **peak_memory(device),
            }

    return Recorder


def _require_finite(logs: Mapping[str, float], step: int) -> None:
    """Refuse NaN and infinity, which a gradient can reach one step before the loss does.

    Raises:
        TrainingError: naming the value.
    """
    for name, value in logs.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"{name} is {value} at step {step}; nothing was saved after the last checkpoint",
                hint="lower the learning rate: --learning-rate, or look at the rows with edgetune data check",
            )
