"""A tuned model that can be exported, with every decision made and nothing written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial

from edgetune import __version__, extras
from edgetune.adapters.merging import EMBEDDING, HEAD, MergedWeights
from edgetune.errors import ExportError
from edgetune.exporters import TunedModel
from edgetune.models import load_tokenizer, stop_ids
from edgetune.models.text_config import ModelConfig, generation_stops, read_config
from edgetune.readback import Values
from edgetune_onnx import blocks, gptq
from edgetune_onnx.families import require_family
from edgetune_onnx.precision import Precision, parse_precision
from edgetune_onnx.products import Products, read_products
from edgetune_onnx.reading_back import model_tensors

_ITEM_BYTES = {"fp32": 4, "fp16": 2}


@dataclass(frozen=True)
class Prepared:
    """A model that can be exported, with every decision made and nothing written.

    Attributes:
        model: to export.
        precision: of its weights.
        config: its config.json.
        weights: its weights, an adapter merged.
        places: the graph gets inputs for adapters.
    """

    model: TunedModel
    precision: Precision
    config: ModelConfig
    weights: MergedWeights
    places: bool = False

    @cached_property
    def tied(self) -> bool:
        """Whether head and embedding are one tensor."""
        return self.config.tied and not self.weights.unties_head

    @cached_property
    def names(self) -> list[str]:
        """Tensors of the graph, as transformers calls them."""
        return model_tensors(self.weights, tied=self.tied)

    @cached_property
    def stop_ids(self) -> tuple[int, ...]:
        """Every token that ends an answer of the trained model."""
        ends = stop_ids(load_tokenizer(self.model.tokenizer_folder))
        return tuple(dict.fromkeys([*ends, *generation_stops(self.model.base_folder)]))

    @property
    def types(self) -> dict[str, str]:
        """Tensor → the type it is to be stored in."""
        return {name: self._type(name) for name in self.names}

    @property
    def head_rows(self) -> dict[str, int]:
        """Rows of q, k and v."""
        config = self.config
        keys = config.kv_heads * config.head_dim
        return {"q_proj": config.heads * config.head_dim, "k_proj": keys, "v_proj": keys}

    def bits(self, name: str) -> int | None:
        """Of a tensor's values; None for floats."""
        return self.precision.matrix_bits(name, self.config.layers, tied=self.tied)

    def compensated(self, name: str) -> bool:
        """Whether a tensor's errors of rounding are made up for, and so fit its inputs."""
        return self.precision.compensates and self.bits(name) == gptq.BITS

    def products(self) -> Products:
        """How the inputs go together.

        Raises:
            ExportError: nothing was collected of the model, or of another one.
        """
        if self.model.importance is None:
            raise ExportError(
                f"{self.precision.name} rounds by how the inputs of the model go together, and nothing was collected",
                hint="export a run, of which it is collected; without one choose int4",
            )
        found = read_products(self.model.importance)
        found.require_fit(
            {self._input_name(name): self.weights.tensors[name].shape for name in self.names if self.compensated(name)}
        )
        return found

    def _input_name(self, name: str) -> str:
        """Of a table that is also the head, the head: that is multiplied with something."""
        return HEAD if name == EMBEDDING and self.tied else name

    def rounding(self, quantiser: str | None) -> Callable[[str], Callable[[Values], Values] | None]:
        """Of a tensor by name: rounds its rows again.

        None where it is a float, or compensated, which no few rows show, or where the libraries here are others.

        Args:
            quantiser: that rounded the file, as its manifest has it.
        """
        known = quantiser is not None and quantiser == blocks.identity()

        def of(name: str) -> Callable[[Values], Values] | None:
            bits = None if self.compensated(name) else self.bits(name)
            return partial(blocks.rounded_values, precision=self.precision, bits=bits) if known and bits else None

        return of

    def stored_bytes(self, name: str) -> int:
        """Predicted size of a tensor in the graph."""
        shape, bits = self.weights.tensors[name].shape, self.bits(name)
        elements = self.weights.tensors[name].elements
        if bits is None:
            return elements * _ITEM_BYTES.get(self.precision.kind, 4)
        count = shape[0] * -(-shape[1] // self.precision.block)
        zero_points = count * bits // 8 if self.precision.has_zero_points else 0
        return count * (self.precision.block * bits // 8 + 4) + zero_points

    def _type(self, name: str) -> str:
        bits = self.bits(name)
        if bits is None:
            return "F16" if self.precision.kind == "fp16" else "F32"
        return f"{'UINT' if self.precision.has_zero_points else 'INT'}{bits}"

    @property
    def tensor_types(self) -> dict[str, int]:
        """Type name → number of tensors."""
        return dict(Counter(self.types.values()))

    @property
    def float_bytes(self) -> int:
        """Size of the model in float32."""
        return 4 * sum(self.weights.tensors[name].elements for name in self.names)

    @property
    def facts(self) -> dict[str, str]:
        """What the graph says about itself."""
        model = self.model
        found = {
            "version": __version__,
            "precision": self.precision.name,
            "base_sha256": model.base_sha256,
            "merged_into": model.trained_against or "none",
            "system": model.system,
            "licence": model.licence,
            "adapter_base": model.adapter_base if self.places else None,
        }
        return {key: value for key, value in found.items() if value}


def prepare(model: TunedModel, precision: str, *, places: bool = False) -> Prepared:
    """Check everything that can be checked without writing.

    Args:
        model: to export.
        precision: of its weights.
        places: with inputs for adapters.

    Raises:
        ExportError: an unknown precision or family, or a model that the builder cannot write.
        ModelError: damaged weights or configuration; MissingExtra: no onnx.
    """
    chosen = parse_precision(precision)
    extras.require("onnx", extra="onnx-export", needed_for="writing ONNX")
    config = read_config(model.base_folder)
    require_family(config)
    weights = MergedWeights(
        model.base_folder,
        model.adapter_folder,
        model.trained_against,
        model.quantised_modules,
        model.quantised_from,
    )
    if HEAD not in weights.tensors and not config.tied:
        raise ExportError("lm_head.weight is missing", hint="the base is damaged: fetch it again")
    prepared = Prepared(model, chosen, config, weights, places)
    _require_even_blocks(prepared)
    return prepared


def _require_even_blocks(prepared: Prepared) -> None:
    """ONNX Runtime's k_quant packs two zero points of four bits into a byte, and fails at the end of an odd row."""
    if not prepared.precision.has_zero_points:
        return
    block = prepared.precision.block
    odd = [
        name
        for name in prepared.names
        if prepared.bits(name) == 4 and -(-prepared.weights.tensors[name].shape[1] // block) % 2
    ]
    if odd:
        columns = prepared.weights.tensors[odd[0]].shape[1]
        raise ExportError(
            f"{prepared.precision.name} cannot store {odd[0]}: rows of {columns} values are an odd number of blocks "
            f"of {block}, which ONNX Runtime's k_quant cannot pack",
            hint="take int4_rtn, int8, or another block (_b16)",
            problems=odd,
        )
