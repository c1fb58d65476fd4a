"""The exporter: a tuned model becomes a folder with an ONNX graph, its tokenizer and its configurations."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edgetune import __version__, files
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.exporters import ExportPlan, TensorPair, TunedModel, public_name
from edgetune.memory import require_memory
from edgetune.models import hash_template, load_tokenizer
from edgetune_onnx import layout, reading_back
from edgetune_onnx.building import build
from edgetune_onnx.folders import write_merged, write_surroundings
from edgetune_onnx.graph import name_head_size, save, share_table, stamp
from edgetune_onnx.metadata_check import problems
from edgetune_onnx.precision import NAMES, parse_precision
from edgetune_onnx.prepared import Prepared, prepare

RUNTIME = "onnxruntime-genai"
#: Peak memory while building, in copies of the model in float32; measured on SmolLM2-135M (docs/guide/onnx.md).
_COPIES = {"fp32": 4, "fp16": 4, "int8": 5, "int4": 6}
#: Configurations and the graph without its weights, besides the tokenizer.
_SMALL_FILES = 2_000_000


class OnnxExporter:
    """Writes ONNX folders through onnxruntime-genai's model builder."""

    format = "onnx"

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
        return parse_precision(name).name

    def plan(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check everything that can be checked without writing, and predict the folder."""
        return build_plan(prepare(model, precision))

    def export(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write graph, tokenizer, configurations and manifest into ``folder``."""
        prepared = prepare(model, precision)
        plan = build_plan(prepared)
        # Beside the result, for as long as it is built: the merged weights in float32 and the builder's own graph.
        files.require_disk(folder.parent, 2 * plan.size_bytes + prepared.float_bytes, f"the {plan.precision} folder")
        require_memory(plan.peak_memory_bytes, f"exporting {model.name}")
        with files.atomic_path(folder) as temporary:
            temporary.mkdir()
            graph = _write(prepared, temporary)
            manifest = build_manifest(prepared, temporary, f"{layout.GRAPHS}/{graph}", self.format, RUNTIME)
            write_manifest(temporary, manifest)
        return Artifact(folder, manifest)

    def tensor_pairs(self, model: TunedModel, artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
        """Every tensor that the artifact has or should have."""
        assert artifact.manifest is not None, "verified artifacts have one"
        prepared = prepare(model, artifact.manifest.precision)
        file = reading_back.GraphFile(artifact.main_file, prepared.head_rows)
        return reading_back.tensor_pairs(file, prepared.weights, tuned, tied=prepared.tied)

    def metadata_problems(self, model: TunedModel, artifact: Artifact) -> list[str]:
        """What configurations, tokenizer, graph and manifest say that is not so for the model."""
        assert artifact.manifest is not None, "verified artifacts have one"
        prepared = prepare(model, artifact.manifest.precision)
        file = reading_back.GraphFile(artifact.main_file, prepared.head_rows)
        expected = build_manifest(prepared, artifact.path, artifact.manifest.main_file, self.format, RUNTIME)
        return problems(prepared, artifact, file, expected)


def build_plan(prepared: Prepared) -> ExportPlan:
    """Predict a folder."""
    tokenizer = [path.stat().st_size for path in prepared.model.tokenizer_folder.glob("tokenizer*") if path.is_file()]
    notes: tuple[str, ...] = ()
    if prepared.precision.bits and not prepared.tied:
        notes = ("the embedding stays float32: it is not the head's table, and only that is looked up in few bits",)
    return ExportPlan(
        precision=prepared.precision.name,
        tensor_types=prepared.tensor_types,
        fallbacks={},
        size_bytes=sum(map(prepared.stored_bytes, prepared.names)) + sum(tokenizer) + _SMALL_FILES,
        peak_memory_bytes=_COPIES[prepared.precision.kind] * prepared.float_bytes,
        notes=notes,
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
    stamp(graph, prepared.facts)
    (folder / layout.GRAPHS).mkdir()
    names = save(graph, folder / layout.GRAPHS / precision.file_name)
    (built / layout.GENAI).replace(folder / layout.GENAI)
    shutil.rmtree(merged)
    shutil.rmtree(built)
    write_surroundings(prepared, folder, names)
    return names[0]


def build_manifest(prepared: Prepared, folder: Path, graph: str, format: str, runtime: str) -> ArtifactManifest:
    """What a written folder is."""
    model, config = prepared.model, prepared.config
    hashes = dict(files.sha256_files(folder))
    return ArtifactManifest(
        name=f"{model.name}-{prepared.precision.name}",
        format=format,
        precision=prepared.precision.name,
        runtime=runtime,
        main_file=graph,
        weights="merged" if model.adapter_folder else "whole" if model.run else "base",
        architecture=config.architecture,
        base_source=public_name(model.base_source),
        base_sha256=model.base_sha256,
        merged_into=model.trained_against or "none",
        chat_template_sha256=hash_template(load_tokenizer(model.tokenizer_folder)),
        stop_ids=prepared.stop_ids,
        system=model.system,
        context_length=config.context,
        parameters=sum(prepared.weights.tensors[name].elements for name in prepared.names),
        tensor_types=prepared.tensor_types,
        fallbacks={},
        sha256=hashes,
        size_bytes=sum((folder / name).stat().st_size for name in hashes),
        edgetune=__version__,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        licence=model.licence,
        run=model.run,
        adapter_base=None if model.adapter_folder or model.run else model.adapter_base,
    )
