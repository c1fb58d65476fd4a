"""The exporter: a tuned model becomes one GGUF file with its manifest."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgetune import console, files
from edgetune.adapters.tuned import base_alone
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.differences import manifest_problems
from edgetune.errors import ExportError
from edgetune.exporters import Collected, ExportPlan, Importance, TunedModel
from edgetune.memory import require_memory
from edgetune.models.gguf_file import GgufFile
from edgetune.readback import TensorPair
from edgetune_gguf import adapter, adapter_reading, reading_back
from edgetune_gguf.architectures import export_notes
from edgetune_gguf.imatrix import CHUNKS_KEY, DATASET_KEY, ENTRIES_KEY, Imatrix, read_imatrix, write_imatrix
from edgetune_gguf.mixed import wanted_bytes
from edgetune_gguf.mixture import PRECISIONS, Choice, require_precision
from edgetune_gguf.preparing import (
    FORMAT,
    Prepared,
    build_manifest,
    build_metadata,
    prepare,
    tuned_weights,
    understand,
)
from edgetune_gguf.quantiser import default_threads, identity
from edgetune_gguf.reading_back import Rounding
from edgetune_gguf.tensors import file_names, file_tensors
from edgetune_gguf.writing import data_bytes, peak_bytes, write_gguf


class GgufExporter:
    """Writes GGUF files for llama.cpp, tensor by tensor."""

    format = FORMAT

    @property
    def precisions(self) -> Sequence[str]:
        """Best quality first."""
        return tuple(PRECISIONS)

    @property
    def default_precision(self) -> str:
        """Eight bits."""
        return "q8_0"

    def precision(self, name: str) -> str:
        """The one name of a precision."""
        return require_precision(name)

    def plan(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check everything that can be checked without writing, and predict the file."""
        return _plan(prepare(model, precision))

    def export(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write ``NAME-PRECISION.gguf`` and its manifest into ``folder``."""
        prepared = prepare(model, precision)
        assert not prepared.awaits_imatrix, "it has been collected"
        plan = _plan(prepared)
        files.require_disk(folder.parent, int(plan.size_bytes * 1.01), f"the {prepared.precision} file")
        require_memory(plan.peak_memory_bytes, f"exporting {model.name}")
        with files.atomic_path(folder) as temporary:
            temporary.mkdir()
            file = temporary / f"{prepared.stem}.gguf"
            stop_ids, digest = _write(prepared, file)
            manifest = build_manifest(prepared, file, stop_ids, digest)
            write_manifest(temporary, manifest)
        return Artifact(folder, manifest)

    def write_importance(self, model: TunedModel, found: Importance, file: Path) -> None:
        """Write an importance matrix as llama.cpp's tools read it."""
        architecture, config = understand(model)
        write_imatrix(file, found, file_names(architecture, config))

    importance_suffix = ".gguf"

    def importance_for(self, precision: str) -> Collected | None:
        """Of all precisions squares, of mixtures by size curvature."""
        return "squares" if wanted_bytes(require_precision(precision)) is None else "curvature"

    def plan_base(self, model: TunedModel, precision: str) -> ExportPlan:
        """As :meth:`plan`: llama.cpp puts adapters on any model."""
        if self.importance_for(precision) == "curvature":
            raise ExportError(
                "a mixture of types suits one model, and a base that adapters share is none of theirs",
                hint="choose a precision such as q8_0 for the base",
            )
        return self.plan(model, precision)

    def export_base(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """As :meth:`export`."""
        return self.export(model, precision, folder)

    def without_places(self, base: Artifact, folder: Path) -> Artifact:  # noqa: ARG002  # nothing has to be written
        """The base itself."""
        return base

    @property
    def adapter_precisions(self) -> Sequence[str]:
        """The default first."""
        return adapter.PRECISIONS

    def plan_adapter(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check that a GGUF LoRA can say what the adapter does, and predict the file."""
        return adapter.plan(model, precision)

    def export_adapter(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write ``NAME-adapter-PRECISION.gguf`` and its manifest into ``folder``."""
        return adapter.export(model, precision, folder)

    def tensor_pairs(self, model: TunedModel, artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
        """Every tensor that the artifact has or should have."""
        architecture, config = understand(model)
        tensors = file_tensors(architecture, config, tuned_weights(model))
        if artifact.is_adapter:
            return adapter_reading.tensor_pairs(tensors, artifact, tuned)
        return reading_back.tensor_pairs(
            tensors, reading_back.open_file(artifact), tuned, _rounding(model, artifact.manifest)
        )

    def metadata_problems(self, model: TunedModel, artifact: Artifact) -> list[str]:
        """Keys of the file that do not have the value that would be written now, and types that were not asked for."""
        if artifact.is_adapter:
            below = artifact.beneath
            found = self.metadata_problems(base_alone(model), below) if below and below.manifest else []
            return [*adapter_reading.metadata_problems(model, artifact), *(f"base: {problem}" for problem in found)]
        file = reading_back.open_file(artifact)
        assert artifact.manifest is not None, "verified artifacts have one"
        prepared = _as_asked(model, artifact, file)
        writer, check = build_metadata(prepared)
        main = artifact.main_file
        expected = build_manifest(prepared, main, check.stop_ids, files.sha256_file(main))
        return [
            *reading_back.metadata_problems(
                file, writer, (DATASET_KEY, ENTRIES_KEY, CHUNKS_KEY) if _is_gone(model, artifact.manifest) else ()
            ),
            *reading_back.type_problems(file, {n: c.type for n, c in prepared.choices.items()}),
            *manifest_problems(artifact.manifest, expected),
        ]

    def forgotten(self, model: TunedModel, artifact: Artifact) -> str | None:
        """The types, where the imatrix that they were chosen with is gone."""
        if artifact.manifest is None or not _is_gone(model, artifact.manifest):
            return None
        return "the imatrix it was quantised with is not in the run any more, so its types cannot be told"


def _is_gone(model: TunedModel, manifest: ArtifactManifest) -> bool:
    return manifest.importance_sha256 is not None and model.importance is None


def _as_asked(model: TunedModel, artifact: Artifact, file: GgufFile) -> Prepared:
    """What would be written now, with the types it has where nobody can tell them.

    That is where its imatrix is gone, and where a mixture was made by another quantiser, which weighs types otherwise.
    """
    manifest = artifact.manifest
    assert manifest is not None, "verified artifacts have one"
    gone = manifest.importance_sha256 if _is_gone(model, manifest) else None
    prepared = prepare(model, "f16" if gone else manifest.precision)  # f16: no types to choose
    if gone is None and (wanted_bytes(manifest.precision) is None or manifest.quantiser == identity()):
        return prepared
    kept = {
        name: Choice(file.tensors[name].type_name, manifest.fallbacks.get(name))
        for name in prepared.choices
        if name in file.tensors
    }
    if gone is None:
        return replace(prepared, choices=kept)
    return replace(prepared, precision=require_precision(manifest.precision), choices=kept, imatrix=Imatrix.gone(gone))


def _rounding(model: TunedModel, manifest: ArtifactManifest | None) -> Rounding:
    if manifest is None:
        return Rounding(known=False)
    weighted = manifest.importance_sha256 is not None
    importance = read_imatrix(model.importance).means if weighted and model.importance else None
    return Rounding(manifest.quantiser is not None and manifest.quantiser == identity(), weighted, importance)


def _plan(prepared: Prepared) -> ExportPlan:
    if prepared.awaits_imatrix and (size := wanted_bytes(prepared.precision)) is not None:
        return _plan_of_size(prepared, size)
    head = _head_bytes(prepared)
    return ExportPlan(
        precision=prepared.precision,
        tensor_types=prepared.tensor_types,
        fallbacks=prepared.fallbacks,
        size_bytes=data_bytes(prepared.tensors, prepared.choices) + head,
        peak_memory_bytes=peak_bytes(prepared.tensors, prepared.choices),
        notes=export_notes(prepared.architecture, prepared.config),
        weighted=prepared.imatrix is not None or prepared.awaits_imatrix,
        unsure_bytes=0 if prepared.head_bytes is not None else head,
        tensors_sha256=files.sha256_text(repr(sorted((name, one.type) for name, one in prepared.choices.items()))),
    )


def _plan_of_size(prepared: Prepared, size: int) -> ExportPlan:
    """Of a mixture whose types are not chosen yet."""
    note = (
        "its types are chosen when it is written, by what is collected then; a size that is too small is refused then"
    )
    return ExportPlan(
        precision=prepared.precision,
        tensor_types={},
        fallbacks={},
        size_bytes=size,
        peak_memory_bytes=peak_bytes(prepared.tensors, prepared.choices),
        notes=(*export_notes(prepared.architecture, prepared.config), note),
        weighted=True,
    )


def _head_bytes(prepared: Prepared) -> int:
    """Rough, where it is not known: nearly all of it is the vocabulary, about as long as the tokenizer's file."""
    if prepared.head_bytes is not None:
        return prepared.head_bytes
    sizes = [path.stat().st_size for path in prepared.model.tokenizer_folder.glob("tokenizer*") if path.is_file()]
    return max(sizes, default=0)


def _write(prepared: Prepared, file: Path) -> tuple[tuple[int, ...], str]:
    """Write the file and return the tokens that end an answer, and its SHA-256."""
    writer, check = build_metadata(prepared)
    for note in check.notes:
        console.note(f"note: {note}")
    total = sum(tensor.elements for tensor in prepared.tensors)
    with console.progress(f"Writing {file.name}", total / 1e6, "M weights") as bar:
        digest = write_gguf(
            file,
            writer,
            prepared.tensors,
            prepared.choices,
            threads=default_threads(),
            importance=prepared.imatrix.means if prepared.imatrix else None,
            on_written=lambda tensor: bar.advance(tensor.elements / 1e6),
        )
    return check.stop_ids, digest
