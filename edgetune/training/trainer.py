"""transformers' Trainer with edgetune's loss, schedule, evaluation loss and sealed checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import files
from edgetune.console import progress
from edgetune.data.encoding import IGNORE
from edgetune.errors import Diverged, ResourceError
from edgetune.run import Run
from edgetune.training import checkpoints
from edgetune.training.batches import Collate, Loss, answer_loss
from edgetune.training.processes import reduced
from edgetune.training.schedule import Clock, schedule

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

#: Settings that transformers' Trainer writes as a pickle and never reads again; the recipe has them.
PICKLED = "training_args.bin"


@dataclass
class Counters:
    """What a process has worked through."""

    tokens: int = 0
    """Tokens of the rows, without padding; what rows share counts once a row."""
    computed: int = 0
    """Tokens that the model was run over."""
    rows: int = 0


@dataclass(frozen=True)
class Work:
    """What all processes have worked through in all sessions, and in how many seconds of training."""

    tokens: int = 0
    computed: int = 0
    rows: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Plan:
    """How to train, in plain values.

    Attributes:
        folder: where the checkpoints go.
        keep: checkpoints kept besides the best.
        warmup: share of the run.
        scheduler: of the learning rate.
        batch_rows: rows in one forward pass when evaluating.
        step_rows: rows in one optimiser step, over all processes.
    """

    folder: Path
    keep: int
    warmup: float
    scheduler: str
    batch_rows: int
    step_rows: int


class Parts:
    """What the trainer shares with its callbacks.

    ``best_lost``: the checkpoint that was the best when training stopped has been damaged since.
    """

    def __init__(
        self, plan: Plan, clock: Clock, collate: Collate, evaluation: Sequence[Any], loss: Loss | None = None
    ) -> None:
        self.plan = plan
        self.clock = clock
        self.collate = collate
        self.evaluation = evaluation
        self._loss = loss
        self.counters = Counters()
        self.saved = Work()
        self.best_loss: float | None = None
        self.best_step: int | None = None
        self.best_lost = False

    @property
    def loss(self) -> Loss:
        """What is learnt, summed over what a batch teaches."""
        return self._loss or answer_loss


def make_trainer(parts: Parts, **options: Any) -> Trainer:
    """A trainer for the parts; ``options`` are those of transformers' Trainer."""
    trainer: Trainer = _trainer_class()(parts, **options)
    return trainer


