"""How large the rounding that training saw is, beside what training learnt."""

from __future__ import annotations

from statistics import median

import numpy as np

from edgetune import console
from edgetune.adapters.merging import MergedWeights
from edgetune.merging.record import Rounding


def measure_rounding(weights: MergedWeights) -> Rounding | None:
    """‖W16 - dequant(W4)‖ / ‖ΔW‖ over the layers that were rounded and have an adapter.

    Args:
        weights: merged into the rounded base. Memory: about four float32 copies of the largest layer.

    Returns:
        None where no rounded layer is changed by the adapter.
    """
    import torch

    ratios = []
    with console.progress("Comparing rounding and adapter", total=len(weights.changed), unit="tensors") as bar:
        for name in sorted(weights.changed):
            parts = weights.read_parts(name, {name: torch.from_numpy(weights.read(name))})
            bar.advance()
            if parts.beneath is None or parts.unrounded is None:
                continue
            learnt = float(np.linalg.norm(parts.tuned - parts.beneath))
            if learnt > 0:
                ratios.append(float(np.linalg.norm(parts.unrounded - parts.beneath)) / learnt)
    if not ratios:
        return None
    return Rounding(layers=len(ratios), median=median(ratios), low=min(ratios), high=max(ratios))
