"""A tuned model as GGUF: everything that is decided before a byte is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from edgetune import __version__, extras
from edgetune.adapters.merging import MergedWeights
from edgetune.artifact import ArtifactManifest
from edgetune.errors import ExportError
from edgetune.exporters import TunedModel, public_name
from edgetune.models import hash_template, load_tokenizer
from edgetune.models.text_config import ModelConfig, generation_stops, read_architecture, read_config
from edgetune_gguf.architectures import (
    Architecture,
    add_hyperparameters,
    config_problems,
    find_architecture,
    usable_context,
)
from edgetune_gguf.imatrix import Imatrix, add_imatrix, read_imatrix
from edgetune_gguf.metadata import add_general
from edgetune_gguf.mixed import choose_mixed, wanted_bytes
from edgetune_gguf.mixture import UNWEIGHTED, Choice, Shape, choose_types, count_types, require_precision
from edgetune_gguf.quantiser import identity
from edgetune_gguf.tensors import FileTensor, file_tensors
from edgetune_gguf.writing import head_bytes

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from edgetune_gguf.vocabulary import VocabularyCheck

FORMAT = "gguf"
RUNTIME = "llama.cpp"
#: Of a model, an importance matrix and a size, what was chosen: an export is planned several times, at seconds each.
_MIXED: dict[tuple[object, ...], tuple[Mapping[str, Choice], int]] = {}


@dataclass(frozen=True)
class Prepared:
    """A file that can be written, with every decision made."""

    model: TunedModel
    precision: str
    architecture: Architecture
    config: ModelConfig
    tensors: Sequence[FileTensor]
    choices: Mapping[str, Choice]
    imatrix: Imatrix | None = None
    head_bytes: int | None = None
    """Of what comes before the tensors, where it was found out."""
    awaits_imatrix: bool = False
    """It is only a plan: the matrix is collected before the file is written, and a mixture's types chosen then."""

    @property
    def stem(self) -> str:
        """Name of the artifact and its file."""
        return f"{self.model.name}-{self.precision}" + ("-imatrix" if self.imatrix else "")

    @property
    def fallbacks(self) -> dict[str, str]:
        return {name: choice.fallback for name, choice in self.choices.items() if choice.fallback}

    @property
    def tensor_types(self) -> dict[str, int]:
        return count_types(choice.type for choice in self.choices.values())


def understand(model: TunedModel) -> tuple[Architecture, ModelConfig]:
    """Its family and its config.json.

    Raises:
        ExportError: neither is known.
    """
    extras.require("gguf", extra="gguf", needed_for="a GGUF file")
    architecture = find_architecture(read_architecture(model.base_folder))
    return architecture, read_config(model.base_folder)


