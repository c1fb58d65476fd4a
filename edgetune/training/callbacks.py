"""What happens beside the optimisation: records, the bar, limits, Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console
from edgetune.training import metrics_file
from edgetune.training.energy import EnergyMeter
from edgetune.training.memory import peak_memory
from edgetune.training.trainer import Parts

if TYPE_CHECKING:
    from transformers import TrainerCallback


@dataclass
class Stop:
    """A wish to stop after the step under way.

    Attributes:
        signal: name of the signal that asked, or None.
    """

    signal: str | None = None
    _former: dict[int, Any] = field(default_factory=dict)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Let the first SIGINT or SIGTERM end the step; a second one ends the process."""

        def ask(number: int, _frame: Any) -> None:
            if self.signal is not None:
                raise KeyboardInterrupt
            self.signal = signal.Signals(number).name
            console.note("stopping: finishing this step and saving; press Ctrl-C again to stop at once")

        numbers = (signal.SIGINT, signal.SIGTERM)
        former = {number: signal.signal(number, ask) for number in numbers}
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, former[number])


@dataclass(frozen=True)
class Watch:
    """What the callbacks look after.

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


def callbacks(watch: Watch) -> list[TrainerCallback]:
    """The callbacks for a trainer, in order."""
    keeper, recorder, bar = _classes()
    made = [keeper(watch), recorder(watch)]
    return made + [bar(watch)] if watch.metrics else made


@cache
def _classes() -> tuple[Any, Any, Any]:
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState

    class Keeper(TrainerCallback, ExportableState):
        """Decides when to save and when to stop. Its state lies in every checkpoint."""

        def __init__(self, watch: Watch) -> None:
            self.watch = watch
            self.worse = 0

        def state(self) -> dict[str, Any]:
            parts = self.watch.parts
            kept = {"best_loss": parts.best_loss, "best_step": parts.best_step, "worse": self.worse}
            return {"args": {}, "attributes": kept | {"elapsed": parts.clock.elapsed}}

        def restore(self, attributes: Mapping[str, Any]) -> None:
            parts = self.watch.parts
            parts.best_loss, parts.best_step = attributes["best_loss"], attributes["best_step"]
            parts.clock.spent = attributes["elapsed"]
            self.worse = attributes["worse"]

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            saved = state.stateful_callbacks.get("Keeper")
            if isinstance(saved, dict) and state.global_step:
                self.restore(saved["attributes"])
            self.watch.parts.clock.start(self.watch.parts.clock.spent)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_save |= state.global_step % self.watch.save_every == 0
            if self.watch.parts.clock.share >= 1:
                control.should_evaluate = control.should_training_stop = True
            if any_process(self.watch.stop.signal is not None):
                control.should_save = control.should_training_stop = True
            if state.global_step >= state.max_steps:
                control.should_evaluate = control.should_save = True

        def on_evaluate(self, args: Any, state: Any, control: Any, metrics: Mapping[str, float], **_: Any) -> None:
            parts = self.watch.parts
            loss = metrics["eval_loss"]
            if parts.best_loss is None or loss < parts.best_loss:
                parts.best_loss, parts.best_step, self.worse = loss, state.global_step, 0
                control.should_save = True
            else:
                self.worse += 1
            if self.watch.patience is not None and self.worse >= self.watch.patience:
                control.should_training_stop = True

    class Recorder(TrainerCallback):
        """Writes metrics.jsonl: losses, rate, speed, memory and energy at each log step."""

        def __init__(self, watch: Watch) -> None:
            self.watch = watch
            self.energy = EnergyMeter()
            self.session_start: float | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.session_start = self.watch.parts.clock.elapsed
            if self.watch.metrics:
                metrics_file.cut_after(self.watch.metrics, state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
            figures = self.figures(args.device.type)
            if self.watch.metrics is None or not logs.keys() & {"loss", "eval_loss"}:
                return
            event = "evaluation" if "eval_loss" in logs else "step"
            metrics_file.append(self.watch.metrics, event, state.global_step, {**logs, **figures})

        def figures(self, device: str) -> dict[str, Any]:
            """Speed over this session, over all processes; peak memory and energy of this one."""
            counters, clock = self.watch.parts.counters, self.watch.parts.clock
            seconds = max(clock.elapsed - (self.session_start or 0.0), 1e-9)
            tokens, computed, rows = sum_processes([counters.tokens, counters.computed, counters.rows])
            return {
                "elapsed_s": round(clock.elapsed, 3),
                "tokens": int(tokens),
                "tokens_per_s": round(tokens / seconds, 2),
                "computed_tokens_per_s": round(computed / seconds, 2),
                "rows_per_s": round(rows / seconds, 3),
                "energy_j": self.energy.joules(),
                **peak_memory(device),
            }

    class Bar(TrainerCallback):
        """The progress bar. Time left is judged by steps or by the clock, whichever ends first."""

        def __init__(self, watch: Watch) -> None:
            self.watch = watch
            self.loss = float("nan")

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._context = console.progress("Training", total=state.max_steps, unit="steps")
            self.bar = self._context.__enter__()
            self.bar.update(state.global_step)

        def on_log(self, args: Any, state: Any, control: Any, logs: Mapping[str, float], **_: Any) -> None:
            self.loss = logs.get("loss", self.loss)

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            share = max(state.global_step / state.max_steps, self.watch.parts.clock.share)
            best = self.watch.parts.best_loss
            held = f", held-out {best:.3f}" if best is not None else ""
            self.bar.update(state.global_step, f"Training: loss {self.loss:.3f}{held}", total=state.global_step / share)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self._context.__exit__(None, None, None)

    return Keeper, Recorder, Bar


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process; all must ask at the same time."""
    return sum_processes([float(flag)])[0] > 0


def sum_processes(values: list[float]) -> list[float]:
    """Sum each value over the processes of a distributed run."""
    import torch
    from torch import distributed

    if not (distributed.is_available() and distributed.is_initialized()):
        return values
    device = "cuda" if distributed.get_backend() == "nccl" else "cpu"
    tensor = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(tensor)
    summed: list[float] = tensor.tolist()
    return summed
