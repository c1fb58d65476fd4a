"""One batch as one sequence: no padding, the common beginning computed once, no cross-talk.

The rows of a batch share their first tokens (system prompt, template header). Those
tokens see only themselves, so their hidden states are the same in every row: they are
laid down once, followed by the rest of each row::

    prefix | rest of row 0 | rest of row 1 | …        one sequence, T tokens

Every linear layer runs over T tokens without padding. Only attention needs to know
about rows: a row's rest attends to the prefix and to itself. For that the rests are
gathered into a (rows, longest) grid, attended, and scattered back. Loss and gradients
equal those of the padded batch up to rounding (``tests/training/test_packing.py``),
on any device, for any model that takes its attention from transformers'
``AttentionInterface``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgetune.data.encoding import IGNORE
from edgetune.training.short_attention import attend

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from edgetune.data.templating import Encoded

#: Name under which the attention function is registered with transformers.
ATTENTION = "edgetune_packed"


def common_prefix(rows: Sequence[Encoded]) -> int:
    """How many leading tokens may be shared: equal in all rows, and predicting nothing in any.

    The token that predicts a row's first label stays in the row, so that each row
    counts its own loss.
    """
    limit = min(_first_label(row.labels) - 1 for row in rows)
    first = rows[0].input_ids
    for position in range(max(0, limit)):
        if any(row.input_ids[position] != first[position] for row in rows):
            return position
    return max(0, limit)


def _first_label(labels: Sequence[int]) -> int:
    return next((i for i, label in enumerate(labels) if label != IGNORE and i > 0), len(labels))


def pack(rows: Sequence[Encoded], *, share_prefix: bool = True) -> dict[str, torch.Tensor]:
    """Lay a batch out as one sequence.

    Returns:
        ``input_ids``, ``position_ids``: (1, T).
        ``grid``: (rows, longest), the index in the sequence of each grid cell; cells past
        a row's end point at index 0 and are never read back.
        ``cells``: (T - prefix,), the flat grid cell of each token after the prefix.
        ``logits_to_keep``: (N,), positions whose next token is trained on.
        ``shift_labels``: (1, N), those next tokens.
        ``tokens``: (), tokens of all rows as the user counts them, without sharing.
    """
    import torch

    prefix = common_prefix(rows) if share_prefix else 0
    lengths = [len(row.input_ids) - prefix for row in rows]
    grid = torch.zeros(len(rows), max(lengths), dtype=torch.long)
    ids = list(rows[0].input_ids[:prefix])
    positions = list(range(prefix))
    cells: list[int] = []
    keep: list[int] = []
    targets: list[int] = []
    for number, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        start = len(ids)
        grid[number, :length] = torch.arange(start, start + length)
        cells.extend(range(number * grid.shape[1], number * grid.shape[1] + length))
        ids.extend(row.input_ids[prefix:])
        positions.extend(range(prefix, prefix + length))
        for at in range(prefix + 1, prefix + length):
            if row.labels[at] != IGNORE:
                keep.append(start + at - prefix - 1)
                targets.append(row.labels[at])
    return {
        "input_ids": torch.tensor([ids]),
        "position_ids": torch.tensor([positions]),
        "grid": grid,
        "cells": torch.tensor(cells),
        "logits_to_keep": torch.tensor(keep, dtype=torch.long),
        "shift_labels": torch.tensor([targets], dtype=torch.long),
        "tokens": torch.tensor(sum(len(row.input_ids) for row in rows)),
    }


def register_attention() -> None:
    """Make the packed attention known to transformers (idempotent).

    No mask function is registered with it: transformers then builds no mask at all.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)


def unsupported_reason(model: PreTrainedModel) -> str | None:
    """Why a model cannot run packed, or None when it can."""
    text = model.config.get_text_config()
    if not getattr(model, "_supports_attention_backend", False):
        return "the model does not take its attention from transformers"
    if getattr(text, "attn_logit_softcapping", None):
        return "its attention caps logits, which fused attention cannot"
    if getattr(text, "attention_chunk_size", None):
        return "it uses chunked attention"
    if any(kind not in ("full_attention", "sliding_attention") for kind in getattr(text, "layer_types", None) or ()):
        return "not all of its layers are plain attention"
    return None


def packed_attention(  # noqa: PLR0913  # transformers calls it with these
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    grid: torch.Tensor,
    cells: torch.Tensor,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """Attention over a packed batch; the signature transformers calls.

    Args:
        module: the attention layer; unused.
        query: (1, heads, T, width).
        key: (1, key heads, T, width).
        value: (1, key heads, T, width).
        attention_mask: None, since none is registered.
        grid: see :func:`pack`.
        cells: see :func:`pack`.
        scaling: of the dot products; default 1/√width.
        dropout: on the attention weights.
        sliding_window: keys further back than this are not seen.

    Returns:
        (1, T, heads, width) and None.
    """
    import torch

    del module, attention_mask
    prefix = query.shape[2] - cells.shape[0]
    rows, longest = grid.shape
    flat_query, flat_key, flat_value = (part[0].transpose(0, 1) for part in (query, key, value))  # (T, heads, width)
    look = partial(attend, scaling=scaling, dropout=dropout)

    def rest(flat: torch.Tensor) -> torch.Tensor:
        picked = flat.index_select(0, grid.flatten())
        return picked.view(rows, longest, *flat.shape[1:]).transpose(1, 2)

    def with_prefix(flat: torch.Tensor) -> torch.Tensor:
        shared = flat[:prefix].transpose(0, 1).expand(rows, -1, -1, -1)
        return torch.cat([shared, rest(flat)], dim=2)

    mask = _mask(prefix, longest, sliding_window, query.device)
    attended = look(rest(flat_query), with_prefix(flat_key), with_prefix(flat_value), mask[prefix:])
    result = attended.transpose(1, 2).reshape(rows * longest, *flat_query.shape[1:]).index_select(0, cells)
    if prefix:
        first = look(query[:, :, :prefix], key[:, :, :prefix], value[:, :, :prefix], mask[:prefix, :prefix])
        result = torch.cat([first[0].transpose(0, 1), result])
    return result.unsqueeze(0), None


def _mask(prefix: int, longest: int, sliding_window: int | None, device: torch.device) -> torch.Tensor:
    """Causal mask over prefix and rest, True where seen: (prefix + longest, prefix + longest)."""
    import torch

    position = torch.arange(prefix + longest, device=device)
    distance = position[:, None] - position[None, :]
    seen = distance >= 0
    return seen & (distance < sliding_window) if sliding_window else seen
