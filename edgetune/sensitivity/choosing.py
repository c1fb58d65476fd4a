"""From sensitivities to settings, each with its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetune.data.advice import Advice
from edgetune.recipe import MethodSettings
from edgetune.sensitivity.figures import Share, adapter_size, by_block, by_kind, in_blocks, kept, shares, total
from edgetune.sensitivity.record import RANKS, LayerGradients

#: What a smaller adapter, or a smaller rank, must keep.
ENOUGH = 0.9
#: Only an adapter that is this much smaller is proposed in place of all layers, which is what most experience is with.
SMALLER = 0.5


def choose(layers: Sequence[LayerGradients], method: MethodSettings) -> tuple[Advice, ...]:
    """Modules and rank for an adapter; nothing where the rows do not agree on a gradient.

    Args:
        layers: as measured.
        method: as in the recipe: an alpha that it names keeps its ratio to the rank.
    """
    inside = in_blocks(layers)
    if not total(inside).low > 0:
        return ()
    chosen, why = _targets(inside)
    adapted = [layer for layer in layers if layer in chosen or layer not in inside]
    return Advice("method.target_modules", names_of(adapted, layers), why), *_rank(chosen, method)


def _targets(layers: Sequence[LayerGradients]) -> tuple[Sequence[LayerGradients], str]:
    """The smallest adapter that holds enough of the sensitivity, if it is much smaller than that of all layers."""
    options = [(word, _strongest(shares(layers, part))) for word, part in (("kinds", by_kind), ("blocks", by_block))]
    sized = [(sum(share.weights for share in some), word, some) for word, some in options]
    weights, word, some = min(sized, key=lambda one: one[0])
    held = sum(share.figure.value for share in some)
    there = f"{len(some)} {word} of layers" if word == "kinds" else f"{len(some)} blocks"
    said = f"{there} hold {held:.0%} of the sensitivity with {weights:.0%} of an adapter's weights"
    if weights > SMALLER:
        return layers, f"sensitivity is spread out: {said}, too little saved for what it could cost"
    return [layer for share in some for layer in share.layers], f"{said}: {', '.join(share.name for share in some)}"


def _strongest(parts: Sequence[Share]) -> list[Share]:
    """The most sensitive parts that together hold enough."""
    some: list[Share] = []
    for share in sorted(parts, key=lambda one: -one.figure.value):
        some.append(share)
        if sum(one.figure.value for one in some) >= ENOUGH:
            break
    return some


def names_of(chosen: Sequence[LayerGradients], layers: Sequence[LayerGradients]) -> str | tuple[str, ...]:
    """Layers as ``method.target_modules`` names them: by kind where that means no others, else one by one."""
    if len(chosen) == len(layers):
        return "auto"
    wanted = {layer.name for layer in chosen}
    kinds = tuple(dict.fromkeys(layer.kind for layer in chosen))
    if {layer.name for layer in layers if is_target(layer.name, kinds)} == wanted:
        return kinds
    return tuple(layer.name for layer in layers if layer.name in wanted)


def is_target(name: str, targets: str | Sequence[str]) -> bool:
    """Whether ``method.target_modules`` means a layer, as PEFT reads it: by its name or the end of it."""
    return isinstance(targets, str) or any(name == one or name.endswith(f".{one}") for one in targets)


def _rank(chosen: Sequence[LayerGradients], method: MethodSettings) -> Iterator[Advice]:
    found = {rank: kept(chosen, rank) for rank in RANKS}
    enough = next((rank for rank, figure in found.items() if figure.value >= ENOUGH), None)
    rank = enough or RANKS[-1]
    figure = found[rank]
    spread = f"{figure.value:.0%} ({figure.low:.0%} and {figure.high:.0%} from either half of the rows)"
    least = "the smallest rank that keeps" if enough else "the largest proposed; it keeps"
    size = f"an adapter of {rank * adapter_size(chosen):,} weights"
    why = f"{least} {spread} of what a step of full rank takes from the loss to first order; {size}"
    yield Advice("method.rank", rank, why)
    if method.alpha is not None and rank != method.rank:
        alpha = method.alpha * rank / method.rank
        yield Advice("method.alpha", alpha, "keeps the recipe's ratio of alpha to rank")
