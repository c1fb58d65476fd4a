"""NF4, the 4-bit type of QLoRA (Dettmers et al., 2023, arXiv 2305.14314), by bitsandbytes.

One function serves training and merging, so both see the same rounded weights to the bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgetune.extras import require

if TYPE_CHECKING:
    import torch

#: Weights that share one scale, as in the paper.
BLOCK_SIZE = 64


def nf4_round_trip(weight: torch.Tensor) -> torch.Tensor:
    """Quantise a weight to NF4 with double quantisation and return it dequantised.

    Args:
        weight: shape (rows, columns), a floating type, on any device.

    Returns:
        The values a 4-bit layer computes with: same shape, type and device.

    Raises:
        MissingExtra: bitsandbytes is not installed.
    """
    functional = require("bitsandbytes.functional", extra="train", needed_for="NF4 (QLoRA)")
    codes, state = functional.quantize_4bit(
        weight.contiguous(), blocksize=BLOCK_SIZE, compress_statistics=True, quant_type="nf4"
    )
    restored: torch.Tensor = functional.dequantize_4bit(codes, state).to(weight.dtype).reshape(weight.shape)
    return restored


def nf4_as_trained(weight: torch.Tensor, dtype: str) -> torch.Tensor:
    """What a 4-bit layer computed with in a training whose base was loaded in ``dtype`` before it was quantised.

    A weight cast to bfloat16 first has other block maxima, so other codes, and comes back in bfloat16.

    Args:
        weight: shape (rows, columns), of the base as stored.
        dtype: ``float32`` or ``bfloat16``.

    Returns:
        A new tensor of the shape and type of ``weight``.
    """
    import torch

    return nf4_round_trip(weight.to(getattr(torch, dtype))).to(weight.dtype)
