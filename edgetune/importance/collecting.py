"""Run the trained model over text and add up the squared inputs of its linear layers.

What a column of a weight is multiplied with decides how much an error in it costs: the expected squared error of a
product is, inputs taken as uncorrelated, Σ_j E[x_j²] (ΔW_ij)². llama.cpp calls these sums an importance matrix.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING

import numpy as np

from edgetune import console
from edgetune.errors import DataError, ModelError
from edgetune.exporters import Importance
from edgetune.importance.multiplying import multiplying, products_bytes
from edgetune.memory import require_memory

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

#: Tokens of general text that are run through the model at a time.
PASSAGE = 256


def passages(ids: Sequence[int], tokens: int, seed: int) -> list[Sequence[int]]:
    """Pieces of a long text, drawn without overlap, together about ``tokens`` long."""
    starts = list(range(0, max(1, len(ids) - PASSAGE + 1), PASSAGE))
    chosen = Random(seed).sample(starts, min(len(starts), -(-tokens // PASSAGE)))  # noqa: S311  # no secret
    return [ids[start : start + PASSAGE] for start in sorted(chosen)]


def rows_within(rows: Sequence[Sequence[int]], tokens: int, seed: int) -> list[Sequence[int]]:
    """Rows drawn until they are ``tokens`` long together, at least one."""
    chosen: list[Sequence[int]] = []
    for row in Random(seed).sample(list(rows), len(rows)):  # noqa: S311  # no secret
        if sum(map(len, chosen)) >= tokens:
            break
        chosen.append(row)
    return chosen


def collect(
    model: PreTrainedModel, texts: Sequence[Sequence[int]], names: Sequence[str], *, products: bool = False
) -> Importance:
    """Add up the squared inputs of every linear layer but the head.

    Args:
        model: as it is to be exported.
        texts: token ids; each is run for itself.
        names: where the texts are from, for people.
        products: also those of inputs with one another, and of the head.

    Raises:
        DataError: there is no text.
        ModelError: the model computes what is no number.
        OutOfMemory: the products are too many.
    """
    tokens = sum(map(len, texts))
    if not tokens:
        raise DataError("no text to run the model over", hint="give training rows, or a text that is not empty")
    model.eval()  # type: ignore[no-untyped-call]
    if products:
        require_memory(products_bytes(model), "adding up the products of inputs")
        with multiplying(model) as found:
            _run(model, texts)
        arrays = {id(total): total.cpu().numpy() for total in found.sums.values()}
        whole = {name: arrays[id(total)] for name, total in found.sums.items()}
        squares = {name: np.ascontiguousarray(one.diagonal()) for name, one in whole.items()}
        if wrong := [name for name, one in squares.items() if not np.isfinite(one).all()]:
            raise ModelError(
                f"what goes into {wrong[0]} is not finite on the training rows", hint="train again, at a lower rate"
            )
        return Importance(squares, tokens, tuple(names), products=whole)
    with _counting(model) as sums:
        _run(model, texts)
    counted = {name: total.cpu().numpy().astype(np.float32) for name, total in sums.items()}
    return Importance(counted, tokens, tuple(names))


def _run(model: PreTrainedModel, texts: Sequence[Sequence[int]]) -> None:
    import torch

    with torch.inference_mode(), console.progress("Collecting activations", sum(map(len, texts)), "tokens") as bar:
        for ids in texts:
            model(input_ids=torch.tensor([list(ids)], device=model.device), use_cache=False, logits_to_keep=1)
            bar.advance(len(ids))


@contextmanager
def _counting(model: PreTrainedModel) -> Iterator[dict[str, torch.Tensor]]:
    """While open, the squared inputs of each layer are added to what is yielded, in float64."""
    import torch

    from edgetune.training.methods import linear_layers

    layers = linear_layers(model)
    sums = {
        name: torch.zeros(layer.in_features, dtype=torch.float64, device=layer.weight.device)
        for name, layer in layers.items()
    }

    def add(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
        sums[name] += inputs[0].detach().double().flatten(0, -2).square().sum(0)

    hooks = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: add(name, inputs))
        for name, layer in layers.items()
    ]
    try:
        yield sums
    finally:
        for hook in hooks:
            hook.remove()
