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
