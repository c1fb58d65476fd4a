"""Which type each tensor gets.

A precision such as ``q4_k_m`` is a mixture: tensors that suffer most get more bits. The rules are
those of llama.cpp's ``src/llama-quant.cpp`` (``llama_tensor_get_type``), so that a file written here
has the same types as one made by llama.cpp's own quantiser; a test compares the two.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgetune.errors import ExportError

#: Precision → type of most tensors, best quality first.
PRECISIONS = {
    "f32": "F32",
    "bf16": "BF16",
    "f16": "F16",
    "q8_0": "Q8_0",
    "q6_k": "Q6_K",
    "q5_k_m": "Q5_K",
    "q5_k_s": "Q5_K",
    "q5_1": "Q5_1",
    "q5_0": "Q5_0",
    "q4_k_m": "Q4_K",
    "q4_k_s": "Q4_K",
    "iq4_nl": "IQ4_NL",
    "iq4_xs": "IQ4_XS",
    "q4_1": "Q4_1",
    "q4_0": "Q4_0",
    "q3_k_l": "Q3_K",
    "q3_k_m": "Q3_K",
    "q3_k_s": "Q3_K",
    "q2_k": "Q2_K",
}

#: A mixture that fits a size: :mod:`edgetune_gguf.mixed`.
MIXED = re.compile(r"mixed_(\d{1,7}(?:\.\d{1,6})?)mb")

#: Values in one block; a row must be a whole number of blocks.
BLOCK = {"F32": 1, "BF16": 1, "F16": 1, "Q8_0": 32, "Q5_1": 32, "Q5_0": 32, "Q4_1": 32, "Q4_0": 32, "IQ4_NL": 32} | (
    dict.fromkeys(("Q6_K", "Q5_K", "Q4_K", "Q3_K", "Q2_K", "IQ4_XS"), 256)
)

#: What a row gets that 256 does not divide.
_NARROW = {"Q2_K": "Q4_0", "Q3_K": "Q4_0", "Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "IQ4_XS": "IQ4_NL"}

_FLOATS = ("F32", "BF16", "F16")
#: Types whose rounding looks at nothing but the value.
UNWEIGHTED = frozenset({*_FLOATS, "Q8_0"})


@dataclass(frozen=True)
class Shape:
    """What the rules need to know about a model.

    Attributes:
        layers: number of layers.
        query_groups: query heads that share one key head.
        large: llama.cpp calls it a 70B: attention values get more bits.
    """

    layers: int
    query_groups: int
    large: bool = False


@dataclass(frozen=True)
class Choice:
    """The type of one tensor.

    Attributes:
        type: ggml's name.
        fallback: why it is not the type that the precision means for it, if it is not.
    """

    type: str
    fallback: str | None = None


@dataclass(frozen=True)
class _Place:
    """How many attention-value and ffn-down tensors came before, and how many of the former there are."""

    values: int
    values_total: int
    downs: int
    weighted: bool


def require_precision(precision: str) -> str:
    """``precision`` in lower case.

    Raises:
        ExportError: there is none of that name; the nearest ones are in the hint.
    """
    known = precision.lower().replace("-", "_")
    if known in PRECISIONS or MIXED.fullmatch(known):
        return known
    near = difflib.get_close_matches(known, PRECISIONS, n=3, cutoff=0.5)
    raise ExportError(
        f"unknown GGUF precision '{precision}'",
        hint=f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(PRECISIONS)}, mixed_92mb",
    )


def choose_types(
    tensors: Sequence[tuple[str, tuple[int, ...]]], precision: str, model: Shape, *, weighted: bool = False
) -> dict[str, Choice]:
    """Type of every tensor.

    Args:
        tensors: llama.cpp's name and shape (rows first), in llama.cpp's order.
        precision: a key of :data:`PRECISIONS`.
        model: sizes that the rules look at.
        weighted: an importance matrix is used; llama.cpp's rules differ then for the first down projections.
    """
    tied = all(name != "output.weight" for name, _ in tensors)
    values_total = sum(_is_values(name) for name, _ in tensors)
    values = downs = 0
    choices = {}
    for name, shape in tensors:
        if not _is_quantised(name, shape):
            choices[name] = Choice("F32")
        elif PRECISIONS[precision] in _FLOATS:
            choices[name] = Choice(PRECISIONS[precision])
        elif name == "output.weight" or (tied and name == "token_embd.weight"):
            choices[name] = _output_choice(shape[-1], precision)
        else:
            wish = _wish(name, precision, model, _Place(values, values_total, downs, weighted))
            choices[name] = _fit(wish, wish, shape[-1])
        values += _is_values(name)
        downs += name.endswith("ffn_down.weight")
    return choices


def count_types(types: Iterable[str]) -> dict[str, int]:
    """How often each type occurs, most frequent first."""
    every = list(types)
    return {kind: every.count(kind) for kind in sorted(set(every), key=lambda kind: (-every.count(kind), kind))}


def row_bytes(kind: str, columns: int) -> int:
    """Size of one row."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    block, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
    return int(columns // block * size)


def _is_quantised(name: str, shape: tuple[int, ...]) -> bool:
    """Matrices are; norms and other vectors stay F32. A single row counts as a vector."""
    return name.endswith("weight") and not name.endswith("_norm.weight") and len(shape) > 1 and shape[0] > 1


def _is_values(name: str) -> bool:
    return name.endswith(("attn_v.weight", "attn_qkv.weight"))


def _output_choice(columns: int, precision: str) -> Choice:
    """The head, or the embedding that is also the head: Q6_K unless Q8_0 is asked for."""
    base = PRECISIONS[precision]
    wish = "Q8_0" if base == "Q8_0" else "Q6_K"
    return _fit(wish, "Q8_0" if columns % BLOCK[base] else wish, columns)


def _wish(name: str, precision: str, model: Shape, place: _Place) -> str:
    """The type that the precision means for this tensor, whatever its width."""
    base = PRECISIONS[precision]
    if _is_values(name):
        return _for_values(base, precision, model, place)
    if name.endswith("ffn_down.weight"):
        return _for_down(base, precision, place, model.layers)
    if name.endswith("attn_output.weight"):
        return {"q2_k": "Q3_K", "q3_k_m": "Q4_K", "q3_k_l": "Q5_K"}.get(precision, base)
    return base


def _for_values(base: str, precision: str, model: Shape, place: _Place) -> str:
    index, total = place.values, place.values_total
    grouped = model.query_groups >= 4
    kind = base
    if precision == "q2_k":
        kind = "Q4_K" if grouped else "Q3_K"
    elif precision == "q3_k_m":
        kind = "Q5_K" if index < 2 else "Q4_K"
    elif precision == "q3_k_l" or (precision in ("iq4_nl", "iq4_xs") and grouped):
        kind = "Q5_K"
    elif precision in ("q4_k_m", "q5_k_m") and _more_bits(index, total):
        kind = "Q6_K"
    elif precision == "q4_k_s" and index < 4:
        kind = "Q5_K"
    return "Q5_K" if model.large and kind in ("Q3_K", "Q4_K") else kind


def _for_down(base: str, precision: str, place: _Place, layers: int) -> str:
    index = place.downs
    early = index < layers // 8
    if early and place.weighted and precision in ("q4_0", "q5_0"):
        return {"q4_0": "Q4_1", "q5_0": "Q5_1"}[precision]
    if precision == "q2_k":
        return "Q3_K"
    if precision == "q3_k_m":
        return "Q5_K" if index < layers // 16 else "Q4_K"
    searched = precision in ("iq4_nl", "iq4_xs") and not place.weighted
    if precision == "q3_k_l" or (early and (searched or precision == "q4_k_s")):
        return "Q5_K"
    return "Q6_K" if precision in ("q4_k_m", "q5_k_m") and _more_bits(index, layers) else base


def _more_bits(index: int, total: int) -> bool:
    """The first and last eighth of the layers, and every third between."""
    return index < total // 8 or index >= 7 * total // 8 or (index - total // 8) % 3 == 2


def _fit(wish: str, kind: str, columns: int) -> Choice:
    """``kind``, or what takes its place when rows are not whole blocks; ``wish`` is what it would be if they were."""
    if columns % BLOCK[kind]:
        kind = _NARROW.get(kind, kind)
    if columns % BLOCK[kind]:
        kind = "F16"
    if kind == wish:
        return Choice(kind)
    return Choice(kind, f"{kind} instead of {wish}: {columns} columns are not a multiple of {BLOCK[wish]}")
