"""From the last step to a trained run."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgetune import console, files
from edgetune.adapters.origin import write_origin
from edgetune.adapters.tuned import adapter_origin
from edgetune.run import Run
from edgetune.training import checkpoints, metrics_file
from edgetune.training.memory import peak_memory, trainable_parameters
from edgetune.training.plots import plot_losses
from edgetune.training.trainer import Parts

if TYPE_CHECKING:
    from transformers import Trainer

#: Fewer are worth a word. A round number, not a measured one: what a step teaches depends on rows and rate.
FEW_STEPS = 100


def finish(run: Run, trainer: Trainer, parts: Parts) -> None:
    """Store the best checkpoint's weights as the run's result, with the plot and the figures.

    A process killed in here leaves a run that finishes when resumed.
    """
    assert parts.best_step is not None, "the last step is always evaluated"
    assert trainer.model is not None
    best = checkpoints.at_step(run.checkpoints_folder, parts.best_step)
    is_adapter = (best.folder / "adapter_config.json").is_file()
    folder = run.adapter_folder if is_adapter else run.model_folder
    with files.atomic_path(folder) as temporary:
        temporary.mkdir()
        for file in best.folder.iterdir():
            if file.name.startswith(checkpoints.RESULT_FILES):
                shutil.copy2(file, temporary / file.name)
        if is_adapter:
            write_origin(temporary, adapter_origin(run))
    entries = metrics_file.read(run.metrics_file)
    plot_losses(entries, run.folder / "loss.png", run.recipe.task.unit)
    run.update_manifest(
        state="trained",
        result_sha256=dict(files.sha256_files(folder)),
        result={
            "steps": trainer.state.global_step,
            "seconds": round(parts.clock.elapsed, 1),
            "best_step": parts.best_step,
            "best_eval_loss": parts.best_loss,
            "tokens_per_s": entries[-1]["tokens_per_s"],
            "rows_per_s": entries[-1]["rows_per_s"],
            "trainable_parameters": trainable_parameters(trainer.model),
            **_peaks(entries, trainer.args.device.type),
        },
    )
    console.note(f"best evaluation loss {parts.best_loss:.4f} at step {parts.best_step}")
    if parts.clock.share >= 1 and trainer.state.global_step < trainer.state.max_steps:
        console.note(cut_short(trainer.state.global_step, trainer.state.max_steps))


def _peaks(entries: Sequence[Mapping[str, Any]], device: str) -> dict[str, Any]:
    """Peak memory of all sessions: the one that ends a training may only have loaded what another had trained."""
    now = peak_memory(device)
    return {name: max([value, *(entry[name] for entry in entries if name in entry)]) for name, value in now.items()}


def cut_short(steps: int, planned: int) -> str:
    """What ``train.max_minutes`` left undone.

    >>> cut_short(580, 1048)
    'train.max_minutes ended the training after 580 of 1048 steps'
    """
    said = f"train.max_minutes ended the training after {steps} of {planned} steps"
    if steps >= FEW_STEPS:
        return said
    return f"warning: {said}: the model has hardly been trained; give it more with --max-minutes, or a faster machine"
