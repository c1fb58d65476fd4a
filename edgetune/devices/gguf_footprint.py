"""What a GGUF file costs, from its header alone."""

from __future__ import annotations

import math
from collections.abc import Iterator

from edgetune.artifact import Artifact
from edgetune.devices.footprint import Footprint
from edgetune.devices.rearranging import ROWS, TYPES
from edgetune.errors import ArtifactError
from edgetune.runtimes.gguf_header import GgufHeader, TensorEntry, check_file

#: Tables of which a token reads its own rows.
_ROWS = ("token_embd.weight", "per_layer_token_embd.weight", "token_types.weight", "position_embd.weight")
_HEAD = "output.weight"


def read_gguf(artifact: Artifact) -> Footprint:
    """Look at the tensor table and the shapes.

    Raises:
        ArtifactError: the file is damaged, or is no model that generates text.
    """
    header = check_file(artifact.main_file)
    data = artifact.main_file.stat().st_size - header.data_start
    sizes = _sizes(header, data)
    tensors = {entry.name: entry for entry in header.tensors}
    if "token_embd.weight" not in tensors:
        raise ArtifactError(
            f"{artifact.main_file} has no embedding: it is not a whole model", hint="give the model, not its adapter"
        )
    tied = _HEAD not in tensors
    read = {name: _read_share(tensors[name], tied) for name in tensors}
    shapes = _Shapes(header)
    return Footprint(
        name=artifact.name,
        runtime="llama.cpp",
        weights_bytes=sum(sizes.values()),
        read_bytes=round(sum(sizes[name] * share for name, share in read.items())),
        read_weights=round(sum(math.prod(tensors[name].shape) * share for name, share in read.items())),
        cache_values=shapes.cache_values(),
        cache_type="f16",
        trained_context=shapes.number("context_length"),
        vocabulary=tensors["token_embd.weight"].shape[1],
        width=shapes.number("embedding_length"),
        inner=max(shapes.numbers("feed_forward_length", default=0)),
        matrices=_matrices(sizes, tensors, tied),
        mixture=any("_exps." in name for name in tensors),
        notes=tuple(shapes.notes(tensors)),
    )


def _sizes(header: GgufHeader, data: int) -> dict[str, int]:
    """Tensor → bytes up to the next one (alignment included), so every type counts, the unknown too."""
    ordered = sorted(header.tensors, key=lambda entry: entry.offset)
    ends = [*(entry.offset for entry in ordered[1:]), data]
    return {entry.name: end - entry.offset for entry, end in zip(ordered, ends, strict=True)}


def _matrices(sizes: dict[str, int], tensors: dict[str, TensorEntry], tied: bool) -> dict[str, int]:
    """Type → bytes of the matrices that are multiplied and that some processor has an arrangement for."""
    found: dict[str, int] = {}
    for name, entry in tensors.items():
        multiplied = len(entry.shape) > 1 and _read_share(entry, tied) == 1.0
        if multiplied and entry.type_id in TYPES and entry.shape[1] % ROWS == 0:
            kind = TYPES[entry.type_id]
            found[kind] = found.get(kind, 0) + sizes[name]
    return found


def _read_share(entry: TensorEntry, tied: bool) -> float:
    """Share of a tensor that one token reads."""
    if entry.name not in _ROWS or (entry.name == "token_embd.weight" and tied):
        return 1.0
    return 1 / entry.shape[-1]


class _Shapes:
    """The numbers under the architecture's own keys."""

    def __init__(self, header: GgufHeader) -> None:
        self._header = header

    def _value(self, name: str) -> object:
        return self._header.metadata.get(f"{self._header.architecture}.{name}")

    def number(self, name: str) -> int:
        """One number.

        Raises:
            ArtifactError: the file does not say it.
        """
        return self.numbers(name)[0]

    def numbers(self, name: str, default: int | None = None) -> list[int]:
        """One number a layer, or one for all of them."""
        value = self._value(name)
        found: list[object] = value if isinstance(value, list) else [default if value is None else value]
        numbers = [one for one in found if isinstance(one, int)]
        if not numbers or len(numbers) < len(found):
            raise ArtifactError(
                f"the file does not say {self._header.architecture}.{name}", hint="convert the model again"
            )
        return numbers

    def cache_values(self) -> int:
        """Keys and values that a token adds, over all layers."""
        layers = self.number("block_count")
        heads = self.numbers("attention.head_count")
        groups = self.numbers("attention.head_count_kv", default=max(heads))
        usual = self.number("embedding_length") // max(heads)
        pair = self.numbers("attention.key_length", usual)[0] + self.numbers("attention.value_length", usual)[0]
        return pair * (sum(groups) if len(groups) == layers else groups[0] * layers)

    def notes(self, tensors: dict[str, TensorEntry]) -> Iterator[str]:
        """What makes the figures an upper bound, or wrong."""
        if any("_exps." in name for name in tensors):
            yield "a mixture of experts: what a token reads depends on the experts chosen for it"
        if self._value("attention.sliding_window"):
            yield "some layers may keep only a window of the sequence: the cache is counted in full, an upper bound"
        if any(".ssm_" in name or ".time_mix_" in name for name in tensors):
            yield "recurrent layers: their state is not counted, and the cache is an upper bound"
