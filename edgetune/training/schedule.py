"""The learning rate over a run, measured in steps or in time, whichever runs out first."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Clock:
    """Time spent, over interruptions.

    Attributes:
        limit: seconds after which training stops; None for no limit.
        spent: seconds of earlier sessions.
        idle: of all seconds, those spent on something else than training steps.
        share: share of the limit that was used up at the last tick; 0 without a limit.
    """

    limit: float | None
    spent: float = 0.0
    idle: float = 0.0
    share: float = 0.0
    _since: float = field(default_factory=time.monotonic)
    _aside_since: float | None = None

    def start(self, spent: float = 0.0, idle: float = 0.0) -> None:
        """Begin a session after ``spent`` seconds of earlier ones, ``idle`` of them without training."""
        self.spent, self.idle = spent, idle
        self._since = time.monotonic()
        self.tick(spent)

    @property
    def elapsed(self) -> float:
        """Seconds so far."""
        return self.spent + time.monotonic() - self._since

    @property
    def trained(self) -> float:
        """Seconds so far that training steps took."""
        now = time.monotonic() if self._aside_since is None else self._aside_since
        return self.spent + now - self._since - self.idle

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Do something else than training in the body: evaluate, or save."""
        self._aside_since = time.monotonic()
        try:
            yield
        finally:
            self.idle += time.monotonic() - self._aside_since
            self._aside_since = None

    def tick(self, elapsed: float) -> None:
        """Fix the share of the limit until the next tick, so that all who ask between see the same."""
        self.share = elapsed / self.limit if self.limit else 0.0


def learning_rate_factor(progress: float, warmup: float, scheduler: str) -> float:
    """Factor on the peak learning rate.

    Args:
        progress: share of the run that is done, 0 to 1.
        warmup: share over which the rate rises from 0.
        scheduler: ``cosine``, ``linear`` or ``constant``.

    >>> [round(learning_rate_factor(p, 0.1, "cosine"), 3) for p in (0.05, 0.1, 0.55, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if progress < warmup:
        return progress / warmup
    if scheduler == "constant":
        return 1.0
    rest = min(1.0, (progress - warmup) / (1 - warmup))
    return 1 - rest if scheduler == "linear" else 0.5 * (1 + math.cos(math.pi * rest))


def schedule(total_steps: int, warmup: float, scheduler: str, clock: Clock) -> Callable[[int], float]:
    """Step → factor. The step after ``step`` updates is the one the factor is for.

    Time counts only where it runs ahead of the steps, so a run that keeps within its
    limit is the same on every repetition.
    """

    def factor(step: int) -> float:
        # The first update shall not be with rate 0, nor the last: hence the half step.
        return learning_rate_factor(max((step + 0.5) / total_steps, clock.share), warmup, scheduler)

    return factor
