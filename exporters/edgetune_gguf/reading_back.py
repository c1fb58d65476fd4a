"""A written file beside what it should hold: metadata key by key, weights tensor by tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from edgetune.artifact import Artifact, ArtifactManifest
from edgetune.errors import ArtifactError, ModelError
from edgetune.exporters import TensorPair, Trained
from edgetune.models.gguf_file import GgufFile, read_gguf
from edgetune_gguf.tensors import FileTensor

if TYPE_CHECKING:
    from gguf import GGUFWriter

#: Values longer than this are not printed whole.
SHOWN = 60


def open_file(artifact: Artifact) -> GgufFile:
    """The artifact's file.

    Raises:
        ArtifactError: it cannot be read as GGUF.
    """
    try:
        return read_gguf(artifact.main_file)
    except ModelError as error:
        raise ArtifactError(error.message, hint="export it again") from error


def tensor_pairs(tensors: Sequence[FileTensor], file: GgufFile, tuned: Mapping[str, Any]) -> Iterator[TensorPair]:
    """Every tensor that the file has or should have, in the file's order.

    Args:
        tensors: those that the file should have.
        file: the artifact's.
        tuned: the trained model's.
    """
    wanted = {tensor.name: tensor for tensor in tensors}
    for name in dict.fromkeys([*file.tensors, *wanted]):
        yield _pair(name, file, wanted.get(name), tuned)


def metadata_problems(file: GgufFile, writer: GGUFWriter) -> list[str]:
    """Keys of the file that are missing, or do not have the value that the exporter would write now."""
    expected = {key: value.value for key, value in writer.kv_data[0].items()}
    # Who wrote it, and what its run's folder is called today, is no fault of the file.
    expected |= {key: file.metadata[key] for key in ("edgetune.version", "edgetune.run") if key in file.metadata}
    problems = []
    for key, value in expected.items():
        if key not in file.metadata:
            problems.append(f"{key} is missing")
        elif _plain(file.metadata[key]) != _plain(value):
            problems.append(f"{key} {_difference(_plain(file.metadata[key]), _plain(value))}")
    return problems + [f"{key} is not among what is written" for key in file.metadata if key not in expected]


def manifest_problems(found: ArtifactManifest, expected: ArtifactManifest) -> list[str]:
    """Fields of a manifest that are not what would be written now."""
    wanted, written = expected.model_dump(), found.model_dump()
    # When, by which edgetune, and what the run's folder is called today, is no fault of the artifact.
    ignored = {"created", "edgetune", "run", "inputs_sha256", "sha256", "size_bytes", "main_file"}
    return [
        f"manifest.json: {field} {_difference(_plain(written[field]), _plain(value))}"
        for field, value in wanted.items()
        if field not in ignored and _plain(written[field]) != _plain(value)
    ]


def type_problems(file: GgufFile, wanted: Mapping[str, str]) -> list[str]:
    """Tensors that are of another type than the precision means for them; one line for each pair of types."""
    others = Counter(
        (tensor.type_name, wanted[name])
        for name, tensor in file.tensors.items()
        if name in wanted and tensor.type_name != wanted[name]
    )
    return [f"{count} tensors are {found} where {asked} was asked for" for (found, asked), count in others.items()]


def _pair(name: str, file: GgufFile, wanted: FileTensor | None, tuned: Mapping[str, Any]) -> TensorPair:
    found = file.tensors.get(name)
    if found is None:
        return TensorPair(name, "", problem="missing")
    if wanted is None:
        return TensorPair(name, found.type_name, problem="the trained model has no such tensor")
    if found.shape != wanted.shape:
        return TensorPair(name, found.type_name, problem=f"shape {found.shape}, not {wanted.shape}")
    trained = partial(wanted.parts, tuned) if wanted.parts else lambda: Trained(wanted.make())
    return TensorPair(name, found.type_name, partial(file.values, name), trained)


def _plain(value: Any) -> Any:
    """Numbers as the file can hold them: a float there has 32 bits."""
    import numpy as np

    if isinstance(value, float):
        return float(np.float32(value))
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _difference(found: Any, wanted: Any) -> str:
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            return f"has {len(found)} entries where the model has {len(wanted)}"
        first = next(i for i, (one, other) in enumerate(zip(found, wanted, strict=True)) if one != other)
        return f"differs first at entry {first}: {_short(found[first])}, should be {_short(wanted[first])}"
    return f"is {_short(found)}, should be {_short(wanted)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else text[:SHOWN] + "…"
