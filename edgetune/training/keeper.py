"""When to save and when to stop."""

# ruff: noqa: ARG002  # transformers gives every callback the same arguments
from __future__ import annotations

from dataclasses import asdict
from functools import cache
from typing import TYPE_CHECKING, Any

from edgetune.training.processes import any_process, reduced
from edgetune.training.schedule import Clock
from edgetune.training.trainer import Counters, Parts, Work
from edgetune.training.watch import Watch

if TYPE_CHECKING:
    from transformers import TrainerCallback


def make_keeper(watch: Watch) -> TrainerCallback:
    """A callback that decides when to save and when to stop. Its state lies in every checkpoint."""
    keeper: TrainerCallback = _keeper_class()(watch)
    return keeper


def ended(state: Any, watch: Watch) -> bool:
    """Whether a checkpoint's training had come to its end, so that nothing is left but to store the result.

    Also takes over what the checkpoint knows: the best step, and the time spent.

    Args:
        state: transformers' TrainerState as stored in the checkpoint.
        watch: for the limits.
    """
    saved = state.stateful_callbacks["Keeper"]["attributes"]
    _restore(watch, state)
    patience, clock = watch.patience, watch.parts.clock
    late = clock.limit is not None and clock.spent >= clock.limit
    impatient = patience is not None and saved["worse"] >= patience
    evaluated = saved["evaluated_step"] == state.global_step
    return bool(evaluated and (state.global_step >= state.max_steps or late or impatient))


def best_step(state: Any) -> int | None:
    """The best step that a checkpoint knows of."""
    found: int | None = state.stateful_callbacks["Keeper"]["attributes"]["best_step"]
    return found


def _restore(watch: Watch, state: Any) -> None:
    saved = state.stateful_callbacks["Keeper"]["attributes"]
    parts, work = watch.parts, Work(**saved.get("work", {}))
    parts.best_loss, parts.best_step = _own(state) if parts.best_lost else (saved["best_loss"], saved["best_step"])
    parts.clock.start(saved["elapsed"], idle=saved["elapsed"] - work.seconds)
    if watch.metrics is not None:  # one process takes it over, as the work of all is summed
        parts.counters = Counters(work.tokens, work.computed, work.rows)


def _own(state: Any) -> tuple[float, int] | tuple[None, None]:
    """Loss and step of a checkpoint, where it was evaluated itself: it is the best that is known to be whole."""
    step = state.global_step
    losses = [entry["eval_loss"] for entry in state.log_history if entry["step"] == step and "eval_loss" in entry]
    return (losses[-1], step) if losses else (None, None)


@cache
def _keeper_class() -> Any:
    from transformers import TrainerCallback
    from transformers.trainer_callback import ExportableState

    class Keeper(TrainerCallback, ExportableState):
        """See :func:`make_keeper`."""

        def __init__(self, watch: Watch) -> None:
            self.watch = watch
            self.worse = 0
            self.evaluated_step: int | None = None

        def state(self) -> dict[str, Any]:
            own = {"worse": self.worse, "evaluated_step": self.evaluated_step}
            return {"args": {}, "attributes": own | _kept(self.watch.parts)}

        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            saved = state.stateful_callbacks.get("Keeper")
            if isinstance(saved, dict) and state.global_step:
                attributes = saved["attributes"]
                self.worse, self.evaluated_step = attributes["worse"], attributes["evaluated_step"]
                _restore(self.watch, state)
            else:
                self.watch.parts.clock.start()

        def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _tick(self.watch.parts.clock)

        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            _decide(self.watch, state, control)

        def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.evaluated_step = state.global_step
            better = _note_best(self.watch.parts, kwargs["metrics"]["eval_loss"], state.global_step)
            self.worse = 0 if better else self.worse + 1
            control.should_save |= better
            if self.watch.patience is not None and self.worse >= self.watch.patience:
                control.should_training_stop = True

    return Keeper


def _kept(parts: Parts) -> dict[str, Any]:
    """What a checkpoint keeps of the parts; :func:`_restore` takes it over."""
    best = {"best_loss": parts.best_loss, "best_step": parts.best_step}
    return best | {"elapsed": parts.clock.elapsed, "work": asdict(parts.saved)}


def _tick(clock: Clock) -> None:
    """The learning rate and the end follow this time, so it must be one for all processes."""
    if clock.limit is not None:
        clock.tick(reduced([clock.elapsed], "max")[0])


def _decide(watch: Watch, state: Any, control: Any) -> None:
    """After a step: whether to evaluate, to save, to stop."""
    control.should_save |= state.global_step % watch.save_every == 0
    if watch.parts.clock.share >= 1:
        control.should_evaluate = control.should_save = control.should_training_stop = True
    if any_process(watch.stop.signal is not None):
        watch.stop.anywhere = control.should_save = control.should_training_stop = True
    if state.global_step >= state.max_steps:
        control.should_evaluate = control.should_save = True


def _note_best(parts: Parts, loss: float, step: int) -> bool:
    """Whether an evaluation loss is the best so far, which is then remembered."""
    better = parts.best_loss is None or loss < parts.best_loss
    if better:
        parts.best_loss, parts.best_step = loss, step
    return better
