"""From a trained run to what it gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from edgetune import files
from edgetune.energy import EnergyMeter
from edgetune.evaluation.record import Evaluation, load
from edgetune.methods.record import Training
from edgetune.run import Run
from edgetune.training import metrics_file


def collect(run: Run, method: str, share: float, settings: Mapping[str, Any]) -> Training:
    """What a training gave, from what its run stores.

    Args:
        run: trained, and evaluated on its held-out rows.
        method: name of the method.
        share: of the training rows.
        settings: what it changed in the recipe.
    """
    manifest = run.manifest
    result, evaluation = manifest.result, tuned_evaluation(run)
    entries = metrics_file.read(run.metrics_file)
    last, losses = entries[-1], [entry["loss"] for entry in entries if entry["event"] == "step"]
    energy = last.get("energy_j")
    return Training(
        method=method,
        seed=manifest.seed,
        share=share,
        rows=len(files.read_lines(run.train_file)),
        folder=run.folder.name,
        settings=dict(settings),
        steps=result["steps"],
        first_loss=math.log(len(manifest.labels)) if manifest.labels else losses[0] if losses else None,
        last_loss=losses[-1] if losses else None,
        best_loss=result["best_eval_loss"],
        examples=last["rows"],
        seconds=result["seconds"],
        trainable_parameters=result["trainable_parameters"],
        peak_rss=result["peak_rss"],
        peak_cuda=result.get("peak_cuda"),
        energy_j=energy,
        energy_reason=EnergyMeter().missing or "not recorded" if energy is None else None,
        result_bytes=result_bytes(run),
        heldout_sha256=evaluation.basis.data_sha256,
        scores=evaluation.scores,
    )


def tuned_evaluation(run: Run) -> Evaluation:
    """The trained model on the held-out rows, with every answer."""
    return load(run.evaluation_file("tuned"))


def result_bytes(run: Run) -> int:
    """Of what training leaves: the adapter, or the whole model."""
    folder = run.adapter_folder if run.adapter_folder.is_dir() else run.model_folder
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
