"""From a recipe to a trained run, interruptible anywhere."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from edgetune import console
from edgetune.errors import DataError, EdgetuneError, Interrupted, ModelError, RecipeError
from edgetune.models.loading import without_bars
from edgetune.recipe import Recipe, Resolved
from edgetune.run import Run, is_run, open_run
from edgetune.sources import changed_sources
from edgetune.training import checkpoints
from edgetune.training.assembling import Assembled, Machinery, assemble, build_machinery
from edgetune.training.devices import choose_device, choose_dtype
from edgetune.training.finishing import finish
from edgetune.training.keeper import best_step, ended
from edgetune.training.lessons import encode_run
from edgetune.training.memory import trainable_parameters
from edgetune.training.preparing import prepare_run
from edgetune.training.session import require_unchanged, session

#: transformers' name of the training's state in a checkpoint.
STATE = "trainer_state.json"


def train(resolved: Resolved, folder: Path, *, allow_scripts: bool = False) -> Run:
    """Prepare a run in ``folder`` and train it, or go on with one that stopped there.

    Under ``accelerate launch`` every process calls this; the first one prepares.

    Raises:
        EdgetuneError: see the tree. After :class:`Interrupted` the same call goes on.
    """

    def ready() -> None:
        if is_run(folder) and open_run(folder).manifest.state == "created":
            shutil.rmtree(folder)  # a process died while preparing it: nothing in it is of use
        if is_run(folder):
            _require_same_recipe(open_run(folder), resolved.recipe)
            _require_same_sources(open_run(folder), resolved)
            _check(open_run(folder))
        else:
            prepare_run(resolved, folder, allow_scripts=allow_scripts)

    with session(folder, ready, cpu=resolved.recipe.train.device == "cpu"):
        return _go_on(open_run(folder))


def resume(folder: Path) -> Run:
    """Train a prepared run to its end, from its newest whole checkpoint if it has one.

    Raises:
        EdgetuneError: it is not a run, was never fully prepared, or its rows or base are no longer the same.
    """
    run = open_run(folder)
    if run.manifest.state == "created":
        raise EdgetuneError(f"{folder} was never fully prepared", hint="start again: edgetune train RECIPE")
    with session(folder, lambda: _check(open_run(folder)), cpu=run.recipe.train.device == "cpu"):
        return _go_on(run)


def _check(run: Run) -> None:
    if run.manifest.state != "trained":
        require_unchanged(run)


def _go_on(run: Run) -> Run:
    if run.manifest.state == "trained":
        console.note(f"{run.folder} is trained already")
    else:
        _train(run, run.recipe)
    return run


def _require_same_recipe(run: Run, recipe: Recipe) -> None:
    """A run goes on with the recipe that made it.

    Raises:
        RecipeError: another recipe was given; its result would not be what it asks for.
    """
    made, given = run.recipe.model_dump(), recipe.model_dump()
    sections = [key for key in made if made[key] != given[key]]
    if sections:
        raise RecipeError(
            f"{run.folder} holds a run of another recipe; different: {', '.join(sections)}",
            hint=f"choose another --output, or go on with that run: {run.resume_command}",
        )


def _require_same_sources(run: Run, resolved: Resolved) -> None:
    """A run goes on, or is done, with the files that it was made from.

    Raises:
        DataError, ModelError: naming those that are others now; the result would not be what the recipe asks for.
    """
    if problems := changed_sources(run, resolved):
        done = run.manifest.state == "trained"
        kind = ModelError if all(problem.startswith("model.source") for problem in problems) else DataError
        raise kind(
            f"{run.folder} was made from other files than {resolved.path} names now",
            hint="train on these in another folder: --output FOLDER"
            + ("" if done else f"; or go on with the rows that the run keeps: {run.resume_command}"),
            problems=problems,
        )


def _train(run: Run, recipe: Recipe) -> None:
    from transformers import set_seed

    rows = encode_run(run, recipe)
    device = choose_device(recipe.train.device)
    dtype = choose_dtype(recipe.train.dtype, device.value)
    set_seed(recipe.train.seed)
    machinery = build_machinery(run, recipe, device, dtype)
    with console.progress("Training", unit="steps") as bar, without_bars():
        assembled = assemble(run, recipe, rows, machinery, bar)
        trainer = assembled.trainer
        main = trainer.is_world_process_zero()
        if main:
            _announce(run, machinery)
        _run_to_the_end(run, assembled)
    if main:
        finish(run, trainer, assembled.watch.parts)
    trainer.accelerator.wait_for_everyone()


def _run_to_the_end(run: Run, assembled: Assembled) -> None:
    """Do the steps that are left.

    Raises:
        Interrupted: a signal came; everything is saved.
    """
    from transformers import TrainerState

    trainer, watch = assembled.trainer, assembled.watch
    checkpoint = _newest_checkpoint(run, main=trainer.is_world_process_zero())
    if checkpoint is not None:
        state = TrainerState.load_from_json(str(checkpoint.folder / STATE))
        watch.parts.best_lost = _best_is_lost(run, best_step(state), main=trainer.is_world_process_zero())
        if ended(state, watch):  # killed between its last step and its result
            trainer.state = state
            return
    with watch.stop.on_signals():
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    if watch.stop.anywhere and trainer.state.global_step < trainer.state.max_steps:
        raise Interrupted(
            f"stopped by {watch.stop.signal or 'another process'} after step {trainer.state.global_step}; "
            "everything is saved",
            hint=run.resume_command,
        )


def _announce(run: Run, machinery: Machinery) -> None:
    adapted, choices = machinery.adapted, machinery.choices
    trainable = trainable_parameters(adapted.model)
    console.note(f"run: {run.folder}")
    for name, choice in choices.items():
        console.note(f"{name}: {choice}")
    console.note(f"training {trainable:,} parameters")
    run.update_manifest(
        state="training",
        trained_against=adapted.trained_against,
        quantised_modules=adapted.quantised_modules,
        choices=choices,
    )


def _newest_checkpoint(run: Run, *, main: bool) -> checkpoints.Checkpoint | None:
    """The newest whole checkpoint, as the first process finds it, in all processes."""
    found: checkpoints.Checkpoint | None = _agreed(checkpoints.latest(run.checkpoints_folder) if main else None)
    return found


def _best_is_lost(run: Run, step: int | None, *, main: bool) -> bool:
    """Whether the best step's result is gone, as the first process finds it, in all processes. It is told."""
    lost = main and step is not None and not checkpoints.has_result(run.checkpoints_folder, step)
    if lost:
        console.note(f"warning: the best checkpoint, of step {step}, is missing or damaged; another is chosen")
    return bool(_agreed(lost))


def _agreed(value: Any) -> Any:
    """What the first process says, in all processes."""
    from accelerate.utils import broadcast_object_list

    return broadcast_object_list([value])[0]
