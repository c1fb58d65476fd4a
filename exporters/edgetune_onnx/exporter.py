"""The exporter: a tuned model becomes a folder with an ONNX graph, its tokenizer and its configurations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgetune import files
from edgetune.adapters.tuned import base_alone
from edgetune.artifact import MANIFEST, Artifact, write_manifest
from edgetune.errors import ExportError
from edgetune.exporters import Collected, ExportPlan, Importance, TunedModel
from edgetune.memory import require_memory
from edgetune.readback import TensorPair
from edgetune_onnx import adapter, adapter_reading, classifier, layout, reading_back
from edgetune_onnx.building import build
from edgetune_onnx.compensating import compensate
from edgetune_onnx.folders import write_merged, write_surroundings
from edgetune_onnx.graph import name_head_size, save, share_table, stamp
from edgetune_onnx.manifest import build_manifest
from edgetune_onnx.metadata_check import problems
from edgetune_onnx.places import add_places, remove_places
from edgetune_onnx.precision import NAMES, parse_precision
from edgetune_onnx.prepared import Prepared, prepare
from edgetune_onnx.products import SUFFIX, write_products

RUNTIME = "onnxruntime-genai"
#: Peak memory while building, in copies of the model in float32; measured on SmolLM2-135M (docs/guide/onnx.md).
_COPIES = {"fp32": 4, "fp16": 4, "int8": 5, "int4": 6}
#: Configurations and the graph without its weights, besides the tokenizer.
_SMALL_FILES = 2_000_000


class OnnxExporter:
    """Writes ONNX folders: through onnxruntime-genai's model builder, classifiers through torch's exporter."""

    format = "onnx"
    tasks = ("generation", "text-classification", "image-classification")

    @property
    def precisions(self) -> Sequence[str]:
        """Best quality first."""
        return NAMES

    @property
    def default_precision(self) -> str:
        """Eight bits."""
        return "int8"

    def precision(self, name: str) -> str:
        """The one name of a precision."""
        own = name.lower().replace("-", "_")
        return own if own in classifier.PRECISIONS else parse_precision(name).name

    def plan(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check everything that can be checked without writing, and predict the folder."""
        if model.task != "generation":
            return classifier.plan(model, precision)
        prepared = prepare(model, precision)
        if prepared.precision.compensates and model.importance is not None:
            prepared.products()  # of another model is said now; else it is collected when it is written
        return build_plan(prepared)

    def export(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write graph, tokenizer, configurations and manifest into ``folder``."""
        if model.task != "generation":
            return classifier.export(model, precision, folder)
        return self._export(prepare(model, precision), folder)

    importance_suffix = SUFFIX

    def importance_for(self, precision: str) -> Collected | None:
        """Of GPTQ the products of inputs; others look at weights only."""
        name = self.precision(precision)
        return "products" if name not in classifier.PRECISIONS and parse_precision(name).compensates else None

    def write_importance(self, model: TunedModel, found: Importance, file: Path) -> None:  # noqa: ARG002
        """Write the products of inputs; a graph has the model's own names for its layers."""
        if not found.products:
            raise ExportError(
                "the format 'onnx' rounds by the products of inputs, and only their squares were collected",
                hint="--quant int4_gptq collects them",
            )
        write_products(file, found)

    def plan_base(self, model: TunedModel, precision: str) -> ExportPlan:
        """As :meth:`plan`, with places for adapters in the graph."""
        _require_shareable(precision)
        return build_plan(prepare(model, precision, places=True))

    def export_base(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """As :meth:`export`, with places for adapters in the graph."""
        return self._export(prepare(model, precision, places=True), folder)

    def without_places(self, base: Artifact, folder: Path) -> Artifact:
        """A copy of a base whose graph takes no adapters."""
        return without_places(base, folder)

    @property
    def adapter_precisions(self) -> Sequence[str]:
        """The one there is."""
        return adapter.PRECISIONS

    def plan_adapter(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check that the places of a base can hold the adapter, and predict the file."""
        return adapter.plan(model, precision)

    def export_adapter(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write ``NAME-adapter-fp32.onnx_adapter`` and its manifest into ``folder``."""
        return adapter.export(model, precision, folder)

    def _export(self, prepared: Prepared, folder: Path) -> Artifact:
        plan = build_plan(prepared)
        # Beside the result, for as long as it is built: the merged weights in float32 and the builder's own graph.
        files.require_disk(folder.parent, 2 * plan.size_bytes + prepared.float_bytes, f"the {plan.precision} folder")
        require_memory(plan.peak_memory_bytes, f"exporting {prepared.model.name}")
        with files.atomic_path(folder) as temporary:
            temporary.mkdir()
            graph = _write(prepared, temporary)
            manifest = build_manifest(prepared, temporary, f"{layout.GRAPHS}/{graph}", self.format, RUNTIME)
            write_manifest(temporary, manifest)
        return Artifact(folder, manifest)

    def tensor_pairs(self, model: TunedModel, artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
        """Every tensor that the artifact has or should have."""
        assert artifact.manifest is not None, "verified artifacts have one"
        if artifact.beneath is not None:
            return adapter_reading.adapter_pairs(prepare(model, _precision(artifact.beneath)), artifact, tuned)
        prepared = prepare(model, artifact.manifest.precision)
        file = reading_back.GraphFile(artifact.main_file, prepared.head_rows)
        rounding = prepared.rounding(artifact.manifest.quantiser)
        pairs = reading_back.tensor_pairs(file, prepared.weights, tuned, tied=prepared.tied, rounding=rounding)
        return (replace(pair, compensated=prepared.compensated(pair.name)) for pair in pairs)

    def metadata_problems(self, model: TunedModel, artifact: Artifact) -> list[str]:
        """What configurations, tokenizer, graph and manifest say that is not so for the model."""
        if model.task != "generation":
            return classifier.metadata_problems(model, artifact)
        if artifact.beneath is None:
            return self._problems(model, artifact)
        found = self._problems(base_alone(model), artifact.beneath, places=True)
        return [*adapter_reading.metadata_problems(model, artifact), *(f"base: {problem}" for problem in found)]

    def _problems(self, model: TunedModel, artifact: Artifact, *, places: bool = False) -> list[str]:
        assert artifact.manifest is not None, "verified artifacts have one"
        prepared = prepare(model, artifact.manifest.precision, places=places)
        file = reading_back.GraphFile(artifact.main_file, prepared.head_rows)
        written = build_manifest(prepared, artifact.path, artifact.manifest.main_file, self.format, RUNTIME)
        # What was known of the inputs may be gone from the run: nothing else is judged by it.
        kept = artifact.manifest.importance_sha256 if prepared.precision.compensates else None
        expected = written.model_copy(update={"importance_sha256": kept})
        return problems(prepared, artifact, file, expected)


def _require_shareable(precision: str) -> None:
    """A base that adapters share is rounded for none of them.

    Raises:
        ExportError: the precision rounds by what flows through one model.
    """
    if parse_precision(precision).compensates:
        raise ExportError(
            "GPTQ rounds for what flows through one model, and a base that adapters share is none of theirs",
            hint="choose a precision such as int8 for the base",
        )


def build_plan(prepared: Prepared) -> ExportPlan:
    """Predict a folder."""
    tokenizer = [path.stat().st_size for path in prepared.model.tokenizer_folder.glob("tokenizer*") if path.is_file()]
    notes: tuple[str, ...] = ()
    if prepared.precision.bits and not prepared.tied:
        notes = ("the embedding stays float32: it is not the head's table, and only that is looked up in few bits",)
    beside = sum(tokenizer) + _SMALL_FILES
    return ExportPlan(
        precision=prepared.precision.name,
        tensor_types=prepared.tensor_types,
        fallbacks={},
        size_bytes=sum(map(prepared.stored_bytes, prepared.names)) + beside,
        peak_memory_bytes=_COPIES[prepared.precision.kind] * prepared.float_bytes,
        notes=notes,
        unsure_bytes=beside,
    )


def _write(prepared: Prepared, folder: Path) -> str:
    """Write everything but the manifest, and return the graph's file name."""
    import onnx

    precision, config = prepared.precision, prepared.config
    merged, built = folder / "merged", folder / "built"
    write_merged(prepared, merged)
    steps = config.layers + sum(prepared.bits(name) is not None for name in prepared.names)
    graph = onnx.load(build(merged, built, precision, steps))
    name_head_size(graph, config.head_dim)
    if precision.kind == "int8" and prepared.tied:
        share_table(graph, precision.block)
    if precision.compensates:
        compensate(graph, prepared, prepared.products())
    if prepared.places:
        shapes = {name: prepared.weights.tensors[name].shape for name in prepared.names}
        add_places(graph, shapes, half=precision.kind == "fp16")
    stamp(graph, prepared.facts)
    (folder / layout.GRAPHS).mkdir()
    names = save(graph, folder / layout.GRAPHS / precision.file_name)
    (built / layout.GENAI).replace(folder / layout.GENAI)
    shutil.rmtree(merged)
    shutil.rmtree(built)
    write_surroundings(prepared, folder, names)
    return names[0]


def without_places(base: Artifact, folder: Path) -> Artifact:
    """A copy of a base in ``folder`` whose graph takes no adapters; its manifest has no hashes."""
    import onnx

    assert base.manifest is not None, "exported bases have one"
    graphs = base.main_file.parent
    shutil.copytree(base.path, folder, ignore=lambda *_: [MANIFEST, graphs.name])
    graph = onnx.load(base.main_file)
    remove_places(graph)
    (folder / graphs.name).mkdir()
    save(graph, folder / base.manifest.main_file)
    changes = {"adapter_inputs": False, "sha256": {}, "size_bytes": 0}
    return Artifact(folder, base.manifest.model_copy(update=changes))


def _precision(artifact: Artifact) -> str:
    assert artifact.manifest is not None, "bases of adapters have one"
    return artifact.manifest.precision
