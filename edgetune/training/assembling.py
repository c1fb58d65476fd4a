"""The pieces of a training, each made from the run and its recipe: rows, model, trainer."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgetune import console, extras
from edgetune.recipe import Recipe, TrainSettings
from edgetune.run import Run
from edgetune.training.batch_size import BatchSize
from edgetune.training.callbacks import callbacks
from edgetune.training.devices import Choice
from edgetune.training.fast_lora import speed_up
from edgetune.training.lessons import Rows, lesson_of
from edgetune.training.memory import require_memory
from edgetune.training.methods import Adapted, apply_method, default_learning_rate
from edgetune.training.schedule import Clock
from edgetune.training.stopping import Stop
from edgetune.training.trainer import Parts, Plan, make_trainer
from edgetune.training.watch import Watch

if TYPE_CHECKING:
    from transformers import Trainer

#: Held-out evaluations in a run where the recipe does not say how often.
EVALUATIONS = 10
#: Steps between two of them, where the end is a matter of time.
FEWEST_BETWEEN = 10


@dataclass(frozen=True)
class Machinery:
    """What computes: chosen with reasons.

    Attributes:
        device: kind of device.
        dtype: compute type.
        adapted: the model with the method applied.
        packing: how rows become batches.
        fused: LoRA layers that take the fused step.
        autocast: compute in bfloat16 over weights in float32.
    """

    device: Choice
    dtype: Choice
    adapted: Adapted
    packing: Choice
    fused: int
    autocast: bool = False

    @property
    def choices(self) -> dict[str, str]:
        """All choices in words, as the manifest keeps them."""
        own = {"device": str(self.device), "dtype": str(self.dtype), "packing": str(self.packing)}
        return own | {"fused LoRA layers": str(self.fused)} | self.adapted.choices


def build_machinery(run: Run, recipe: Recipe, device: Choice, dtype: Choice) -> Machinery:
    """Load the base and make it train what the method says.

    Raises:
        ModelError: the base cannot be loaded.
        RecipeError: the method names what the model has not.
        ResourceError: not enough memory.
    """
    from accelerate import PartialState

    method = recipe.method
    where = str(PartialState().device) if device.value == "cuda" else device.value  # each process its own
    loaded = lesson_of(recipe).load(run, recipe, dtype.value, where)
    adapted = apply_method(loaded.model, method, loaded.head)
    require_memory(adapted.model, loaded.model.device)
    if recipe.train.gradient_checkpointing:
        # transformers 5 renamed it.
        model: Any = loaded.model
        enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
        enable({"use_reentrant": False})
    fused = speed_up(adapted.model) if method.is_adapter else 0
    return Machinery(device, dtype, adapted, loaded.packing, fused, loaded.autocast)


@dataclass(frozen=True)
class Assembled:
    """A trainer and what it shares with those around it."""

    trainer: Trainer
    watch: Watch


@dataclass(frozen=True)
class Steps:
    """How long a training is, and how often it is looked at, in optimiser steps."""

    total: int
    evaluate_every: int
    size: BatchSize

    @classmethod
    def of(cls, settings: TrainSettings, rows: int, processes: int) -> Steps:
        """Count the steps of a run over ``rows`` rows."""
        size = BatchSize.of(settings.batch_size, settings.micro_batch_size, rows, processes)
        total = settings.max_steps or math.ceil(settings.epochs * size.steps_per_epoch(rows))
        usual = max(1, total // EVALUATIONS)
        if settings.max_minutes is not None:  # how many steps there will be is not known: by the rows, then
            usual = min(usual, max(FEWEST_BETWEEN, size.steps_per_epoch(rows) // EVALUATIONS))
        return cls(total, settings.evaluate_every or usual, size)


def assemble(run: Run, recipe: Recipe, rows: Rows, machinery: Machinery, bar: console.Bar) -> Assembled:
    """Wire the trainer.

    Raises:
        RecipeError, DataError: the batch size does not fit the rows or the processes.
        MissingExtra: TensorBoard asked for and not installed.
    """
    from accelerate import PartialState
    from transformers import PrinterCallback

    settings, state = recipe.train, PartialState()
    steps = Steps.of(settings, len(rows.train), state.num_processes)
    plan = Plan(
        run.checkpoints_folder,
        settings.keep_checkpoints,
        settings.warmup_share,
        settings.scheduler,
        steps.size.micro,
        steps.size.total,
    )
    clock = Clock(settings.max_minutes * 60 if settings.max_minutes else None)
    collate, loss = lesson_of(recipe).step(run, recipe, rows, machinery.packing.value)
    parts = Parts(plan, clock, collate, tuple(rows.evaluation), loss)
    metrics = run.metrics_file if state.is_main_process else None
    watch = Watch(parts, Stop(), metrics, settings.early_stopping, settings.save_every or steps.evaluate_every)
    trainer = make_trainer(
        parts,
        model=machinery.adapted.model,
        args=_arguments(run, recipe, steps, machinery),
        train_dataset=list(rows.train),
        eval_dataset=list(rows.evaluation),
        callbacks=callbacks(watch, bar),
    )
    trainer.remove_callback(PrinterCallback)  # the bar and metrics.jsonl stand in for it
    return Assembled(trainer, watch)


def _arguments(run: Run, recipe: Recipe, steps: Steps, machinery: Machinery) -> Any:
    from transformers import TrainingArguments

    settings, method = recipe.train, recipe.method
    if settings.tensorboard:
        extras.require("tensorboard", extra="tensorboard", needed_for="train.tensorboard")
    arguments = TrainingArguments(
        output_dir=str(run.checkpoints_folder),
        max_steps=steps.total,
        per_device_train_batch_size=steps.size.micro,
        gradient_accumulation_steps=steps.size.accumulate,
        dataloader_drop_last=True,
        learning_rate=settings.learning_rate or default_learning_rate(method),
        weight_decay=settings.weight_decay,
        adam_beta2=settings.adam_beta2,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch_fused",
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=machinery.device.value == "cpu",
        bf16=machinery.autocast,
        eval_strategy="steps",
        eval_steps=steps.evaluate_every,
        save_strategy="no",  # the keeper says when, and checkpoints.rotate what is kept
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        report_to=["tensorboard"] if settings.tensorboard else [],
        disable_tqdm=True,
        log_level="error",
    )
    if arguments.n_gpu > 1:
        # One process with several GPUs would mean DataParallel, which splits a batch along its first
        # dimension; a packed batch has only one row. Several GPUs take one process each.
        arguments._n_gpu = 1  # noqa: SLF001  # transformers offers no other way
        console.note("using one GPU of several; for all: accelerate launch -m edgetune train …")
    return arguments
