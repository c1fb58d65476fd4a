"""Held-out loss on answer tokens, from a torch model or from any runtime's logits.

Labels follow the usual convention: ``labels[i]`` is ``input_ids[i]`` where token i
belongs to an answer, and -100 elsewhere. Token i is predicted by the logits at i - 1.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from edgetune.evaluation.intervals import Ratio
from edgetune.runtimes.llama_batching import common_prefix
from edgetune.runtimes.protocol import Runtime

if TYPE_CHECKING:
    import torch

IGNORED = -100
#: Logits in one forward pass if every token of it were scored: 400 MB as float32. Larger batches gain nothing on a CPU.
LOGITS_BUDGET = 100_000_000
#: A common beginning shorter than this is not worth a cache.
MIN_SHARED = 8


class Labelled(Protocol):
    """A tokenised row, such as ``edgetune.data.templating.Encoded``."""

    @property
    def input_ids(self) -> Sequence[int]: ...

    @property
    def labels(self) -> Sequence[int]: ...


#: Told how many rows are done.
Progress = Callable[[int], None]


def answer_positions(row: Labelled) -> list[int]:
    """Indexes of the tokens that are scored. The first token has no prediction and never is."""
    return [i for i, label in enumerate(row.labels) if label != IGNORED and i > 0]


def runtime_losses(runtime: Runtime, rows: Sequence[Labelled], on_done: Progress | None = None) -> list[Ratio]:
    """(Σ -ln p, answer tokens) of each row, from ``runtime.logits``.

    Args:
        runtime: any runtime; its logits are (tokens, vocabulary), float32.
        rows: tokenised by that runtime's own tokenizer.
        on_done: progress.
    """
    losses: list[Ratio] = []
    for row in rows:
        positions = answer_positions(row)
        losses.append(_runtime_loss(runtime, row, positions) if positions else (0.0, 0.0))
        if on_done:
            on_done(len(losses))
    return losses


def _runtime_loss(runtime: Runtime, row: Labelled, positions: Sequence[int]) -> Ratio:
    # Neither what comes before the answer nor the very last token predicts anything that is scored.
    first = positions[0] - 1
    logits = runtime.logits(list(row.input_ids[: positions[-1]]), first)
    logits = logits[[i - 1 - first for i in positions]].astype(np.float64)
    targets = [row.labels[i] for i in positions]
    highest = logits.max(axis=1)
    normaliser = highest + np.log(np.exp(logits - highest[:, None]).sum(axis=1))
    nats = normaliser - logits[np.arange(len(targets)), targets]
    return float(nats.sum()), float(len(targets))


def torch_losses(
    model: torch.nn.Module,
    rows: Sequence[Labelled],
    on_done: Progress | None = None,
    token_budget: int | None = None,
) -> list[Ratio]:
    """(Σ -ln p, answer tokens) of each row, from a transformers causal model (PEFT-wrapped or not).

    Rows of similar length share a batch; what all rows begin with (a system prompt) is
    computed once; and where the model takes ``logits_to_keep`` the head is applied only
    where some row of the batch has an answer token next.

    Args:
        model: in evaluation mode; it is not changed.
        rows: tokenised rows.
        on_done: progress.
        token_budget: padded tokens in a batch; default: what keeps the logits within :data:`LOGITS_BUDGET`.
    """
    import torch

    budget = token_budget or LOGITS_BUDGET // _inner(model).config.get_text_config().vocab_size

    losses: list[Ratio] = [(0.0, 0.0)] * len(rows)
    scored = [i for i, row in enumerate(rows) if answer_positions(row)]
    with torch.inference_mode():
        start = _start(model, [rows[i] for i in scored])
        done = len(rows) - len(scored)
        for batch in batches([len(rows[i].input_ids) - start.length for i in scored], budget):
            indexes = [scored[i] for i in batch]
            for index, ratio in zip(indexes, _batch_losses(model, [rows[i] for i in indexes], start), strict=True):
                losses[index] = ratio
            done += len(batch)
            if on_done:
                on_done(done)
    return losses


@dataclass(frozen=True)
class _Start:
    """What all rows begin with, computed once.

    Attributes:
        length: tokens.
        cache: the model's cache after them; None when there are too few to matter.
    """

    length: int
    cache: Any = None


def _start(model: torch.nn.Module, rows: Sequence[Labelled]) -> _Start:
    """The common beginning of ``rows``, up to the first token whose prediction is scored in any of them."""
    import torch
    from transformers import DynamicCache

    ends = [answer_positions(row)[0] - 1 for row in rows]
    length = common_prefix([row.input_ids[:end] for row, end in zip(rows, ends, strict=True)]) if len(rows) > 1 else 0
    if length < MIN_SHARED:
        return _Start(0)
    device = next(model.parameters()).device
    cache = DynamicCache(config=_inner(model).config)
    ids = torch.tensor([list(rows[0].input_ids[:length])], device=device)
    model(
        input_ids=ids,
        past_key_values=cache,
        use_cache=True,
        **_only(model, torch.zeros(1, dtype=torch.long, device=device)),
    )
    return _Start(length, cache)


def batches(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indexes grouped by length, longest first, so that rows times longest row stays within the budget.

    >>> batches([3, 9, 4, 2], token_budget=10)
    [[1], [2, 0], [3]]
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= token_budget:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _batch_losses(model: torch.nn.Module, rows: Sequence[Labelled], start: _Start) -> list[Ratio]:
    import torch

    device = next(model.parameters()).device
    width = max(len(row.input_ids) for row in rows) - start.length
    # Padding on the right: real tokens keep their positions and never see it; its id is of no consequence.
    ids = torch.zeros((len(rows), width), dtype=torch.long)
    targets = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    mask = torch.zeros((len(rows), start.length + width), dtype=torch.long)
    for i, row in enumerate(rows):
        n = len(row.input_ids) - start.length
        ids[i, :n] = torch.tensor(row.input_ids[start.length :])
        targets[i, : n - 1] = torch.tensor(row.labels[start.length + 1 :])
        mask[i, : start.length + n] = 1
    columns = (targets != IGNORED).any(dim=0).nonzero().flatten()
    cache = copy.deepcopy(start.cache)
    if cache is not None:
        cache.batch_repeat_interleave(len(rows))
    output = model(
        input_ids=ids.to(device),
        attention_mask=mask.to(device),
        past_key_values=cache,
        use_cache=cache is not None,
        **(only := _only(model, columns.to(device))),
    )
    logits = output.logits if only else output.logits[:, columns.to(device)]
    return _sum_by_row(logits, targets[:, columns].to(device))


def _only(model: torch.nn.Module, columns: torch.Tensor) -> dict[str, torch.Tensor]:
    """The argument that applies the head to some columns only, where the model has one."""
    has_it = "logits_to_keep" in inspect.signature(_inner(model).forward).parameters
    return {"logits_to_keep": columns} if has_it else {}


def _inner(model: torch.nn.Module) -> Any:
    """The transformers model inside a PEFT one, whose own forward takes anything."""
    inner: Any = model
    return inner.get_base_model() if hasattr(model, "get_base_model") else inner


def _sum_by_row(logits: torch.Tensor, targets: torch.Tensor) -> list[Ratio]:
    """Logits (rows, columns, vocabulary) and targets (rows, columns) → one ratio a row."""
    import torch

    counted = targets != IGNORED
    nats = torch.nn.functional.cross_entropy(logits[counted].float(), targets[counted], reduction="none")
    rows = counted.nonzero()[:, 0]
    sums = torch.zeros(len(targets), dtype=torch.float32, device=nats.device).index_add_(0, rows, nats)
    return list(zip(sums.tolist(), counted.sum(dim=1).float().tolist(), strict=True))
