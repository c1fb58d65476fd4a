"""What happens beside the optimisation: limits, records, the bar."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetune.console import Bar
from edgetune.training.bar import make_bar
from edgetune.training.keeper import make_keeper
from edgetune.training.recorder import make_recorder
from edgetune.training.watch import Watch

if TYPE_CHECKING:
    from transformers import TrainerCallback


def callbacks(watch: Watch, bar: Bar) -> list[TrainerCallback]:
    """The callbacks for a trainer. The keeper comes first: what it decides, the others show."""
    return [make_keeper(watch), make_recorder(watch), make_bar(watch.parts, bar)]
