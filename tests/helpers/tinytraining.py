"""A tiny model, its rows and a recipe, ready for real training in a second; importable by child processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from recipefiles import tiny_recipe
from rowfiles import write_rows
from safetensors.torch import load_file

from edgetune.recipe import Resolved, resolve
from edgetune.run import Run

#: Words long enough that a wrong layout of rows shows; 24 for training, 6 held out.
ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"say {n}" + " please" * (n % 3)},
            {"role": "assistant", "content": f"{n}!" * (1 + n % 2)},
        ]
    }
    for n in range(30)
]


def write_recipe(folder: Path, base: Path, **sections: Any) -> Resolved:
    """A recipe for six steps of four rows on the CPU in float32; ``sections`` change it."""
    folder.mkdir(parents=True, exist_ok=True)
    write_rows(folder / "train.jsonl", ROWS[:24])
    write_rows(folder / "heldout.jsonl", ROWS[24:])
    train = {"batch_size": 4, "max_steps": 6, "evaluate_every": 2, "save_every": 1, "log_every": 1}
    return tiny_recipe(folder, base, {"train": train}, sections)


def weights(run: Run) -> dict[str, Any]:
    """The tensors of a run's result."""
    folder = run.adapter_folder if run.adapter_folder.is_dir() else run.model_folder
    (file,) = folder.glob("*.safetensors")
    return load_file(file)


def die() -> None:
    """What ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def train_and_die(recipe: Path, folder: Path, place: str, times: int) -> None:
    """Train in this process, and kill it the ``times``-th time it comes by a place.

    Args:
        recipe: the recipe file.
        folder: of the run; gone on with where it exists.
        place: a key of ``PLACES``.
        times: counted from 1.
    """
    import torch

    from edgetune.training import train

    torch.set_num_threads(1)
    left = times

    def passing() -> None:
        nonlocal left
        left -= 1
        if not left:
            die()

    PLACES[place](passing)
    train(resolve(recipe), folder)


def _in_a_step(passing: Callable[[], None]) -> None:
    from edgetune.training import trainer

    real = trainer.answer_loss

    def loss(*args: Any) -> Any:
        passing()
        return real(*args)

    trainer.answer_loss = loss


def _half_a_weight_file(passing: Callable[[], None]) -> None:
    from edgetune.training import trainer

    real = trainer.checkpoints.seal

    def seal(folder: Path) -> None:
        (file,) = folder.glob("*.safetensors")
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        passing()
        file.write_bytes(whole)
        real(folder)

    trainer.checkpoints.seal = seal


def _before_the_optimiser_is_saved(passing: Callable[[], None]) -> None:
    from transformers import Trainer

    real = Trainer._save_optimizer_and_scheduler

    def save(self: Any, folder: str) -> None:
        passing()
        real(self, folder)

    Trainer._save_optimizer_and_scheduler = save


def _while_rotating(passing: Callable[[], None]) -> None:
    from edgetune.training import checkpoints

    real = checkpoints.shutil.rmtree

    def rmtree(folder: Any, *args: Any, **kwargs: Any) -> None:
        if Path(folder).name.startswith("checkpoint-"):
            (Path(folder) / "optimizer.pt").unlink()
            passing()
        real(folder, *args, **kwargs)

    checkpoints.shutil.rmtree = rmtree


def _while_preparing(passing: Callable[[], None]) -> None:
    from edgetune.training import preparing

    real = preparing.write_rows

    def write(*args: Any) -> Any:
        passing()
        return real(*args)

    preparing.write_rows = write


def _before_the_result(passing: Callable[[], None]) -> None:
    from edgetune.training import train

    train_module = __import__("sys").modules[train.__module__]
    real = train_module.finish

    def finish(*args: Any) -> None:
        passing()
        real(*args)

    train_module.finish = finish


PLACES: dict[str, Callable[[Callable[[], None]], None]] = {
    "in a step": _in_a_step,
    "half a weight file": _half_a_weight_file,
    "before the optimiser is saved": _before_the_optimiser_is_saved,
    "while rotating": _while_rotating,
    "while preparing": _while_preparing,
    "before the result": _before_the_result,
}
