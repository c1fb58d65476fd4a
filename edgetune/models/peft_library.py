"""The door to PEFT: imported without its neighbours' chatter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from edgetune.extras import require


def load_peft(needed_for: str) -> ModuleType:
    """Import PEFT.

    Raises:
        MissingExtra: it is not installed.
    """
    return require("peft", extra="train", needed_for=needed_for)


@contextmanager
def renamed_names_allowed() -> Iterator[None]:
    """Around calls in which PEFT asks transformers by names that it has renamed: of no use to who trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def show_shapes(model: Any) -> None:
    """Let convolutions with an adapter show their own stride, kernel and dilation.

    PEFT puts a layer around them that has none, and MobileNetV2 asks for them where it pads as TensorFlow does.
    """
    import torch

    for layer in model.modules():
        inner = layer.get_base_layer() if hasattr(layer, "get_base_layer") else None
        if isinstance(inner, torch.nn.Conv2d):
            layer.stride, layer.kernel_size, layer.dilation = inner.stride, inner.kernel_size, inner.dilation
