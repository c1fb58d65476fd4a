"""A written adapter beside what it should hold: its keys, and its sum with the base tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from edgetune import files
from edgetune.artifact import Artifact
from edgetune.differences import manifest_problems, missing_problems
from edgetune.errors import ArtifactError
from edgetune.exporters import TunedModel
from edgetune.models.gguf_file import GgufFile
from edgetune.readback import TensorPair
from edgetune_gguf import reading_back
from edgetune_gguf.adapter import EMBEDDING, A, B, adapter_manifest, adapter_metadata, missing_of, plan_file
from edgetune_gguf.preparing import build_metadata
from edgetune_gguf.tensors import FileTensor, Values

#: By an adapter's precision, what rounding of its factors may change in their product.
_ROUNDING = {"f16": 1e-3, "f32": 1e-6}


def metadata_problems(model: TunedModel, artifact: Artifact) -> list[str]:
    """What an adapter's file and manifest say that is not so for the model."""
    assert artifact.manifest is not None, "verified artifacts have one"
    written = artifact.manifest
    found = plan_file(model, written.precision)
    file = reading_back.open_file(artifact)
    base = found.base
    stop_ids = build_metadata(base)[1].stop_ids
    # What an approximation left out is compared by itself: computed again it is not the same to the last digit.
    prepared = replace(base, model=model, precision=found.precision, choices={})
    digest = files.sha256_file(artifact.main_file)
    expected = adapter_manifest(prepared, artifact.main_file, stop_ids, written.missing, digest)
    same = {field: getattr(written, field) for field in ("parameters", "tensor_types")}
    return [
        *reading_back.metadata_problems(file, adapter_metadata(found)),
        *reading_back.type_problems(file, dict.fromkeys(file.tensors, found.precision.upper())),
        *manifest_problems(written, expected.model_copy(update=same)),
        *missing_problems(written.missing, missing_of(found)),
    ]


def tensor_pairs(tensors: Sequence[FileTensor], artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
    """Base and adapter together, as llama.cpp adds them, beside the trained model.

    Raises:
        ArtifactError: a file cannot be read.
    """
    assert artifact.manifest is not None, "verified artifacts have one"
    assert artifact.beneath is not None, "adapters are verified on a base"
    adapter, base = reading_back.open_file(artifact), reading_back.open_file(artifact.beneath)
    adapted = {name.removesuffix(A).removesuffix(B) for name in adapter.tensors}
    for pair in reading_back.tensor_pairs(tensors, base, tuned, reading_back.Rounding(known=False)):
        if pair.name not in adapted or pair.stored is None:
            yield pair
            continue
        adapted.discard(pair.name)
        missing = artifact.manifest.missing.get(pair.name, 0.0) + _ROUNDING.get(artifact.manifest.precision, 0.0)
        yield replace(pair, stored=_sum_of(pair.name, pair.stored, adapter), missing=missing)
    for name in sorted(adapted):
        yield TensorPair(name, "", problem="the base has no such tensor, the adapter changes it")


def _sum_of(name: str, stored: Callable[[], Values], adapter: GgufFile) -> Callable[[], Values]:
    """Reads a tensor of the base and adds what the adapter has for it."""

    def read() -> Values:
        if "adapter.lora.alpha" not in adapter.metadata:
            raise ArtifactError("the adapter has no adapter.lora.alpha", hint="export it again")
        alpha = float(adapter.metadata["adapter.lora.alpha"])
        if name + A not in adapter.tensors or name + B not in adapter.tensors:
            raise ArtifactError(f"the adapter has only half of {name}", hint="export it again")
        a, b = adapter.values(name + A), adapter.values(name + B)
        if name == EMBEDDING:
            a, b = b.T, a
            rank = a.shape[0]
        else:
            rank = b.shape[1]
        values = stored()
        if a.ndim != 2 or b.ndim != 2 or (b.shape[0], a.shape[1]) != values.shape or b.shape[1] != a.shape[0]:
            raise ArtifactError(f"the adapter's matrices of {name} do not fit it", hint="export it again")
        total: Values = values + np.float32(alpha / rank if alpha else 1.0) * (b @ a)
        return total

    return read
