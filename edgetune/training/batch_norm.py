"""Batch norms while a model is adapted: what is not trained must not move, and what is must move slowly."""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

#: PyTorch's own: the share of a batch in the running mean and variance.
MOMENTUM = 0.1


def settle_batch_norms(model: torch.nn.Module) -> None:
    """Freeze the statistics of frozen batch norms, and give the others PyTorch's momentum.

    In training mode a batch norm moves its running mean and variance even where its weights are frozen. No adapter file
    holds those, so the exported model would not be the one that was evaluated.

    transformers gives some models TensorFlow's momentum, which is the share of the *past*: 0.997 in MobileNetV2, 0.99
    in EfficientNet. PyTorch takes it for the share of the batch, and the statistics would be those of the last batch.
    """
    import torch

    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):  # noqa: SLF001  # the class above 1d, 2d and 3d
            if any(weight.requires_grad for weight in module.parameters()):
                module.momentum = None if module.momentum is None else min(module.momentum, MOMENTUM)
            else:
                module.eval()
                module.train = MethodType(_stay, module)  # type: ignore[method-assign]


def _stay(module: Any, mode: bool = True) -> Any:
    """In evaluation mode, whatever the model around it is set to."""
    del mode
    return module
