"""The progress bar of a training."""

# ruff: noqa: ARG002  # transformers gives every callback the same arguments
from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from edgetune import console
from edgetune.training.trainer import Parts

if TYPE_CHECKING:
    from transformers import TrainerCallback


def make_bar(parts: Parts, bar: console.Bar) -> TrainerCallback:
    """A callback that moves ``bar``. Time left is judged by steps or by the clock, whichever ends first."""
    made: TrainerCallback = _bar_class()(parts, bar)
    return made


@cache
def _bar_class() -> Any:
    from transformers import TrainerCallback

    class Bar(TrainerCallback):
        """See :func:`make_bar`."""

        def __init__(self, parts: Parts, bar: console.Bar) -> None:
            self.parts = parts
            self.bar = bar
            self.loss: float | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.bar.update(state.global_step, total=state.max_steps)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.loss = kwargs["logs"].get("loss", self.loss)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            share = max(state.global_step / state.max_steps, self.parts.clock.share)
            shown = [f"loss {self.loss:.3f}"] if self.loss is not None else []
            shown += [f"evaluation {self.parts.best_loss:.3f}"] if self.parts.best_loss is not None else []
            description = "Training: " + ", ".join(shown) if shown else "Training"
            self.bar.update(state.global_step, description, total=state.global_step / min(share, 1.0))

    return Bar
