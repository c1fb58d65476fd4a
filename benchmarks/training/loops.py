"""A training loop in plain PyTorch whose every improvement can be switched: the plain loop and the ladder."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from job import Job, Stopwatch, read_encoded

from edgetune.data.encoding import IGNORE, Encoded
from edgetune.models import load_model
from edgetune.recipe import MethodSettings
from edgetune.training import packing
from edgetune.training.batches import summed_cross_entropy
from edgetune.training.fast_lora import speed_up
from edgetune.training.methods import apply_method
from edgetune.training.schedule import Clock, schedule

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Loop:
    """What is switched on.

    Attributes:
        head: the output head runs over every position, or only over those that predict an answer token.
        base: NF4 weights are held packed and unpacked in every product, or unpacked once (the same numbers).
        fused: LoRA layers take edgetune's fused step instead of PEFT's.
        layout: padded rows; one sequence without padding; or that with the rows' common beginning computed once.
        in_place: the loss gradient takes over the logits' memory, instead of PyTorch's cross entropy.
        grouped: rows of like length go into one batch, which changes the order of rows.
    """

    head: Literal["all", "answers"] = "answers"
    base: Literal["4bit", "dequantised"] = "dequantised"
    fused: bool = False
    layout: Literal["padded", "packed", "prefix"] = "padded"
    in_place: bool = False
    grouped: bool = False


#: What somebody who knows PyTorch writes in sixty lines.
PLAIN = Loop(grouped=True)

#: Each rung adds one thing to the one before.
LADDER: dict[str, Loop] = {
    "padded rows, whole head, packed NF4 base, PEFT's layers": Loop(head="all", base="4bit"),
    "+ head on answer positions only": Loop(base="4bit"),
    "+ NF4 base dequantised once": Loop(),
    "+ fused LoRA layer": Loop(fused=True),
    "+ packing, no padding": Loop(fused=True, layout="packed"),
    "+ common beginning computed once": Loop(fused=True, layout="prefix"),
    "+ cross entropy in place": Loop(fused=True, layout="prefix", in_place=True),
}


def train_loop(job: Job, loop: Loop) -> None:
    """Train an adapter with a plain loop, and store it."""
    import torch
    from transformers import set_seed

    rows = read_encoded(job.rows)
    batches = _grouped(rows.train, job) if loop.grouped else _in_trainers_order(rows.train, job)
    set_seed(job.seed)
    model = _model(job, loop)
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=job.learning_rate, betas=(0.9, job.adam_beta2), weight_decay=0.0)
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimiser, schedule(job.steps, job.warmup, job.scheduler, Clock(limit=None))
    )
    model.train()
    watch = Stopwatch(job.steps_file)
    watch.start()
    for batch in batches[: job.steps]:
        answers = sum(label != IGNORE for row in batch for label in row.labels[1:])
        summed, computed = _loss(model, batch, loop, rows.pad_id)
        loss = summed / answers
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, job.max_grad_norm)
        optimiser.step()
        rate.step()
        optimiser.zero_grad()
        tokens = sum(len(row.input_ids) for row in batch)
        watch.step(rows=len(batch), tokens=tokens, computed=computed, loss=loss.item())
    model.save_pretrained(job.adapter_folder)


def _model(job: Job, loop: Loop) -> Any:
    """The base in NF4 with a fresh adapter."""
    model = load_model(Path(job.base), dtype="float32")
    if loop.layout != "padded":
        packing.register_attention()
        model.set_attn_implementation(packing.ATTENTION)
    method = MethodSettings(kind="qlora", rank=job.rank, alpha=job.alpha, base_storage=loop.base)
    adapted = apply_method(model, method).model
    if loop.fused:
        speed_up(adapted)
    return adapted


def _in_trainers_order(rows: Sequence[Encoded], job: Job) -> list[Sequence[Encoded]]:
    """Batches as transformers' Trainer draws them with this seed; run.py checks it by the tokens of each step."""
    from accelerate.data_loader import SeedableRandomSampler

    order = list(SeedableRandomSampler(range(len(rows)), data_seed=job.seed))
    return _batches([rows[i] for i in order], job.batch_size)


def _grouped(rows: Sequence[Encoded], job: Job) -> list[Sequence[Encoded]]:
    """Batches of rows of like length, in random order."""
    batches = _batches(sorted(rows, key=lambda row: len(row.input_ids)), job.batch_size)
    random.Random(job.seed).shuffle(batches)  # noqa: S311  # not a secret
    return batches


def _batches(rows: Sequence[Encoded], size: int) -> list[Sequence[Encoded]]:
    return [rows[i : i + size] for i in range(0, len(rows) - size + 1, size)]


def _loss(model: Any, rows: Sequence[Encoded], loop: Loop, pad_id: int) -> tuple[torch.Tensor, int]:
    """Loss summed over a batch's answer tokens, and how many positions the model ran over."""
    if loop.layout == "padded":
        return padded_loss(model, rows, pad_id, loop.head)
    batch = packing.pack(rows, share_prefix=loop.layout == "prefix")
    targets = batch.pop("shift_labels").flatten()
    batch.pop("tokens")
    logits = model(**batch, use_cache=False).logits.flatten(0, -2)
    return _summed(logits, targets, in_place=loop.in_place), batch["input_ids"].numel()


def padded_loss(model: Any, rows: Sequence[Encoded], pad_id: int, head: str) -> tuple[torch.Tensor, int]:
    """Loss summed over the answer tokens of padded rows, by nothing but transformers and PyTorch.

    Args:
        model: a PEFT model over a causal language model.
        rows: of the batch.
        pad_id: fills short rows up.
        head: where the output head runs: ``all`` positions, or ``answers`` only.

    Returns:
        The loss, and how many positions the model ran over.
    """
    ids, mask, targets = padded(rows, pad_id)
    hidden = hidden_states(model, ids, mask)
    if head == "answers":
        learnt = targets != IGNORE
        hidden, targets = hidden[learnt], targets[learnt]
    logits = model.get_base_model().get_output_embeddings()(hidden)
    return _summed(logits.flatten(0, -2), targets.flatten(), in_place=False), ids.numel()


def padded(rows: Sequence[Encoded], pad_id: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids and mask, (rows, longest); what each position but the last shall predict, (rows, longest - 1)."""
    import torch

    longest = max(len(row.input_ids) for row in rows)
    ids = torch.full((len(rows), longest), pad_id)
    labels = torch.full((len(rows), longest), IGNORE)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for number, row in enumerate(rows):
        length = len(row.input_ids)
        ids[number, :length] = torch.tensor(row.input_ids)
        labels[number, :length] = torch.tensor(row.labels)
        mask[number, :length] = 1
    return ids, mask, labels[:, 1:]


def hidden_states(model: Any, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What the output head sees at each position but the last: (rows, longest - 1, width)."""
    states: torch.Tensor = (
        model.get_base_model().get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    )
    return states[:, :-1]


def _summed(logits: torch.Tensor, targets: torch.Tensor, *, in_place: bool) -> torch.Tensor:
    from torch.nn.functional import cross_entropy

    if in_place:
        return summed_cross_entropy(logits, targets)
    return cross_entropy(logits.float(), targets, reduction="sum", ignore_index=IGNORE)
