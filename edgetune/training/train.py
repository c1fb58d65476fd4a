"""From a recipe to a trained run, interruptible anywhere."""

from __future__ import annotations

import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import console, extras, files
from edgetune.data.reading import load_rows
from edgetune.data.splitting import take
from edgetune.data.templating import Encoded, encode_all
from edgetune.errors import DataError, EdgetuneError, Interrupted, RecipeError
from edgetune.models import context_length, load_config, load_model, load_tokenizer
from edgetune.recipe import Recipe, Resolved, TrainSettings
from edgetune.run import Run, is_run, open_run
from edgetune.training import checkpoints, metrics_file
from edgetune.training.batches import choose_packing, collate_for
from edgetune.training.callbacks import Stop, Watch, callbacks
from edgetune.training.devices import choose_device, choose_dtype
from edgetune.training.fast_lora import speed_up
from edgetune.training.memory import peak_memory, require_memory
from edgetune.training.methods import Adapted, apply_method, default_learning_rate
from edgetune.training.packing import ATTENTION, register_attention
from edgetune.training.plots import plot_losses
from edgetune.training.preparing import prepare_run
from edgetune.training.schedule import Clock
from edgetune.training.trainer import Parts, Plan, make_trainer

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, Trainer

#: Longest row where neither the recipe nor the model says less.
LONGEST_ROW = 2048
#: Held-out evaluations in a run where the recipe does not say how often.
EVALUATIONS = 10
#: Written by transformers' Trainer as a pickle; nothing here reads pickles.
PICKLED = "training_args.bin"


def train(resolved: Resolved, folder: Path, *, allow_scripts: bool = False) -> Run:
    """Prepare a run in ``folder`` and train it, or go on with one that stopped there.

    Under ``accelerate launch`` every process calls this; the first one prepares.

    Raises:
        EdgetuneError: see the tree. After :class:`Interrupted` the same call goes on.
    """
    extras.require("transformers", extra="train", needed_for="training")
    from accelerate import PartialState

    state = PartialState(cpu=resolved.recipe.train.device == "cpu")
    if state.is_main_process:
        if is_run(folder) and open_run(folder).manifest.state == "created":
            shutil.rmtree(folder)  # a process died while preparing it: nothing in it is of use
        if not is_run(folder):
            prepare_run(resolved, folder, allow_scripts=allow_scripts)
    state.wait_for_everyone()
    return resume(folder)


def resume(folder: Path) -> Run:
    """Train a prepared run to its end, from its newest whole checkpoint if it has one.

    Raises:
        EdgetuneError: it is not a run, or was never fully prepared.
    """
    run = open_run(folder)
    state = run.manifest.state
    if state == "created":
        raise EdgetuneError(f"{folder} was never fully prepared", hint="start again: edgetune train RECIPE")
    if state == "trained":
        console.note(f"{folder} is trained already")
        return run
    return _train(run, run.recipe)


@dataclass(frozen=True)
class Rows:
    """What is trained on and what is held out, encoded."""

    train: Sequence[Encoded]
    heldout: Sequence[Encoded]


def _train(run: Run, recipe: Recipe) -> Run:
    from transformers import set_seed

    settings = recipe.train
    tokenizer = load_tokenizer(run.tokenizer_folder)
    rows = _encode(run, recipe, tokenizer)
    device = choose_device(settings.device)
    dtype = choose_dtype(settings.dtype, device.value)
    set_seed(settings.seed)
    adapted, choices = _model(run, recipe, device.value, dtype.value)
    choices = {"device": str(device), "dtype": str(dtype), **choices, **adapted.choices}
    trainer, parts, stop = _make(run, recipe, rows, adapted, choices, tokenizer)
    main = trainer.is_world_process_zero()
    if main:
        _announce(run, adapted, choices)
    checkpoint = checkpoints.latest(run.checkpoints_folder) if main else None
    checkpoint = _agree(checkpoint)
    with stop.on_signals():
        trainer.train(resume_from_checkpoint=str(checkpoint.folder) if checkpoint else None)
    if stop.signal is not None and trainer.state.global_step < trainer.state.max_steps:
        raise Interrupted(
            f"stopped by {stop.signal} after step {trainer.state.global_step}; everything is saved",
            hint=f"edgetune train --resume {run.folder}",
        )
    if main:
        _finish(run, trainer, parts)
    trainer.accelerator.wait_for_everyone()
    return run


