"""One tensor of a safetensors file at a time: its file is closed again, so memory holds nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgetune.errors import ModelError
from edgetune.extras import require
from edgetune.models.weights import ITEM_BYTES, StoredTensor, tensor_shapes

if TYPE_CHECKING:
    import torch

#: Types that hold plain numbers.
PLAIN_TYPES = ("F64", "F32", "F16", "BF16")


def list_tensors(folder: Path) -> dict[str, StoredTensor]:
    """Names, shapes and types of all tensors of a folder, from the headers alone.

    Raises:
        ModelError: no safetensors, a shard is missing, a file is damaged, or a tensor is
            not made of plain floating-point numbers.
    """
    tensors = tensor_shapes(folder)
    odd = [f"{name}: {tensor.dtype}" for name, tensor in tensors.items() if tensor.dtype not in PLAIN_TYPES]
    if odd:
        raise ModelError(
            f"{folder}: {len(odd)} tensors are not plain floating-point numbers, such as {odd[0]}",
            hint="use the unquantised model",
            problems=odd,
        )
    return tensors


def read_tensor(name: str, stored: StoredTensor) -> torch.Tensor:
    """The values of one tensor, as stored. They may lie in the file itself: never change them in place.

    Raises:
        ModelError: the file is gone or damaged.
    """
    safetensors = require("safetensors", extra="train", needed_for="reading model weights")
    require("torch", extra="train", needed_for="reading model weights")
    try:
        with safetensors.safe_open(stored.file, framework="pt", device="cpu") as handle:
            tensor: torch.Tensor = handle.get_tensor(name)
            return tensor
    except (OSError, safetensors.SafetensorError) as error:
        raise ModelError(f"cannot read {stored.file}: {error}", hint="fetch the model, or train, again") from error


def stored_bytes(stored: StoredTensor) -> int:
    """Size of a tensor in its file."""
    return stored.elements * ITEM_BYTES[stored.dtype]
