"""A LoRA layer as one differentiable step, instead of the dozen small ones PEFT takes.

y = x Wᵀ + s (x Aᵀ) Bᵀ, W frozen. PEFT computes the two terms apart, scales the second
and adds it: three more passes over an activation-sized tensor forward and as many
backward. Here B's product accumulates into the base's output inside the matrix
product, and the backward pass does the same for x:

    h = x Aᵀ              y = x Wᵀ; y += s h Bᵀ
    g = s dY B            dX = dY W; dX += g A
    dA = gᵀ x             dB = s dYᵀ h

Adapters stay PEFT's own parameters, so saving, loading and merging are PEFT's. Same
numbers up to rounding (``tests/training/test_fast_lora.py``), any device.
"""

from __future__ import annotations

from functools import cache
from types import MethodType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def speed_up(model: torch.nn.Module) -> int:
    """Give every plain LoRA linear layer of a PEFT model the fused step; returns how many got it.

    Left alone: dropout, DoRA, biases in the adapter, packed 4-bit weights, several active adapters.
    """
    from peft.tuners.lora import Linear

    count = 0
    for layer in model.modules():
        if type(layer) is Linear and _is_plain(layer):
            layer.forward = MethodType(_forward, layer)
            count += 1
    return count


def _is_plain(layer: Any) -> bool:
    import torch

    (*_, name) = layer.lora_A.keys()
    return (
        len(layer.lora_A) == 1
        and type(layer.get_base_layer()) is torch.nn.Linear
        and not layer.get_base_layer().weight.requires_grad
        and isinstance(layer.lora_dropout[name], torch.nn.Identity)
        and not layer.use_dora[name]
        and layer.lora_B[name].bias is None
        and not layer.fan_in_fan_out
    )


def _forward(layer: Any, x: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
    base = layer.get_base_layer()
    if layer.disable_adapters or layer.merged:
        return base(x)  # type: ignore[no-any-return]
    (name,) = layer.lora_A.keys()
    down, up = layer.lora_A[name].weight, layer.lora_B[name].weight
    x = x.to(base.weight.dtype)  # differs under autocast, or where a norm answers in float32
    result: torch.Tensor = _function().apply(x, base.weight, base.bias, down, up, layer.scaling[name])
    return result


@cache
def _function() -> Any:
    import torch

    class LoraLinear(torch.autograd.Function):
        """See the module's docstring. Computes in the weight's type, whatever autocast is set to."""

        @staticmethod
        def forward(  # noqa: PLR0913, PLR0917  # one argument for each input that autograd must see
            ctx: Any,
            x: torch.Tensor,
            weight: torch.Tensor,
            bias: torch.Tensor | None,
            down: torch.Tensor,
            up: torch.Tensor,
            scale: float,
        ) -> torch.Tensor:
            flat = x.reshape(-1, x.shape[-1])
            down, up = down.to(x.dtype), up.to(x.dtype)
            with torch.autocast(x.device.type, enabled=False):
                hidden = flat @ down.T
                y = torch.nn.functional.linear(flat, weight, bias)
                y.addmm_(hidden, up.T, alpha=scale)
            ctx.save_for_backward(flat, weight, down, up, hidden)
            ctx.scale = scale
            return y.view(*x.shape[:-1], -1)

        @staticmethod
        def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
            flat, weight, down, up, hidden = ctx.saved_tensors
            dy = grad.reshape(-1, grad.shape[-1])
            dx = None
            with torch.autocast(grad.device.type, enabled=False):
                inner = (dy @ up).mul_(ctx.scale)
                d_down = inner.T @ flat
                d_up = (dy.T @ hidden).mul_(ctx.scale)
                if ctx.needs_input_grad[0]:
                    dx = (dy @ weight).addmm_(inner, down).view(*grad.shape[:-1], -1)
            return dx, None, None, d_down, d_up, None

    return LoraLinear
