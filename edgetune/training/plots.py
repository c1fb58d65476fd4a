"""The picture of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgetune import files


def plot_losses(entries: Sequence[Mapping[str, Any]], target: Path, unit: str) -> None:
    """Draw training and held-out loss over the steps, and the learning rate below, as a PNG.

    Args:
        entries: lines of metrics.jsonl.
        target: the file to write.
        unit: what the losses are means over.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    steps = [entry for entry in entries if entry["event"] == "step"]
    evaluations = [entry for entry in entries if entry["event"] == "evaluation"]
    figure = Figure(figsize=(8, 5), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    upper.plot([e["step"] for e in steps], [e["loss"] for e in steps], label="training", linewidth=1)
    upper.plot([e["step"] for e in evaluations], [e["eval_loss"] for e in evaluations], "o-", label="held out")
    upper.set(ylabel=f"loss (nats per {unit})", yscale="log")
    upper.legend()
    lower.plot([e["step"] for e in steps], [e["learning_rate"] for e in steps], linewidth=1)
    lower.set(ylabel="learning rate", xlabel="step")
    with files.atomic_path(target) as temporary:
        FigureCanvasAgg(figure).print_png(str(temporary))  # type: ignore[no-untyped-call]
