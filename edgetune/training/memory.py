"""Memory: how much is free, how much a training needs at least, how much it took."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from edgetune.errors import OutOfMemory
from edgetune.machine import peak_rss, this_machine

if TYPE_CHECKING:
    import torch


def available_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on a device, as far as it can be known."""
    import torch

    if device.type == "cuda":
        return torch.cuda.mem_get_info()[0]
    machine = this_machine()
    known = [size for size in (machine.memory_available, machine.memory_limit) if size is not None]
    return min(known) if known else sys.maxsize


def trainable_parameters(model: torch.nn.Module) -> int:
    """How many numbers train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def require_memory(model: torch.nn.Module, device: torch.device) -> int:
    """Check that what surely must be held fits: gradients and AdamW's two moments of what trains.

    The weights are loaded already. Activations come on top and depend on the batch, so
    this is a lower bound.

    Returns:
        The bytes needed.

    Raises:
        OutOfMemory: they do not fit.
    """
    trained = trainable_parameters(model)
    needed = trained * 4 * 3
    free = available_memory(device)
    if needed > free:
        raise OutOfMemory(
            f"training {trained / 1e6:.0f} M parameters needs at least {needed / 1e9:.1f} GB more memory on "
            f"{device.type}, which has {free / 1e9:.1f} GB free",
            hint="train an adapter instead: --method qlora",
        )
    return needed


def peak_memory(device: str) -> dict[str, Any]:
    """Peak so far: resident set of this process, and what torch allocated on an accelerator. Bytes."""
    import torch

    peaks: dict[str, Any] = {"peak_rss": peak_rss()}
    if device == "cuda":
        peaks["peak_cuda"] = torch.cuda.max_memory_allocated()
    return peaks