@cache
def _trainer_class() -> type:
    from transformers import Trainer

    class EdgeTrainer(Trainer):
        """See the module's docstring."""

        def __init__(self, parts: Parts, **options: Any) -> None:
            # Trainer counts the tokens of an optimiser step only where a batch has "labels".
            super().__init__(data_collator=lambda rows: _with_labels(parts.collate(rows)), **options)
            self.parts = parts
            # The loss is a sum over answer tokens divided by those of the whole optimiser step, so
            # neither accumulation nor the number of processes changes it.
            self.model_accepts_loss_kwargs = True
            self.loss_is_scaled_for_ga = True

        def compute_loss(
            self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            del return_outputs
            _count(self.parts.counters, inputs)
            return _step_loss(self, model, inputs, num_items_in_batch)

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return _whole_steps(train_dataset or self.train_dataset, self.parts.plan.step_rows)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            self.lr_scheduler = _scheduler(self.parts, num_training_steps, optimizer or self.optimizer)
            self._created_lr_scheduler = True
            return self.lr_scheduler

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            with self.parts.clock.aside():
                return _evaluate(self)

        def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
            self.parts.saved = worked(self.parts)
            with self.parts.clock.aside(), _sealed(self):
                super()._save_checkpoint(model, trial)

    return EdgeTrainer


def worked(parts: Parts) -> Work:
    """The work up to here. Every process must ask at the same time."""
    own = parts.counters
    tokens, computed, rows = reduced([own.tokens, own.computed, own.rows], "sum")
    return Work(int(tokens), int(computed), int(rows), parts.clock.trained)


def _count(counters: Counters, inputs: dict[str, torch.Tensor]) -> None:
    counters.tokens += int(inputs["tokens"])
    if "pixel_values" in inputs:  # an image counts as one token
        counters.computed += len(inputs["pixel_values"])
        counters.rows += len(inputs["pixel_values"])
    else:
        counters.computed += inputs["input_ids"].numel()
        counters.rows += len(inputs["grid"] if "grid" in inputs else inputs["input_ids"])


def _step_loss(trainer: Any, model: Any, inputs: dict[str, torch.Tensor], learnt: torch.Tensor | int) -> torch.Tensor:
    """This batch's share of the loss of the optimiser step, which has ``learnt`` answer tokens."""
    # DDP averages gradients over the processes; the sum is wanted.
    loss: torch.Tensor = trainer.parts.loss(model, inputs) / learnt * trainer.accelerator.num_processes
    _require_finite(trainer, "the loss", loss, trainer.state.global_step + 1)
    return loss


def _require_finite(trainer: Any, what: str, value: torch.Tensor, step: int) -> None:
    if not value.isfinite().all():
        raise Diverged(
            f"{what} is not finite at step {step}; nothing was saved after the last checkpoint",
            hint="lower the learning rate: --learning-rate "
            f"{trainer.args.learning_rate / 10:.0e}, or look at the rows with edgetune data check",
        )


def _whole_steps(rows: Any, step_rows: int) -> torch.utils.data.Sampler[int]:
    """Shuffled passes of whole steps only.

    The rest of a pass would make a smaller step where forward passes are accumulated, and none where they are not.
    """
    from torch.utils.data import RandomSampler

    return RandomSampler(rows, num_samples=len(rows) // step_rows * step_rows)


def _scheduler(parts: Parts, steps: int, optimizer: Any) -> torch.optim.lr_scheduler.LambdaLR:
    from torch.optim.lr_scheduler import LambdaLR

    return LambdaLR(optimizer, schedule(steps, parts.plan.warmup, parts.plan.scheduler, parts.clock))


def _evaluate(trainer: Any) -> dict[str, float]:
    """What transformers' ``evaluate`` does, with the evaluation loss and nothing else."""
    import torch

    values = {"eval_loss": evaluation_loss(trainer.model, trainer.parts, trainer.accelerator)}
    _require_finite(trainer, "the evaluation loss", torch.tensor(values["eval_loss"]), trainer.state.global_step)
    trainer.log(values)
    trainer.control = trainer.callback_handler.on_evaluate(trainer.args, trainer.state, trainer.control, values)
    return values


@contextmanager
def _sealed(trainer: Any) -> Iterator[None]:
    """Around the writing of a checkpoint: nothing broken is saved, and what is saved is sealed."""
    plan, step, wait = trainer.parts.plan, trainer.state.global_step, trainer.accelerator.wait_for_everyone
    folder = plan.folder / f"checkpoint-{step}"
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad:  # one step before the loss could tell
            _require_finite(trainer, name, weight, step)
    main = trainer.accelerator.is_main_process
    if main and folder.exists():
        shutil.rmtree(folder)
    wait()
    with _whole_or_absent(folder, main=main):
        yield
        wait()
        if main:
            (folder / PICKLED).unlink(missing_ok=True)
            checkpoints.seal(folder)
    if main:
        checkpoints.rotate(plan.folder, plan.keep, trainer.parts.best_step)


@contextmanager
def _whole_or_absent(folder: Path, *, main: bool) -> Iterator[None]:
    """Remove a checkpoint that cannot be written to its end.

    Raises:
        ResourceError: the disk is full; the hint goes on from the checkpoint before.
    """
    try:
        with files.disk_errors(folder):
            yield
    except BaseException as error:
        if main:
            shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, ResourceError):
            again = Run(folder.parent.parent).resume_command
            raise ResourceError(error.message, hint=f"free some space, then: {again}") from error
        raise


def _with_labels(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**batch, "labels": batch["shift_labels"]}


def evaluation_loss(model: torch.nn.Module, parts: Parts, accelerator: Any) -> float:
    """Mean loss over all that the evaluation rows teach, shared out over the processes.

    Rows of like length go together; the mean does not depend on the order.
    """
    import torch

    order = sorted(parts.evaluation, key=lambda row: len(getattr(row, "input_ids", ())))  # images are all of one size
    size = parts.plan.batch_rows
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    total = torch.zeros(2, dtype=torch.float64)
    training = model.training
    model.eval()
    own = batches[accelerator.process_index :: accelerator.num_processes]
    with torch.no_grad(), progress("Evaluating", total=len(own), unit="batches") as bar:
        for rows in own:
            batch = {key: value.to(accelerator.device) for key, value in parts.collate(rows).items()}
            learnt = (batch["shift_labels"] != IGNORE).sum()
            total += torch.stack([parts.loss(model, batch).double(), learnt.double()]).cpu()
            bar.advance()
    model.train(training)
    above, below = reduced(total.tolist(), "sum")
    return above / below
