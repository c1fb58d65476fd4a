"""What a written folder says of itself in ``manifest.json``."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from edgetune import __version__, files
from edgetune.artifact import ArtifactManifest
from edgetune.exporters import public_name
from edgetune.models import hash_template, load_tokenizer
from edgetune_onnx import blocks
from edgetune_onnx.prepared import Prepared


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
        quantiser=blocks.identity() if prepared.precision.bits else None,
        importance_sha256=files.sha256_file(model.importance)
        if prepared.precision.compensates and model.importance
        else None,
        adapter_base=None if model.adapter_folder or model.run else model.adapter_base,
        adapter_inputs=prepared.places,
    )
