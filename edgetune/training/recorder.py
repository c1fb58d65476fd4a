"""The lines of metrics.jsonl while training."""

# ruff: noqa: ARG002  # transformers gives every callback the same arguments
from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from edgetune.energy import EnergyMeter
from edgetune.errors import TrainingError
from edgetune.training import metrics_file
from edgetune.training.memory import peak_memory
from edgetune.training.trainer import Parts, worked
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
            self.before: Mapping[str, Any] | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if self.watch.metrics:
                metrics_file.cut_after(self.watch.metrics, state.global_step)
                self.before = next(reversed(metrics_file.read(self.watch.metrics)), None)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            logs: Mapping[str, float] = kwargs["logs"]
            figures = _figures(self.watch.parts, args.device.type, self.energy)  # asks all processes
            if self.watch.metrics is None or not logs.keys() & {"loss", "eval_loss"}:
                return
            _require_finite(logs, state.global_step)
            event = "evaluation" if "eval_loss" in logs else "step"
            metrics_file.append(self.watch.metrics, event, state.global_step, {**logs, **_of_all(self.before, figures)})

    return Recorder


def _of_all(before: Mapping[str, Any] | None, figures: Mapping[str, Any]) -> dict[str, Any]:
    """The same with energy and peaks of the sessions before this one; energy that one of them did not have is unknown.

    Args:
        before: the last line that they wrote; None: this is the first.
        figures: of this session.
    """
    if before is None:
        return dict(figures)
    energies = before.get("energy_j"), figures["energy_j"]
    peaks = {name: max(before.get(name, 0), figures[name]) for name in metrics_file.PEAKS if name in figures}
    return {**figures, **peaks, "energy_j": None if None in energies else sum(energies)}


def _figures(parts: Parts, device: str, energy: EnergyMeter) -> dict[str, Any]:
    """Work and speed of all processes and sessions; peak memory and energy of this one."""
    work = worked(parts)
    seconds = max(work.seconds, 1e-9)
    return {
        "elapsed_s": round(parts.clock.elapsed, 3),
        "trained_s": round(work.seconds, 3),
        "tokens": work.tokens,
        "computed_tokens": work.computed,
        "rows": work.rows,
        "tokens_per_s": round(work.tokens / seconds, 2),
        "computed_tokens_per_s": round(work.computed / seconds, 2),
        "rows_per_s": round(work.rows / seconds, 3),
        "energy_j": energy.joules(),
        **peak_memory(device),
    }


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
