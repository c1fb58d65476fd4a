"""What a precision's name means: ``fp32``, ``fp16``, ``int8``, ``int4``, and the variants of the quantised ones.

``int4_rtn_mixed_b64_a1`` is four bits, rounded to nearest, the layers that suffer most in eight bits, blocks of 64
values, accuracy level 1. What is left out has its default, and a name never says a default: the same numbers, the same
name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from edgetune.errors import ExportError

Kind = Literal["fp32", "fp16", "int8", "int4"]
#: ``rtn``: round to nearest. ``k_quant``: scale and zero point searched for (ONNX Runtime's, after llama.cpp's).
#: ``gptq``: the errors of a column made up for in those after it (:mod:`edgetune_onnx.gptq`).
Method = Literal["rtn", "k_quant", "gptq"]
#: Which matrices of an ``int4`` model get eight bits: none, the head (and the embedding tied to it), or the head and
#: the layers that llama.cpp's mixtures promote.
Promoted = Literal["none", "last", "mixed"]

BLOCKS = (16, 32, 64, 128, 256)
#: MatMulNBits' lowest precision of activations: 0 any, 1 float32, 2 float16, 3 bfloat16, 4 int8.
ACCURACIES = (0, 1, 2, 3, 4)
DEFAULT_BLOCK, DEFAULT_ACCURACY = 32, 4
#: The names that are shown; any other combination works as well.
NAMES = (
    "fp32",
    "fp16",
    "int8",
    "int8_k_quant",
    "int4_gptq_last",
    "int4_gptq",
    "int4_mixed",
    "int4_last",
    "int4",
    "int4_rtn",
)
#: What transformers.js appends to ``model`` for a ``dtype``.
_SUFFIXES: Mapping[Kind, str] = {"fp32": "", "fp16": "_fp16", "int8": "_int8", "int4": "_q4"}
_DTYPES: Mapping[Kind, str] = {"fp32": "fp32", "fp16": "fp16", "int8": "int8", "int4": "q4"}
_PLACEMENTS: Mapping[Promoted, str] = {"last": "last_matmul:int8", "mixed": "last_matmul:int8,mixed_layers:int8"}
_DEFAULT_METHODS: Mapping[Kind, Method] = {"int8": "rtn", "int4": "k_quant"}
_PATTERN = re.compile(
    r"(?P<kind>fp32|fp16|int8|int4)(?:_(?P<method>rtn|k_quant|gptq))?(?:_(?P<promoted>last|mixed))?"
    r"(?:_b(?P<block>\d+))?(?:_a(?P<accuracy>\d+))?"
)


@dataclass(frozen=True)
class Precision:
    """How weights are stored.

    Attributes:
        kind: float or bits.
        method: of rounding; None for floats.
        promoted: which matrices of an ``int4`` model get eight bits.
        block: values that share a scale, along the inputs of a matrix.
        accuracy: of the activations, see :data:`ACCURACIES`.
    """

    kind: Kind
    method: Method | None = None
    promoted: Promoted = "none"
    block: int = DEFAULT_BLOCK
    accuracy: int = DEFAULT_ACCURACY

    @property
    def name(self) -> str:
        """The one name of these numbers."""
        parts: list[str] = [self.kind]
        if self.method != _DEFAULT_METHODS.get(self.kind):
            parts.append(str(self.method))
        if self.promoted != "none":
            parts.append(self.promoted)
        if self.block != DEFAULT_BLOCK:
            parts.append(f"b{self.block}")
        if self.accuracy != DEFAULT_ACCURACY:
            parts.append(f"a{self.accuracy}")
        return "_".join(parts)

    @property
    def compensates(self) -> bool:
        """Whether matrices of four bits are rounded by what is known of their inputs."""
        return self.method == "gptq"

    @property
    def has_zero_points(self) -> bool:
        """Whether blocks have one."""
        return self.method in ("k_quant", "gptq")

    @property
    def bits(self) -> int | None:
        """Of most matrices; None for floats."""
        return {"int8": 8, "int4": 4}.get(self.kind)

    @property
    def file_name(self) -> str:
        """Of the graph, as transformers.js looks for it."""
        return f"model{_SUFFIXES[self.kind]}.onnx"

    @property
    def dtype(self) -> str:
        """What transformers.js calls it."""
        return _DTYPES[self.kind]

    @property
    def provider(self) -> str:
        """Execution provider that the graph is built for. All of them run on a processor.

        For half floats on processors the builder writes attention out in single steps, which cannot go on from a
        cache with more than one token.
        """
        return "webgpu" if self.kind == "fp16" else "cpu"

    @property
    def builder_options(self) -> dict[str, str]:
        """Extra options of onnxruntime-genai's model builder."""
        if self.kind == "fp16":  # else norms of q and k become inputs that no processor's kernel takes
            return {"fuse_qk_norm_gqa": "false"}
        if self.bits is None:
            return {}
        options = {  # of gptq the layout is k_quant's
            "algo_config": "default" if self.method == "rtn" else "k_quant",
            "block_size": str(self.block),
            "accuracy_level": str(self.accuracy),
        }
        if self.kind == "int8":
            # The builder can share a table of four bits with the head, not one of eight; `graph.share_table` does.
            options |= {"shared_embeddings": "false", "op_types_to_quantize": "MatMul"}
        if self.promoted != "none":
            options["matmul_mixed_precision"] = _PLACEMENTS[self.promoted]
        return options

    def matrix_bits(self, name: str, layers: int, *, tied: bool) -> int | None:
        """Bits of a matrix under transformers' names; None: it stays a float.

        Args:
            name: such as ``model.layers.0.mlp.down_proj.weight``.
            layers: of the model.
            tied: head and embedding are one tensor.
        """
        if self.bits is None or (name == "model.embed_tokens.weight" and not tied):
            return None
        if name in ("lm_head.weight", "model.embed_tokens.weight"):
            return self.bits if self.promoted == "none" else 8
        found = re.fullmatch(r"model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)\.weight", name)
        if found is None or "norm" in found[2]:
            return None
        if self.promoted == "mixed" and found[2] in _PROMOTED and _is_sensitive(int(found[1]), layers):
            return 8
        return self.bits