def prepare(model: TunedModel, precision: str) -> Prepared:
    """Decide every tensor's name, shape and type.

    Raises:
        ExportError, ModelError: it cannot be exported.
    """
    precision = require_precision(precision)
    architecture, config = understand(model)
    if problems := config_problems(architecture, config):
        raise ExportError(
            f"llama.cpp cannot compute this {config.architecture}: {problems[0]}",
            hint="choose another base model",
            problems=problems,
        )
    tensors = file_tensors(architecture, config, tuned_weights(model))
    shape = Shape(config.layers, config.heads // config.kv_heads, _is_large(architecture, config))
    shapes = {tensor.name: tensor.shape for tensor in tensors}
    size = wanted_bytes(precision)
    if size is not None:
        return _prepare_mixed(Prepared(model, precision, architecture, config, tensors, {}), shape, size)
    choices = choose_types(list(shapes.items()), precision, shape)
    prepared = Prepared(model, precision, architecture, config, tensors, choices)
    weighable = {choice.type for choice in choices.values()} - UNWEIGHTED
    if not weighable or not (model.importance or model.importance_follows):
        return prepared
    choices = choose_types(list(shapes.items()), precision, shape, weighted=True)
    if model.importance is None:
        return replace(prepared, choices=choices, awaits_imatrix=True)
    imatrix = read_imatrix(model.importance)
    imatrix.require_fit(shapes)
    return replace(prepared, choices=choices, imatrix=imatrix)


def _prepare_mixed(prepared: Prepared, shape: Shape, size: int) -> Prepared:
    """With the types that fit a size.

    Raises:
        ExportError: there is no importance to choose by, or nothing fits.
    """
    importance = prepared.model.importance
    shapes = {tensor.name: tensor.shape for tensor in prepared.tensors}
    whole = choose_types(list(shapes.items()), "q4_0", shape)
    if importance is None and prepared.model.importance_follows:
        return replace(prepared, choices=whole, awaits_imatrix=True)
    if importance is None:
        raise ExportError(
            f"{prepared.precision} shares bits out by what was measured of the model, and nothing was",
            hint="export a run, of which it is collected; without one choose a precision such as q4_k_m",
        )
    imatrix = read_imatrix(importance)
    imatrix.require_fit(shapes)
    adapter = prepared.model.adapter_folder
    known = (prepared.model, adapter and _written_at(adapter), imatrix.sha256, size)
    if known not in _MIXED:
        head = head_bytes(build_metadata(replace(prepared, imatrix=imatrix))[0], prepared.tensors, whole)
        _MIXED[known] = (choose_mixed(prepared.tensors, whole, imatrix, size - head), head)
    choices, head = _MIXED[known]
    return replace(prepared, choices=choices, imatrix=imatrix, head_bytes=head)


def _written_at(folder: Path) -> tuple[int, ...]:
    return tuple(file.stat().st_mtime_ns for file in sorted(folder.iterdir()))


def tuned_weights(model: TunedModel) -> MergedWeights:
    """Its weights, its adapter merged."""
    return MergedWeights(
        model.base_folder,
        model.adapter_folder,
        model.trained_against,
        model.quantised_modules,
        model.quantised_from,
    )


def _is_large(architecture: Architecture, config: ModelConfig) -> bool:
    """llama.cpp's idea of a 70B: eighty layers, and for Llama grouped queries."""
    grouped = config.heads != config.kv_heads
    return config.layers == 80 and (architecture.name == "qwen2" or (architecture.name == "llama" and grouped))


def build_metadata(prepared: Prepared) -> tuple[GGUFWriter, VocabularyCheck]:
    """Everything a file says besides its tensors."""
    from gguf import GGUFWriter

    from edgetune_gguf.vocabulary import add_vocabulary

    model, architecture, config = prepared.model, prepared.architecture, prepared.config
    writer = GGUFWriter(None, architecture.name)
    add_general(writer, model, prepared.precision)
    if prepared.imatrix:
        add_imatrix(writer, prepared.imatrix)
    add_hyperparameters(writer, architecture, config)
    stops = generation_stops(model.base_folder)
    return writer, add_vocabulary(writer, model.tokenizer_folder, architecture.name, config.vocabulary, stops)


def build_manifest(prepared: Prepared, file: Path, stop_ids: tuple[int, ...], digest: str) -> ArtifactManifest:
    """What a written file is; ``digest`` is its SHA-256."""
    model, config = prepared.model, prepared.config
    return ArtifactManifest(
        name=prepared.stem,
        format=FORMAT,
        precision=prepared.precision,
        runtime=RUNTIME,
        main_file=file.name,
        weights="merged" if model.adapter_folder else "whole" if model.run else "base",
        architecture=config.architecture,
        base_source=public_name(model.base_source),
        base_sha256=model.base_sha256,
        merged_into=model.trained_against or "none",
        chat_template_sha256=hash_template(load_tokenizer(model.tokenizer_folder)),
        stop_ids=stop_ids,
        system=model.system,
        context_length=usable_context(prepared.architecture, config)[0],
        parameters=sum(tensor.elements for tensor in prepared.tensors if not tensor.name.startswith("rope_")),
        tensor_types=prepared.tensor_types,
        fallbacks=prepared.fallbacks,
        sha256={file.name: digest},
        size_bytes=file.stat().st_size,
        edgetune=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=model.licence,
        run=model.run,
        quantiser=identity(),
        importance_sha256=prepared.imatrix.sha256 if prepared.imatrix else None,
        adapter_base=None if model.adapter_folder or model.run else model.adapter_base,
    )
