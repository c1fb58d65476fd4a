"""What happens beside the optimisation: limits, records, the bar, other changes to images in each pass."""

# ruff: noqa: ARG002  # transformers gives every callback the same arguments

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgetune.console import Bar
from edgetune.training.bar import make_bar
from edgetune.training.keeper import make_keeper
from edgetune.training.recorder import make_recorder
from edgetune.training.watch import Watch

if TYPE_CHECKING:
    from transformers import TrainerCallback


def callbacks(watch: Watch, bar: Bar) -> list[TrainerCallback]:
    """The callbacks for a trainer. The keeper comes first: what it decides, the others show."""
    found = [make_keeper(watch), make_recorder(watch), make_bar(watch.parts, bar)]
    changing = watch.parts.collate
    return [*found, _passes_class()(changing)] if isinstance(changing, ChangesWithPasses) else found


@runtime_checkable
class ChangesWithPasses(Protocol):
    """Makes other batches of the same rows in each pass over them."""

    def start_pass(self, number: int) -> None: ...


@cache
def _passes_class() -> Any:
    from transformers import TrainerCallback

    class Passes(TrainerCallback):
        """Tells which pass begins; after a resumed training's first step that is the one it stopped in."""

        def __init__(self, changing: ChangesWithPasses) -> None:
            self.changing = changing

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            self.changing.start_pass(int(state.epoch or 0))

    return Passes
