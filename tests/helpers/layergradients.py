"""Gradients of made-up layers, as they would be stored."""

from __future__ import annotations

from edgetune.sensitivity.record import RANKS, LayerGradients


def layer(
    name: str,
    block: int | None,
    kind: str,
    *,
    squared: float = 1.0,
    noise: float = 0.0,
    rank: int = 4,
    size: tuple[int, int] = (8, 8),
) -> LayerGradients:
    """A layer of weight norm 1.

    Args:
        name: of it.
        block: it lies in.
        kind: the rest of the name.
        squared: the product of any two groups of rows.
        noise: how far products with the first group lie above that, and those without it below.
        rank: of the gradient, each direction as strong as the others.
        size: outputs and inputs.
    """
    products = tuple(
        tuple(9.0 if i == j else squared + noise * (1 if 0 in (i, j) else -1) for j in range(4)) for i in range(4)
    )
    across = sum(products[i][j] for i in (0, 1) for j in (2, 3)) / 4
    kept = tuple(across * min(one, rank) / rank for one in RANKS)
    return LayerGradients(
        name=name,
        block=block,
        kind=kind,
        outputs=size[0],
        inputs=size[1],
        weight_norm=1.0,
        products=products,
        kept=(kept, kept),
    )


def llama(blocks: int, **strong: float) -> tuple[LayerGradients, ...]:
    """Blocks of q_proj and up_proj; ``strong`` are squared norms by kind or by ``bN``, all others have 0.01."""
    kinds = {"q_proj": "self_attn.q_proj", "up_proj": "mlp.up_proj"}
    return tuple(
        layer(f"model.layers.{n}.{kind}", n, kind, squared=strong.get(word, strong.get(f"b{n}", 0.01)))
        for n in range(blocks)
        for word, kind in kinds.items()
    )
