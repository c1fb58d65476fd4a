"""One tensor of a safetensors file at a time: its file is closed again, so memory holds nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgetune.errors import ModelError
from edgetune.extras import require
from edgetune.models.weights import ITEM_BYTES, StoredTensor, tensor_shapes

if TYPE_CHECKING:
    import torch

#: Types that hold plain numbers.
PLAIN_TYPES = ("F64", "F32", "F16", "BF16")
_TORCH_NAMES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


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


def read_rows(stored: StoredTensor, start: int, stop: int) -> torch.Tensor:
    """Some rows of a tensor, as stored, in memory of their own.

    Read, not mapped: pages of a mapped file count as memory of the process as long as the map lasts.

    Raises:
        ModelError: the file is gone or damaged.
    """
    require("torch", extra="train", needed_for="reading model weights")
    import torch

    width = stored_bytes(stored) // stored.shape[0]
    data = np.empty((stop - start) * width, dtype=np.uint8)
    try:
        with stored.file.open("rb", buffering=0) as handle:
            handle.seek(stored.start + start * width)
            read = handle.readinto(data.data)
    except OSError as error:
        raise ModelError(f"cannot read {stored.file}: {error}", hint="fetch the model, or train, again") from error
    if read != data.nbytes:
        raise ModelError(f"{stored.file} is truncated", hint="fetch the model, or train, again")
    rows = torch.from_numpy(data).view(getattr(torch, _TORCH_NAMES[stored.dtype]))
    return rows.reshape(stop - start, *stored.shape[1:])


def stored_bytes(stored: StoredTensor) -> int:
    """Size of a tensor in its file."""
    return stored.elements * ITEM_BYTES[stored.dtype]
