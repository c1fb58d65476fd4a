"""The adapter alone: an ``.onnx_adapter`` that onnxruntime puts into the inputs of a base's graph.

The graph adds ``(x A) B`` to each linear layer (:mod:`edgetune_onnx.places`) and knows no alpha, so the true scale of a
module, whatever PEFT's settings make it, is in its B. The numbers are float32, as the places are, whatever the
precision of the base.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune import console, extras, files
from edgetune.adapters.canonical import CanonicalLora, Factors, LoraModule, canonical_lora, missing_note
from edgetune.adapters.merging import merged_weights
from edgetune.adapters.tuned import base_alone
from edgetune.artifact import Artifact, ArtifactManifest, write_manifest
from edgetune.errors import ExportError
from edgetune.exporters import ExportPlan, TunedModel
from edgetune.runtimes.onnx_adapters import base_mark
from edgetune_onnx.manifest import build_manifest
from edgetune_onnx.places import has_place, inputs_of
from edgetune_onnx.precision import parse_precision
from edgetune_onnx.prepared import Prepared, prepare

#: Precisions of an adapter's numbers, the default first.
PRECISIONS = ("fp32",)
FORMAT, RUNTIME = "onnx", "onnxruntime-genai"
SUFFIX = ".onnx_adapter"
#: Names of the tensors, and what is between them.
_TENSOR_BYTES = 256


@dataclass(frozen=True)
class AdapterPlan:
    """An adapter that can be written, its factors not yet computed."""

    base: Prepared
    model: TunedModel
    precision: str
    lora: CanonicalLora

    @property
    def elements(self) -> int:
        """Numbers in the file; of approximations, at most."""
        return sum(module.rank * sum(module.shape) for module in self.lora.modules.values())


def plan(model: TunedModel, precision: str) -> ExportPlan:
    """Check as :func:`plan_file` does, and predict the file."""
    found = plan_file(model, precision)
    count = 2 * len(found.lora.modules)
    return ExportPlan(
        precision=found.precision,
        tensor_types={"F32": count},
        fallbacks={},
        size_bytes=4 * found.elements + _TENSOR_BYTES * count,
        peak_memory_bytes=3 * 4 * found.elements,
        notes=found.lora.notes,
    )


def plan_file(model: TunedModel, precision: str) -> AdapterPlan:
    """Check everything that can be checked without computing factors.

    Raises:
        ExportError: the places of a base cannot hold what the adapter does, or the base cannot be exported.
    """
    if precision not in PRECISIONS:
        parse_precision(precision)  # a name that does not exist at all is told so
        raise ExportError(f"an ONNX adapter has no precision {precision}", hint=f"it has: {', '.join(PRECISIONS)}")
    base = prepare(base_alone(model), precision, places=True)
    lora = canonical_lora(merged_weights(model))
    lora.require_low_rank("an ONNX adapter")
    without = [weight for weight in lora.modules if not has_place(weight)]
    if problems := [f"{weight} has no place in the graph of a base" for weight in without]:
        raise ExportError(
            f"an ONNX adapter cannot say this: {problems[0]}",
            hint="merge it: edgetune export without --adapter separate",
            problems=problems,
        )
    return AdapterPlan(base, model, precision, lora)


def export(model: TunedModel, precision: str, folder: Path) -> Artifact:
    """Write ``NAME-adapter-PRECISION.onnx_adapter`` and its manifest into ``folder``."""
    found = plan_file(model, precision)
    files.require_disk(folder.parent, plan(model, precision).size_bytes, "the adapter")
    tensors, missing = _tensors(found)
    if missing:
        console.note(f"note: {missing_note(missing)}")
    with files.atomic_path(folder) as temporary:
        temporary.mkdir()
        file = temporary / f"{model.name}-adapter-{precision}{SUFFIX}"
        write(file, tensors, model.adapter_base)
        manifest = adapter_manifest(found, file, tensors, missing)
        write_manifest(temporary, manifest)
    return Artifact(folder, manifest)


def write(file: Path, tensors: Mapping[str, NDArray[np.float32]], adapter_base: str) -> None:
    """Write an adapter file, with a mark of the base it belongs to."""
    onnxruntime: Any = extras.require("onnxruntime", extra="onnx-export", needed_for="writing an ONNX adapter")
    values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(tensor) for name, tensor in tensors.items()}
    adapter = onnxruntime.AdapterFormat()
    adapter.set_adapter_version(1)
    adapter.set_model_version(base_mark(adapter_base))
    adapter.set_parameters(values)
    adapter.export_adapter(str(file))


def adapter_manifest(
    found: AdapterPlan, file: Path, tensors: Mapping[str, NDArray[np.float32]], missing: Mapping[str, float]
) -> ArtifactManifest:
    """What a written adapter is."""
    model = found.model
    own = build_manifest(replace(found.base, model=model), file.parent, file.name, FORMAT, RUNTIME)
    changes = {
        "name": f"{model.name}-adapter-{found.precision}",
        "precision": found.precision,
        "weights": "adapter",
        "merged_into": model.trained_against or "base",
        "adapter_base": model.adapter_base,
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "tensor_types": {"F32": len(tensors)},
        "missing": dict(missing),
    }
    hashes = {file.name: files.sha256_file(file)}
    return own.model_copy(update=changes | {"sha256": hashes, "size_bytes": file.stat().st_size})


def missing_of(found: AdapterPlan) -> dict[str, float]:
    """Of each approximated weight, what is missing: nothing where the adapter is a LoRA."""
    return {} if found.lora.is_exact else _tensors(found)[1]


def _tensors(found: AdapterPlan) -> tuple[dict[str, NDArray[np.float32]], dict[str, float]]:
    """Every tensor of the file, and what approximations miss."""
    tensors: dict[str, NDArray[np.float32]] = {}
    missing: dict[str, float] = {}
    with console.progress("Reading the adapter", len(found.lora.modules), "modules") as bar:
        for module, factors in found.lora.all_factors():
            tensors |= zip(inputs_of(module.weight), _pair(module, factors), strict=True)
            if not module.exact:
                missing[module.weight] = round(factors.residual, 6)
            bar.advance()
    return tensors, missing


def _pair(module: LoraModule, factors: Factors) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A (in, rank) and B (rank, out) as the graph multiplies them."""
    a, b = factors.a.T, factors.b.T
    if module.transposed:
        a, b = b.T, a.T
    return np.ascontiguousarray(a, np.float32), np.ascontiguousarray(b, np.float32)