#: The builder packs q, k and v into one matrix, so all three go with v.
_PROMOTED = frozenset({"q_proj", "k_proj", "v_proj", "down_proj"})


def _is_sensitive(layer: int, layers: int) -> bool:
    """The layers that the builder promotes: the first and last eighth, and every third between (llama.cpp's rule)."""
    return layer < layers / 8 or layer >= 7 * layers / 8 or (layer - round(layers / 8)) % 3 == 2


def parse_precision(text: str) -> Precision:
    """Read a precision's name.

    >>> parse_precision("int4_k_quant_b32"), parse_precision("INT8-k_quant").name
    (Precision(kind='int4', method='k_quant', promoted='none', block=32, accuracy=4), 'int8_k_quant')

    Raises:
        ExportError: nobody knows it; the message lists what there is.
    """
    found = _PATTERN.fullmatch(text.lower().replace("-", "_"))
    if found is None:
        raise ExportError(
            f"the ONNX exporter has no precision '{text}'",
            hint=f"it has: {', '.join(NAMES)}; int4 and int8 also take _rtn, _k_quant, _b64 (block), _a1 (accuracy), "
            "int4 also _gptq; _ort is for classifiers",
        )
    kind: Kind = next(kind for kind in get_args(Kind) if kind == found["kind"])
    method: Method | None = next((method for method in get_args(Method) if method == found["method"]), None)
    promoted: Promoted = next((one for one in get_args(Promoted) if one == found["promoted"]), "none")
    precision = Precision(
        kind,
        method or _DEFAULT_METHODS.get(kind),
        promoted,
        int(found["block"] or DEFAULT_BLOCK),
        int(found["accuracy"] or DEFAULT_ACCURACY),
    )
    if problem := _problem(precision):
        raise ExportError(f"the precision '{text}' makes no sense: {problem}", hint=f"for instance: {', '.join(NAMES)}")
    return precision


def _problem(precision: Precision) -> str | None:
    """Why a combination cannot be, or None."""
    quantised = precision.bits is not None
    if not quantised and precision != Precision(precision.kind):
        return f"{precision.kind} rounds nothing"
    if precision.compensates and precision.kind != "int4":
        return "gptq is for four bits: at eight there is next to nothing to make up for"
    if precision.promoted != "none" and precision.kind != "int4":
        return f"{precision.promoted} gives eight bits to matrices of a four-bit model"
    if precision.block not in BLOCKS:
        return f"blocks are of {', '.join(map(str, BLOCKS))} values"
    if precision.accuracy not in ACCURACIES:
        return f"accuracy levels are {ACCURACIES[0]} to {ACCURACIES[-1]}"
    return None