def _encode(run: Run, recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> Rows:
    settings = recipe.data
    context = context_length(load_config(Path(run.manifest.base_folder)))
    longest = settings.max_tokens or min(context, LONGEST_ROW)
    if longest > context:
        raise RecipeError(
            f"data.max_tokens is {longest}, but the model's context has {context} tokens", hint="lower it"
        )

    def encoded(path: Path, limit: int | None) -> Sequence[Encoded]:
        rows = take(load_rows(path).raise_on_problems().rows, limit, recipe.train.seed)
        done = encode_all(rows, tokenizer, recipe.task.system, longest, settings.too_long)
        if done.dropped or done.truncated:
            console.note(
                f"{path.name}: {done.dropped} rows dropped and {done.truncated} cut, longer than {longest} tokens"
            )
        return done.rows

    return Rows(encoded(run.train_file, None), encoded(run.heldout_file, recipe.train.evaluate_rows))


def _model(run: Run, recipe: Recipe, device: str, dtype: str) -> tuple[Adapted, dict[str, str]]:
    """The base with the method applied, and the choices made on the way."""
    method = recipe.method
    # Weights that train themselves stay in float32; Trainer then computes in bfloat16 by autocast.
    stored = dtype if method.is_adapter else "float32"
    model = load_model(
        Path(run.manifest.base_folder),
        dtype=stored,
        device=device,
        trust_remote_code=recipe.model.trust_remote_code,
    )
    packing = choose_packing(model, recipe.train.packing)
    if packing.value == "prefix":
        register_attention()
        model.set_attn_implementation(ATTENTION)
    adapted = apply_method(model, method)
    require_memory(adapted.model, model.device)
    if recipe.train.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    fused = speed_up(adapted.model) if method.is_adapter else 0
    return adapted, {"packing": str(packing), "fused LoRA layers": str(fused)}


def _make(
    run: Run,
    recipe: Recipe,
    rows: Rows,
    adapted: Adapted,
    choices: dict[str, str],
    tokenizer: PreTrainedTokenizerBase,
) -> tuple[Trainer, Parts, Stop]:
    from accelerate import PartialState

    settings = recipe.train
    size = BatchSize.of(settings, len(rows.train), PartialState().num_processes)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    collate = collate_for(choices["packing"].split(" ", 1)[0], pad_id)
    steps = settings.max_steps or math.ceil(settings.epochs * size.steps_per_epoch(len(rows.train)))
    evaluate_every = settings.evaluate_every or max(1, steps // EVALUATIONS)
    plan = Plan(settings.keep_checkpoints, settings.warmup_share, settings.scheduler, size.micro)
    parts = Parts(
        plan, Clock(settings.max_minutes * 60 if settings.max_minutes else None), collate, tuple(rows.heldout)
    )
    stop = Stop()
    watch = Watch(
        parts,
        stop,
        run.metrics_file if PartialState().is_main_process else None,
        settings.early_stopping,
        settings.save_every or evaluate_every,
    )
    trainer = make_trainer(
        parts,
        model=adapted.model,
        args=_arguments(run, recipe, size, steps, evaluate_every, choices),
        train_dataset=list(rows.train),
        eval_dataset=list(rows.heldout),
        callbacks=callbacks(watch),
    )
    _silence(trainer)
    return trainer, parts, stop


@dataclass(frozen=True)
class BatchSize:
    """How an optimiser step's rows are shared out.

    Attributes:
        micro: rows in one forward pass of one process.
        accumulate: forward passes a step.
        total: rows a step, over all processes.
    """

    micro: int
    accumulate: int
    total: int

    @classmethod
    def of(cls, settings: TrainSettings, rows: int, processes: int) -> BatchSize:
        """Share ``batch_size`` rows over processes and forward passes.

        Raises:
            RecipeError: they do not divide evenly.
            DataError: fewer rows than one step takes.
        """
        micro = settings.micro_batch_size or settings.batch_size // processes or 1
        accumulate, rest = divmod(settings.batch_size, micro * processes)
        if rest or not accumulate:
            raise RecipeError(
                f"train.batch_size {settings.batch_size} is not a multiple of {micro} rows a pass on {processes} "
                f"process{'es' if processes > 1 else ''}",
                hint="choose a batch_size or micro_batch_size that divides",
            )
        if rows < settings.batch_size:
            raise DataError(
                f"{rows} training rows are fewer than one step takes (train.batch_size {settings.batch_size})",
                hint=f"--batch-size {rows}, or give more rows",
            )
        return cls(micro, accumulate, settings.batch_size)

    def steps_per_epoch(self, rows: int) -> int:
        """Whole steps in a pass over the rows; the rest, another one each pass, is left out."""
        return rows // self.total


def _arguments(
    run: Run, recipe: Recipe, size: BatchSize, steps: int, evaluate_every: int, choices: dict[str, str]
) -> Any:
    from transformers import TrainingArguments

    settings, method = recipe.train, recipe.method
    if settings.tensorboard:
        extras.require("tensorboard", extra="tensorboard", needed_for="train.tensorboard")
    return TrainingArguments(
        output_dir=str(run.checkpoints_folder),
        max_steps=steps,
        per_device_train_batch_size=size.micro,
        gradient_accumulation_steps=size.accumulate,
        dataloader_drop_last=True,
        learning_rate=settings.learning_rate or default_learning_rate(method),
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        optim="adamw_torch",
        seed=settings.seed,
        data_seed=settings.seed,
        use_cpu=choices["device"].startswith("cpu"),
        bf16=choices["dtype"].startswith("bfloat16") and not method.is_adapter,
        eval_strategy="steps",
        eval_steps=evaluate_every,
        save_strategy="no",  # the Keeper says when, and checkpoints.rotate what is kept
        logging_steps=settings.log_every,
        logging_nan_inf_filter=False,
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        report_to=["tensorboard"] if settings.tensorboard else [],
        disable_tqdm=True,
        log_level="error",
    )


def _silence(trainer: Trainer) -> None:
    """Take off Trainer's own printing of logs: the bar and metrics.jsonl stand in for it."""
    from transformers import PrinterCallback

    trainer.remove_callback(PrinterCallback)


def _announce(run: Run, adapted: Adapted, choices: dict[str, str]) -> None:
    trainable = sum(p.numel() for p in adapted.model.parameters() if p.requires_grad)
    console.note(f"run: {run.folder}")
    for name, choice in choices.items():
        console.note(f"{name}: {choice}")
    console.note(f"training {trainable / 1e6:.2f} M parameters")
    run.update_manifest(
        state="training",
        trained_against=adapted.trained_against,
        quantised_modules=adapted.quantised_modules,
        choices=choices,
    )


def _agree(checkpoint: checkpoints.Checkpoint | None) -> checkpoints.Checkpoint | None:
    """The first process's finding, in all processes."""
    from accelerate.utils import broadcast_object_list

    (agreed,) = broadcast_object_list([checkpoint])
    found: checkpoints.Checkpoint | None = agreed
    return found


def _finish(run: Run, trainer: Trainer, parts: Parts) -> None:
    """Store the best checkpoint's weights as the run's result, the plot and the figures."""
    assert parts.best_step is not None, "the last step is always evaluated"
    best = checkpoints.at_step(run.checkpoints_folder, parts.best_step)
    is_adapter = (best.folder / "adapter_config.json").is_file()
    with files.atomic_path(run.adapter_folder if is_adapter else run.model_folder) as temporary:
        temporary.mkdir()
        kept = ("adapter_", "model", "config.json", "generation_config.json")
        for file in best.folder.iterdir():
            if file.name.startswith(kept):
                shutil.copy2(file, temporary / file.name)
    plot_losses(metrics_file.read(run.metrics_file), run.folder / "loss.png")
    last = metrics_file.read(run.metrics_file)[-1]
    run.update_manifest(
        state="trained",
        result={
            "steps": trainer.state.global_step,
            "seconds": round(parts.clock.elapsed, 1),
            "best_step": parts.best_step,
            "best_heldout_loss": parts.best_loss,
            "tokens_per_s": last["tokens_per_s"],
            "rows_per_s": last["rows_per_s"],
            "trainable_parameters": sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
            **peak_memory(trainer.args.device.type),
        },
    )
    console.note(f"best held-out loss {parts.best_loss:.4f} at step {parts.best_step}")
