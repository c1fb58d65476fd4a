"""A written file beside what it should hold: metadata key by key, weights tensor by tensor."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edgetune.artifact import Artifact
from edgetune.differences import setting_problems
from edgetune.errors import ArtifactError, ModelError
from edgetune.models.gguf_file import GgufFile, read_gguf
from edgetune.readback import TensorPair, Trained, Values
from edgetune_gguf.imatrix import FILE_KEY
from edgetune_gguf.mixture import UNWEIGHTED
from edgetune_gguf.quantiser import rounded_values
from edgetune_gguf.tensors import FileTensor

if TYPE_CHECKING:
    from gguf import GGUFWriter


@dataclass(frozen=True)
class Rounding:
    """How a file's values were rounded.

    Attributes:
        known: by the very quantiser that is installed here.
        weighted: the importance of inputs was minded.
        importance: of some tensors' inputs: (columns,) float32; None: it was minded, and is not known any more.
    """

    known: bool
    weighted: bool = False
    importance: Mapping[str, Values] | None = None

    def of(self, name: str, kind: str) -> Callable[[Values], Values] | None:
        """Rounds rows of a tensor; None where that cannot be repeated, or where rounding changes next to nothing."""
        if not self.known or not kind or kind in UNWEIGHTED or (self.weighted and self.importance is None):
            return None
        return partial(rounded_values, kind=kind, importance=(self.importance or {}).get(name))


def open_file(artifact: Artifact) -> GgufFile:
    """The artifact's file.

    Raises:
        ArtifactError: it cannot be read as GGUF.
    """
    try:
        return read_gguf(artifact.main_file)
    except ModelError as error:
        raise ArtifactError(error.message, hint="export it again") from error


def tensor_pairs(
    tensors: Sequence[FileTensor], file: GgufFile, tuned: Mapping[str, Any], rounding: Rounding
) -> Iterator[TensorPair]:
    """Every tensor that the file has or should have, in the file's order.

    Args:
        tensors: those that the file should have.
        file: the artifact's.
        tuned: the trained model's.
        rounding: that wrote the file.
    """
    wanted = {tensor.name: tensor for tensor in tensors}
    for name in dict.fromkeys([*file.tensors, *wanted]):
        pair = _pair(name, file, wanted.get(name), tuned)
        searched = rounding.weighted and pair.type not in UNWEIGHTED
        yield replace(pair, searched=searched, rounded=rounding.of(name, pair.type))


def metadata_problems(file: GgufFile, writer: GGUFWriter, forgotten: Sequence[str] = ()) -> list[str]:
    """Keys of the file that are missing, or do not have the value that the exporter would write now.

    Args:
        file: the artifact's.
        writer: of what would be written now.
        forgotten: keys whose value nobody knows any more.
    """
    expected = {key: value.value for key, value in writer.kv_data[0].items()}
    # Who wrote it, and what its run's folder and its imatrix are called today, is no fault of the file.
    named = ("edgetune.version", "edgetune.run", FILE_KEY, *forgotten)
    expected |= {key: file.metadata[key] for key in named if key in file.metadata}
    problems = setting_problems(file.metadata, expected)
    return problems + [f"{key} is not among what is written" for key in file.metadata if key not in expected]


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
