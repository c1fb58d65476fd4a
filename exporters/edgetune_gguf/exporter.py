"""The exporter: a tuned model becomes one GGUF file with its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgetune import __version__, console, extras, files
from edgetune.adapters.merging import MergedWeights
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.differences import manifest_problems
from edgetune.errors import ExportError
from edgetune.exporters import ExportPlan, TensorPair, TunedModel, public_name
from edgetune.memory import require_memory
from edgetune.models import hash_template, load_tokenizer
from edgetune.models.text_config import ModelConfig, generation_stops, read_architecture, read_config
from edgetune_gguf import reading_back
from edgetune_gguf.architectures import (
    Architecture,
    add_hyperparameters,
    config_problems,
    export_notes,
    find_architecture,
    usable_context,
)
from edgetune_gguf.metadata import add_general
from edgetune_gguf.mixture import PRECISIONS, Choice, Shape, choose_types, count_types, require_precision
from edgetune_gguf.quantiser import default_threads
from edgetune_gguf.tensors import FileTensor, file_tensors
from edgetune_gguf.writing import data_bytes, peak_bytes, write_gguf

if TYPE_CHECKING:
    from gguf import GGUFWriter

    from edgetune_gguf.vocabulary import VocabularyCheck

RUNTIME = "llama.cpp"


@dataclass(frozen=True)
class _Prepared:
    """A model that can be exported, with every decision made and nothing written."""

    model: TunedModel
    precision: str
    architecture: Architecture
    config: ModelConfig
    tensors: Sequence[FileTensor]
    choices: Mapping[str, Choice]

    @property
    def fallbacks(self) -> dict[str, str]:
        return {name: choice.fallback for name, choice in self.choices.items() if choice.fallback}

    @property
    def tensor_types(self) -> dict[str, int]:
        return count_types(choice.type for choice in self.choices.values())


class GgufExporter:
    """Writes GGUF files for llama.cpp, tensor by tensor."""

    format = "gguf"

    @property
    def precisions(self) -> Sequence[str]:
        """Best quality first."""
        return tuple(PRECISIONS)

    def plan(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check everything that can be checked without writing, and predict the file."""
        return _plan(_prepare(model, precision))

    def export(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write ``NAME-PRECISION.gguf`` and its manifest into ``folder``."""
        prepared = _prepare(model, precision)
        plan = _plan(prepared)
        files.require_disk(folder.parent, int(plan.size_bytes * 1.01), f"the {prepared.precision} file")
        require_memory(plan.peak_memory_bytes, f"exporting {model.name}")
        name = f"{model.name}-{prepared.precision}"
        with files.atomic_path(folder) as temporary:
            temporary.mkdir()
            file = temporary / f"{name}.gguf"
            stop_ids = _write(prepared, file)
            manifest = _manifest(prepared, name, file, stop_ids)
            write_manifest(temporary, manifest)
        return Artifact(folder, manifest)

    def tensor_pairs(self, model: TunedModel, artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
        """Every tensor that the artifact has or should have."""
        architecture, config = _understood(model)
        tensors = file_tensors(architecture, config, _weights(model))
        return reading_back.tensor_pairs(tensors, reading_back.open_file(artifact), tuned)

    def metadata_problems(self, model: TunedModel, artifact: Artifact) -> list[str]:
        """Keys of the file that do not have the value that would be written now, and types that were not asked for."""
        file = reading_back.open_file(artifact)
        assert artifact.manifest is not None, "verified artifacts have one"
        prepared = _prepare(model, artifact.manifest.precision)
        writer, check = _metadata(model, prepared.architecture, prepared.config, prepared.precision)
        expected = {key: value.value for key, value in writer.kv_data[0].items()}
        # Who wrote it, and what its run's folder is called today, is no fault of the file.
        expected |= {key: file.metadata[key] for key in ("edgetune.version", "edgetune.run") if key in file.metadata}
        name = f"{model.name}-{prepared.precision}"
        return [
            *reading_back.metadata_problems(file, expected),
            *reading_back.type_problems(file, {n: c.type for n, c in prepared.choices.items()}),
            *manifest_problems(artifact.manifest, _manifest(prepared, name, artifact.main_file, check.stop_ids)),
        ]


def _understood(model: TunedModel) -> tuple[Architecture, ModelConfig]:
    extras.require("gguf", extra="gguf", needed_for="a GGUF file")
    architecture = find_architecture(read_architecture(model.base_folder))
    return architecture, read_config(model.base_folder)


def _prepare(model: TunedModel, precision: str) -> _Prepared:
    precision = require_precision(precision)
    architecture, config = _understood(model)
    if problems := config_problems(architecture, config):
        raise ExportError(
            f"llama.cpp cannot compute this {config.architecture}: {problems[0]}",
            hint="choose another base model",
            problems=problems,
        )
    tensors = file_tensors(architecture, config, _weights(model))
    shape = Shape(config.layers, config.heads // config.kv_heads, _is_large(architecture, config))
    choices = choose_types([(tensor.name, tensor.shape) for tensor in tensors], precision, shape)
    return _Prepared(model, precision, architecture, config, tensors, choices)


def _weights(model: TunedModel) -> MergedWeights:
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


def _plan(prepared: _Prepared) -> ExportPlan:
    return ExportPlan(
        precision=prepared.precision,
        tensor_types=prepared.tensor_types,
        fallbacks=prepared.fallbacks,
        size_bytes=data_bytes(prepared.tensors, prepared.choices) + _head_bytes(prepared.model.tokenizer_folder),
        peak_memory_bytes=peak_bytes(prepared.tensors, prepared.choices),
        notes=export_notes(prepared.architecture, prepared.config),
    )


def _head_bytes(tokenizer_folder: Path) -> int:
    """Rough size of the metadata: nearly all of it is the vocabulary, about as long as in the tokenizer's file."""
    sizes = [path.stat().st_size for path in tokenizer_folder.glob("tokenizer*") if path.is_file()]
    return max(sizes, default=0)


def _write(prepared: _Prepared, file: Path) -> tuple[int, ...]:
    """Write the file and return the tokens that end an answer."""
    writer, check = _metadata(prepared.model, prepared.architecture, prepared.config, prepared.precision)
    for note in check.notes:
        console.note(f"note: {note}")
    total = sum(tensor.elements for tensor in prepared.tensors)
    with console.progress(f"Writing {file.name}", total / 1e6, "M weights") as bar:
        write_gguf(
            file,
            writer,
            prepared.tensors,
            prepared.choices,
            threads=default_threads(),
            on_written=lambda tensor: bar.advance(tensor.elements / 1e6),
        )
    return check.stop_ids


def _metadata(
    model: TunedModel, architecture: Architecture, config: ModelConfig, precision: str
) -> tuple[GGUFWriter, VocabularyCheck]:
    """Everything a file says besides its tensors."""
    from gguf import GGUFWriter

    from edgetune_gguf.vocabulary import add_vocabulary

    writer = GGUFWriter(None, architecture.name)
    add_general(writer, model, precision)
    add_hyperparameters(writer, architecture, config)
    stops = generation_stops(model.base_folder)
    return writer, add_vocabulary(writer, model.tokenizer_folder, architecture.name, config.vocabulary, stops)


def _manifest(prepared: _Prepared, name: str, file: Path, stop_ids: tuple[int, ...]) -> ArtifactManifest:
    model, config = prepared.model, prepared.config
    return ArtifactManifest(
        name=name,
        format=GgufExporter.format,
        precision=prepared.precision,
        runtime=RUNTIME,
        main_file=file.name,
        weights="merged" if model.adapter_folder else "whole",
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
        sha256={file.name: files.sha256_file(file)},
        size_bytes=file.stat().st_size,
        edgetune=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=model.licence,
        run=model.run,
    )
