"""llama.cpp's importance matrix: how strongly each input of each weight is used.

A quantiser that knows it spends its precision on the columns that matter. The file is GGUF with
``general.type`` "imatrix" and for each weight ``NAME.in_sum2`` (1, columns), the sum over tokens of the squared
inputs, and ``NAME.counts`` (1, 1), the tokens: what llama.cpp's ``llama-imatrix`` writes and its
``llama-quantize --imatrix`` reads (tools/imatrix in its sources).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgetune import files
from edgetune.errors import ExportError, ModelError
from edgetune.exporters import Importance
from edgetune.models.gguf_file import read_gguf

if TYPE_CHECKING:
    from gguf import GGUFWriter

_SUMS, _COUNTS = ".in_sum2", ".counts"
#: Edgetune's own, which llama.cpp's tools skip: the curvature of a weight, (1, 1).
_CURVATURE = ".curvature"
#: In a model's file: what its imatrix was called, and what was in it; the keys of llama-quantize.
FILE_KEY = "quantize.imatrix.file"
DATASET_KEY, ENTRIES_KEY, CHUNKS_KEY = (
    f"quantize.imatrix.{key}" for key in ("dataset", "entries_count", "chunks_count")
)
#: Of "imatrix.chunk_size"; llama.cpp's tools count tokens in chunks of their context.
CHUNK = 512


@dataclass(frozen=True)
class Imatrix:
    """A file's content.

    Attributes:
        means: weight → (columns,) float32, mean over tokens of the squared inputs.
        chunks: how much text it rests on, in chunks.
        datasets: names of the texts.
        name: of the file.
        sha256: of the file.
        curvature: weight → see :func:`edgetune.importance.curving.curvature`; empty in a file from elsewhere.
    """

    means: Mapping[str, NDArray[np.float32]]
    chunks: int
    datasets: tuple[str, ...]
    name: str
    sha256: str
    curvature: Mapping[str, float]

    @classmethod
    def gone(cls, sha256: str) -> Imatrix:
        """One of which nothing but the hash is known."""
        return cls({}, 0, (), "", sha256, {})

    def require_fit(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Check that it is of a model with these tensors.

        Raises:
            ExportError: it names weights that the model has not, or has in other widths, or none that it has.
        """
        problems = [f"{name} is not in the model" for name in self.means if name not in shapes]
        problems += [
            f"{name} has {len(found)} inputs, in the model {shapes[name][-1]}"
            for name, found in self.means.items()
            if name in shapes and len(found) != shapes[name][-1]
        ]
        if problems or not self.means:
            raise ExportError(
                f"the imatrix {self.name} is of another model: {problems[0] if problems else 'it holds nothing'}",
                hint="collect one of this model: --imatrix auto",
                problems=problems,
            )


def read_imatrix(path: Path) -> Imatrix:
    """Read an importance matrix in GGUF.

    Raises:
        ExportError: there is none, it is damaged or no importance matrix, or a value is negative or not finite.
    """
    hint = "give a GGUF file that llama-imatrix wrote, or --imatrix auto"
    if not path.is_file():
        raise ExportError(f"no such imatrix: {path}", hint=hint)
    try:
        file = read_gguf(path)
    except ModelError as error:
        raise ExportError(f"{path} is not an imatrix in GGUF: {error.message}", hint=hint) from error
    if file.metadata.get("general.type") != "imatrix":
        raise ExportError(f"{path} is no imatrix: its general.type is not 'imatrix'", hint=hint)
    names = [name.removesuffix(_SUMS) for name in file.tensors if name.endswith(_SUMS)]
    try:
        means = {name: _mean(file.values(name + _SUMS), file.values(name + _COUNTS)) for name in names}
        curved = [name for name in file.tensors if name.endswith(_CURVATURE)]
        curvature = {name.removesuffix(_CURVATURE): _number(file.values(name)) for name in curved}
    except (KeyError, ValueError, ModelError) as error:
        raise ExportError(f"{path} is a damaged imatrix: {error}", hint=hint) from error
    datasets = tuple(map(str, file.metadata.get("imatrix.datasets", ())))
    chunks = int(file.metadata.get("imatrix.chunk_count", 0))
    return Imatrix(means, chunks, datasets, path.name, files.sha256_file(path), curvature)


def _mean(sums: NDArray[np.float32], counts: NDArray[np.float32]) -> NDArray[np.float32]:
    """As llama-quantize has it: an input that was never seen counts 1."""
    if counts.size != 1 or sums.ndim > 2 or (sums.ndim == 2 and sums.shape[0] != 1):
        raise ValueError("entries of mixtures of experts are not supported")
    if not np.isfinite(sums).all() or sums.min(initial=0) < 0:
        raise ValueError("a sum of squares is negative or not finite")
    count = float(counts.reshape(-1)[0])
    flat = np.ascontiguousarray(sums.reshape(-1), np.float32)
    return flat / np.float32(count) if count > 0 else np.ones_like(flat)


def _number(values: NDArray[np.float32]) -> float:
    if values.size != 1 or not np.isfinite(values).all() or values.min() < 0:
        raise ValueError("a curvature is no number, negative or not finite")
    return float(values.reshape(-1)[0])


def write_imatrix(path: Path, found: Importance, names: Mapping[str, str]) -> None:
    """Write an importance matrix.

    Args:
        path: of the file.
        found: by transformers' module names.
        names: from transformers' tensor names to llama.cpp's.
    """
    from gguf import GGUFWriter

    entries = {names[f"{module}.weight"]: sums for module, sums in found.squares.items()}
    with files.atomic_path(path) as temporary:
        writer = GGUFWriter(temporary, "imatrix")
        writer.add_type("imatrix")
        writer.add_array("imatrix.datasets", list(found.texts))
        writer.add_uint32("imatrix.chunk_count", max(1, found.tokens // CHUNK))
        writer.add_uint32("imatrix.chunk_size", CHUNK)
        for name in sorted(entries):
            writer.add_tensor(name + _SUMS, entries[name][None])
            writer.add_tensor(name + _COUNTS, np.full((1, 1), found.tokens, np.float32))
        for module, value in found.curvature.items():
            writer.add_tensor(names[f"{module}.weight"] + _CURVATURE, np.full((1, 1), value, np.float32))
        try:
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()


def add_imatrix(writer: GGUFWriter, imatrix: Imatrix) -> None:
    """Say in a model's file which importance matrix it was quantised with."""
    writer.add_string(FILE_KEY, imatrix.name)
    writer.add_string(DATASET_KEY, ", ".join(imatrix.datasets))
    writer.add_uint32(ENTRIES_KEY, len(imatrix.means))
    writer.add_uint32(CHUNKS_KEY, imatrix.chunks)
