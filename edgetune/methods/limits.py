"""What limits the figures of a comparison, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetune.bench.company import MUCH_COMPANY
from edgetune.methods.planning import Method
from edgetune.methods.record import Training
from edgetune.run import Run
from edgetune.training.finishing import FEW_STEPS


def limits(trainings: Sequence[Training], methods: Sequence[Method], run: Run) -> Iterator[str]:
    """What limits the figures of a comparison.

    Args:
        trainings: all of them.
        methods: at the rates that they were trained with.
        run: of one training.
    """
    shares = [one.others_share for one in trainings if one.others_share is not None]
    if shares and max(shares) >= MUCH_COMPANY:
        yield (
            f"other programs used up to {max(shares):.0%} of the processors' time while it trained: times are too "
            "long, and under a budget of time each training did fewer steps than it would have alone"
        )
    if hasty := list(dict.fromkeys(one.method for one in trainings if one.steps < FEW_STEPS)):
        yield f"fewer than {FEW_STEPS} steps, so hardly trained: {', '.join(hasty)}; more may turn the order"
    if worse := list(dict.fromkeys(one.method for one in trainings if one.got_worse)):
        yield (
            f"training ended above the loss it began with, at a rate too high, or too low for so few steps: "
            f"{', '.join(worse)}; --tune 4 looks for a better one, --rate gives one"
        )
    if run.evaluation_rows_file == run.heldout_file:
        if any(one.tried for one in methods):
            yield (
                "no data.validation: the held-out rows also chose each checkpoint and each learning rate, so "
                "figures flatter, and those of methods with more tries may flatter more; name rows of their own"
            )
        else:
            yield "no data.validation: the held-out rows also chose each checkpoint, so figures flatter, all alike"
