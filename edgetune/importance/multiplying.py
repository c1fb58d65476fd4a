"""Products of a layer's inputs with one another, E[x xᵀ]: what a quantiser needs that makes up for its errors.

The squared inputs say what an error in one column costs. Errors of several columns add up or cancel as their inputs go
together, and that is in the products: a product W x is off by ΔW·E[x xᵀ]·ΔWᵀ, expected and squared (Frantar et al.,
2023, "GPTQ").
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel


class Products:
    """Sums over tokens of x xᵀ, while :func:`multiplying` is open.

    Attributes:
        sums: module → (inputs, inputs) float32. Modules that read the same tensor, as q, k and v do, share one.
    """

    def __init__(self) -> None:
        self.sums: dict[str, torch.Tensor] = {}
        self._last: tuple[torch.Tensor, str] | None = None

    def add(self, name: str, inputs: torch.Tensor) -> None:
        """Of one module."""
        if self._last is not None and self._last[0] is inputs:
            self.sums[name] = self.sums[self._last[1]]
            return
        self._last = (inputs, name)
        flat = inputs.detach().float().flatten(0, -2)
        if name in self.sums:
            self.sums[name].addmm_(flat.T, flat)
        else:
            self.sums[name] = flat.T @ flat


def products_bytes(model: PreTrainedModel) -> int:
    """Of all products, at most: layers that read the same tensor share one."""
    from edgetune.training.methods import linear_layers

    widths = [layer.in_features for layer in linear_layers(model).values()]
    hidden: int = model.config.get_text_config().hidden_size
    return 4 * (sum(width**2 for width in widths) + hidden**2)


@contextmanager
def multiplying(model: PreTrainedModel) -> Iterator[Products]:
    """While open, the inputs of each linear layer are added to what is yielded; those of the head too."""
    from edgetune.training.methods import linear_layers

    found = Products()
    names = {id(module): name for name, module in model.named_modules()}
    head: Any = model.get_output_embeddings()  # type: ignore[no-untyped-call]
    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: found.add(name, inputs[0]))
        for name, layer in linear_layers(model).items()
    ]
    if head is not None:  # only some positions may reach the head itself

        def read(_module: object, _inputs: object, output: Any) -> None:
            found.add(names[id(head)], output.last_hidden_state)

        hooks.append(model.base_model.register_forward_hook(read))
    try:
        yield found
    finally:
        for hook in hooks:
            hook.remove()
