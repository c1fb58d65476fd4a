"""How fast the machine itself was: the same plain work beside every round, which no model has a part in.

Generating is bound by memory, and a host that serves others takes of its bandwidth what it likes, unseen by load and
steal. So what stands beside each round is a copy of memory, as in STREAM (McCalpin, 1995): from it a comparison of runs
at different times knows how far the machine moved between them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgetune.memory import available_memory

_Values = NDArray[np.float64]

#: Copied at a time: more than what a processor keeps of it in its caches, as a rule.
BYTES = 64 * 1024**2
#: Times that it is copied for one value, and values of which the middle one counts.
_COPIES, _VALUES = 4, 3


@dataclass
class Yardstick:
    """Copies memory whenever it is told to.

    Attributes:
        threads: that copy side by side, a part each.
        speeds: GB/s of each time, read and written bytes counted; none where there is no memory to spare.
    """

    threads: int
    speeds: list[float] = field(default_factory=list)

    def lay(self) -> None:
        """Measure once."""
        free = available_memory()
        if free is not None and free < 8 * BYTES:
            return
        source = np.ones(BYTES // 8)
        target = np.ones_like(source)
        parts = list(zip(np.array_split(source, self.threads), np.array_split(target, self.threads), strict=True))
        self.speeds.append(float(np.median([_copy(parts) for _ in range(_VALUES)])))


def _copy(parts: Sequence[tuple[_Values, _Values]]) -> float:
    """GB/s."""

    def work(source: _Values, target: _Values) -> None:
        for _ in range(_COPIES):
            np.copyto(target, source)  # gives Python's lock away meanwhile

    threads = [threading.Thread(target=work, args=part) for part in parts]
    begun = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 2 * BYTES * _COPIES / (time.perf_counter() - begun) / 1e9
