"""transformers' Trainer with edgetune's loss, schedule, held-out loss and sealed checkpoints."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune.data.encoding import IGNORE
from edgetune.errors import TrainingError
from edgetune.training import checkpoints
from edgetune.training.batches import Collate, answer_loss
from edgetune.training.schedule import Clock, schedule

if TYPE_CHECKING:
    import torch
    from transformers import Trainer

    from edgetune.data.templating import Encoded

#: Settings that transformers' Trainer writes as a pickle and never reads again; the recipe has them.
PICKLED = "training_args.bin"


@dataclass
class Counters:
    """What this process has worked through in this session."""

    tokens: int = 0
    """Tokens of the rows, without padding; what rows share counts once a row."""
    computed: int = 0
    """Tokens that the model was run over."""
    rows: int = 0


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
    """What the trainer shares with its callbacks."""

    def __init__(self, plan: Plan, clock: Clock, collate: Collate, heldout: Sequence[Encoded]) -> None:
        self.plan = plan
        self.clock = clock
        self.collate = collate
        self.heldout = heldout
        self.counters = Counters()
        self.best_loss: float | None = None
        self.best_step: int | None = None


def make_trainer(parts: Parts, **options: Any) -> Trainer:
    """A trainer for the parts; ``options`` are those of transformers' Trainer."""
    trainer: Trainer = _trainer_class()(parts, **options)
    return trainer


@cache
def _trainer_class() -> type:  # noqa: C901  # counts the methods of the class as one function
    import torch
    from transformers import Trainer

    class EdgeTrainer(Trainer):
        """See the module's docstring."""

        def __init__(self, parts: Parts, **options: Any) -> None:
            # Trainer counts the tokens of an optimiser step only where a batch has "labels".
            super().__init__(data_collator=lambda rows: _with_labels(parts.collate(rows)), **options)
            self.parts = parts
            # The loss below is a sum over answer tokens divided by those of the whole optimiser step, so
            # neither accumulation nor the number of processes changes it.
            self.model_accepts_loss_kwargs = True
            self.loss_is_scaled_for_ga = True

        def compute_loss(
            self,
            model: torch.nn.Module,
            inputs: dict[str, torch.Tensor],
            return_outputs: bool = False,
            num_items_in_batch: torch.Tensor | int | None = None,
        ) -> Any:
            del return_outputs
            assert num_items_in_batch is not None
            self._count(inputs)
            # DDP averages gradients over the processes; the sum is wanted.
            loss = answer_loss(model, inputs) / num_items_in_batch * self.accelerator.num_processes
            self._require_finite("the loss", loss, self.state.global_step + 1)
            return loss

        def _require_finite(self, what: str, value: torch.Tensor, step: int) -> None:
            if not torch.isfinite(value).all():
                raise TrainingError(
                    f"{what} is not finite at step {step}; nothing was saved after the last checkpoint",
                    hint="lower the learning rate: --learning-rate "
                    f"{self.args.learning_rate / 10:.0e}, or look at the rows with edgetune data check",
                )

        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            # Only whole steps: the rest of a shuffled pass would make a smaller step where forward passes
            # are accumulated, and none where they are not.
            rows: Any = train_dataset if train_dataset is not None else self.train_dataset
            step = self.parts.plan.step_rows
            return torch.utils.data.RandomSampler(rows, num_samples=len(rows) // step * step)

        def _count(self, inputs: dict[str, torch.Tensor]) -> None:
            counters = self.parts.counters
            counters.tokens += int(inputs["tokens"])
            counters.computed += inputs["input_ids"].numel()
            counters.rows += len(inputs["grid"] if "grid" in inputs else inputs["input_ids"])

        def create_scheduler(
            self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
        ) -> torch.optim.lr_scheduler.LRScheduler:
            plan = self.parts.plan
            factor = schedule(num_training_steps, plan.warmup, plan.scheduler, self.parts.clock)
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer or self.optimizer, factor)  # type: ignore[arg-type]  # made before
            self._created_lr_scheduler = True
            return self.lr_scheduler

        def evaluate(self, *_: Any, **__: Any) -> dict[str, float]:
            assert self.model is not None
            values = {"eval_loss": heldout_loss(self.model, self.parts, self.accelerator)}
            self._require_finite("the held-out loss", torch.tensor(values["eval_loss"]), self.state.global_step)
            self.log(values)
            self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, values)
            return values

        def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
            folder = self.parts.plan.folder / f"checkpoint-{self.state.global_step}"
            assert self.model is not None
            for name, weight in self.model.named_parameters():
                if weight.requires_grad:  # one step before the loss could tell
                    self._require_finite(name, weight, self.state.global_step)
            main = self.accelerator.is_main_process
            if main and folder.exists():
                shutil.rmtree(folder)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            self.accelerator.wait_for_everyone()
            if main:
                (folder / PICKLED).unlink(missing_ok=True)
                checkpoints.seal(folder)
                checkpoints.rotate(self.parts.plan.folder, self.parts.plan.keep, self.parts.best_step)

    return EdgeTrainer


def _with_labels(batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {**batch, "labels": batch["shift_labels"]}


def heldout_loss(model: torch.nn.Module, parts: Parts, accelerator: Any) -> float:
    """Mean loss over the answer tokens of all held-out rows, shared out over the processes.

    Rows of like length go together; the mean does not depend on the order.
    """
    import torch

    order = sorted(parts.heldout, key=lambda row: len(row.input_ids))
    size = parts.plan.batch_rows
    batches = [order[i : i + size] for i in range(0, len(order), size)]
    total = torch.zeros(2, dtype=torch.float64)
    training = model.training
    model.eval()
    with torch.no_grad():
        for rows in batches[accelerator.process_index :: accelerator.num_processes]:
            batch = {key: value.to(accelerator.device) for key, value in parts.collate(rows).items()}
            learnt = (batch["shift_labels"] != IGNORE).sum()
            total += torch.stack([answer_loss(model, batch).double(), learnt.double()]).cpu()
    model.train(training)
    summed = accelerator.reduce(total.to(torch.float32 if accelerator.device.type == "mps" else total.dtype))
    return float(summed[0] / summed[1])
