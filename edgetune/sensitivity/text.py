"""A suggestion as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgetune.sensitivity.figures import DEFINITION, KEPT_DEFINITION, Share, by_block, by_kind, in_blocks, kept, shares
from edgetune.sensitivity.record import RANKS, LayerGradients, Sensitivity, Suggestion

NOTHING = (
    "nothing is proposed: the gradients of the groups of rows do not agree well enough to tell layers apart; "
    "more --rows may tell"
)
GUESS = (
    "This is a guess from the first step of a training; only trainings measure. Neither validation nor held-out rows "
    "were looked at."
)
#: More names of modules than this are shortened.
_NAMES = 8


def to_text(suggestion: Suggestion) -> str:
    """Where the sensitivity lies, what each rank keeps, and what is proposed, with reasons."""
    found = suggestion.sensitivity
    if not suggestion.changes:
        return f"{_head(found)}\n\n{NOTHING}"
    layers = in_blocks(found.layers)
    lines = [_head(found), "", *_table("kind", shares(layers, by_kind))]
    lines += ["", *_table("block", shares(layers, by_block)), "", *_ranks(layers), *_outside(found.layers)]
    lines += ["", "[ ] are 95 % jackknife intervals over groups of rows", f"  share: {DEFINITION}"]
    lines += [f"  kept: {KEPT_DEFINITION}", "", GUESS, ""]
    lines += [f"{change.key} = {_value(change.value)}: {change.why}" for change in suggestion.changes]
    return "\n".join(lines)


def _head(found: Sensitivity) -> str:
    heads = f", {found.heads} heads drawn at random" if found.heads else ""
    return (
        f"{found.recipe}: gradients of {len(found.layers)} layers over {found.rows} training rows in "
        f"{found.groups} groups{heads}; {found.device}, {found.dtype}, {found.seconds:.0f} s"
    )


def _table(word: str, parts: Sequence[Share]) -> Iterator[str]:
    width = max(len(word), *(len(part.name) for part in parts))
    yield f"{word:<{width}}  share                   of an adapter's weights"
    for part in parts:
        figure = part.figure
        interval = f"[{figure.low:.3f}, {figure.high:.3f}]"
        yield f"{part.name:<{width}}  {figure.value:.3f} {interval:<17} {part.weights:.3f}"


def _ranks(layers: Sequence[LayerGradients]) -> Iterator[str]:
    yield "rank  kept (from one half of the rows, from the other)"
    for rank in RANKS:
        figure = kept(layers, rank)
        yield f"{rank:<4}  {figure.value:.3f} ({figure.low:.3f}, {figure.high:.3f})"


def _outside(layers: Sequence[LayerGradients]) -> list[str]:
    names = ", ".join(layer.name for layer in layers if layer not in in_blocks(layers))
    return ["", f"Outside of the blocks, and always adapted: {names}"] if names else []


def _value(value: object) -> str:
    if not isinstance(value, (tuple, list)):
        return str(value)
    names = list(map(str, value))
    return ", ".join(names) if len(names) <= _NAMES else f"{names[0]} … {names[-1]} ({len(names)} modules)"
