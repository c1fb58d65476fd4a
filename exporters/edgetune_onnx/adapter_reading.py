"""A written adapter beside what it should hold: its file, and its sum with the base tensor by tensor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from edgetune.artifact import Artifact
from edgetune.differences import manifest_problems, missing_problems
from edgetune.errors import ArtifactError
from edgetune.exporters import TunedModel
from edgetune.readback import TensorPair, Values
from edgetune.runtimes.onnx_adapters import AdapterFile, base_mark, read_adapter
from edgetune_onnx.adapter import adapter_manifest, missing_of, plan_file
from edgetune_onnx.places import A, B, inputs_of
from edgetune_onnx.prepared import Prepared
from edgetune_onnx.reading_back import GraphFile, tensor_pairs

#: What rounding to float32 may change in the product of an adapter's factors.
_ROUNDING = 1e-6


def metadata_problems(model: TunedModel, artifact: Artifact) -> list[str]:
    """What an adapter's file and manifest say that is not so for the model."""
    assert artifact.manifest is not None, "verified artifacts have one"
    written, name = artifact.manifest, artifact.main_file.name
    found = plan_file(model, written.precision)
    file = read_adapter(artifact.main_file)
    wanted = {tensor for weight in found.lora.modules for tensor in inputs_of(weight)}
    problems = [f"{name}: {tensor} is missing" for tensor in sorted(wanted - set(file.tensors))]
    problems += [f"{name}: {tensor} is not the adapter's" for tensor in sorted(set(file.tensors) - wanted)]
    kinds = {str(tensor.dtype) for tensor in file.tensors.values()} - {"float32"}
    problems += [f"{name}: holds {kind} numbers" for kind in sorted(kinds)]
    if file.mark != base_mark(model.adapter_base):
        problems.append(f"{name}: names another base than the one it was trained on")
    # What an approximation left out is compared by itself: computed again it is not the same to the last digit.
    expected = adapter_manifest(found, artifact.main_file, {}, written.missing)
    same = {field: getattr(written, field) for field in ("parameters", "tensor_types")}
    problems += manifest_problems(written, expected.model_copy(update=same))
    return [*problems, *missing_problems(written.missing, missing_of(found))]


def adapter_pairs(beneath: Prepared, artifact: Artifact, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
    """Base and adapter together, as the graph adds them, beside the trained model.

    Args:
        beneath: the trained model, its adapter merged, in the precision of the base.
        artifact: the adapter with its base.
        tuned: the trained model's own tensors.

    Raises:
        ArtifactError: a file cannot be read.
    """
    assert artifact.manifest is not None, "verified artifacts have one"
    assert artifact.beneath is not None, "adapters are verified on a base"
    adapter = read_adapter(artifact.main_file)
    base = GraphFile(artifact.beneath.main_file, beneath.head_rows)
    adapted = {name.removesuffix(A).removesuffix(B) + ".weight" for name in adapter.tensors}
    rounding = beneath.rounding(artifact.beneath.manifest.quantiser if artifact.beneath.manifest else None)
    for pair in tensor_pairs(base, beneath.weights, tuned, tied=beneath.tied, rounding=rounding):
        if pair.name not in adapted or pair.stored is None:
            yield pair
            continue
        adapted.discard(pair.name)
        missing = artifact.manifest.missing.get(pair.name, 0.0) + _ROUNDING
        yield replace(pair, stored=_sum_of(pair.name, pair.stored, adapter), missing=missing, rounded=None)
    for name in sorted(adapted):
        yield TensorPair(name, "", problem="the base has no such tensor, the adapter changes it")


def _sum_of(weight: str, stored: Callable[[], Values], adapter: AdapterFile) -> Callable[[], Values]:
    """Reads a tensor of the base and adds what the adapter has for it."""

    def read() -> Values:
        values, names = stored(), inputs_of(weight)
        if not all(name in adapter.tensors for name in names):
            raise ArtifactError(f"the adapter has only half of {weight}", hint="export it again")
        a, b = (adapter.tensors[name].astype(np.float32, copy=False) for name in names)
        if a.shape[-1:] != b.shape[:1] or (b.shape[-1], a.shape[0]) != values.shape:
            raise ArtifactError(f"the adapter's matrices of {weight} do not fit it", hint="export it again")
        total: Values = values + (a @ b).T
        return total

    return read
