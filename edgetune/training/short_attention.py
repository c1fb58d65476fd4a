"""Attention over short rows on a processor: two matrix products around a soft-max.

PyTorch's fused attention for processors cuts long sequences into blocks. Over rows of some
fifty tokens its backward pass takes twice (float32) to three times (bfloat16) as long as the
plain form; from some 250 tokens on the fused one wins (``docs/decisions/0004-training-speed.md``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: Keys up to which the plain form is taken.
LONGEST = 160


def attend(  # noqa: PLR0913  # the operands of one formula
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    seen: torch.Tensor,
    *,
    scaling: float | None,
    dropout: float,
) -> torch.Tensor:
    """soft-max(scaling · Q Kᵀ) V, in the form that is quick for the device and the lengths.

    Args:
        query: (rows, heads, queries, width).
        key: (rows, key heads, keys, width); ``heads`` is a multiple of ``key heads``.
        value: like ``key``.
        seen: (queries, keys), True where a query may look.
        scaling: of the dot products; default 1/√width.
        dropout: on the attention weights.

    Returns:
        (rows, heads, queries, width).
    """
    from torch.nn.functional import scaled_dot_product_attention

    if query.device.type == "cpu" and not dropout and key.shape[2] <= LONGEST:
        return plain(query, key, value, seen, query.shape[3] ** -0.5 if scaling is None else scaling)
    grouped = query.shape[1] != key.shape[1]
    return scaled_dot_product_attention(
        query, key, value, attn_mask=seen, dropout_p=dropout, scale=scaling, enable_gqa=grouped
    )


def plain(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, seen: torch.Tensor, scaling: float
) -> torch.Tensor:
    """The formula as it stands; shapes as for :func:`attend`. Heads that share keys are one product with more rows."""
    import torch

    rows, heads, queries, width = query.shape
    groups = rows * key.shape[1]
    stacked = query.reshape(groups, -1, width)  # (rows · key heads, heads a key head · queries, width)
    hidden = torch.zeros(seen.shape, dtype=query.dtype, device=query.device).masked_fill_(~seen, float("-inf"))
    scores = torch.baddbmm(
        hidden.repeat(heads // key.shape[1], 1),
        stacked,
        key.reshape(groups, -1, width).transpose(1, 2),
        alpha=scaling,
    )
    return torch.bmm(scores.softmax(-1), value.reshape(groups, -1, width)).view(rows, heads, queries, width)
