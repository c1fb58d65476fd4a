"""What a model costs: bytes read for one token, and memory. Read from the tensors, not from a name or a size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError

#: Bytes a value of the key-value cache, scales included: ggml's block sizes over block lengths.
CACHE_TYPES: Mapping[str, float] = {
    "f32": 4.0,
    "f16": 2.0,
    "bf16": 2.0,
    "q8_0": 34 / 32,
    "q5_1": 24 / 32,
    "q5_0": 22 / 32,
    "q4_1": 20 / 32,
    "q4_0": 18 / 32,
}


@dataclass(frozen=True)
class Footprint:
    """One model.

    Attributes:
        weights_bytes: of all its tensors.
        read_bytes: of the weights read for one token: an embedding that is not the head too counts as one row.
        read_weights: numbers in those.
        cache_values: numbers that one token adds to the key-value cache, over all layers.
        cache_type: as which they are kept unless asked otherwise.
        trained_context: longest sequence it was built for, in tokens.
        vocabulary, width, inner: shapes that buffers depend on.
        matrices: bytes of those that llama.cpp can keep a rearranged copy of, by type.
        mixture: experts are chosen for each token: what is read then cannot be told from the file.
        notes: what limits these figures.
    """

    name: str
    runtime: str
    weights_bytes: int
    read_bytes: int
    read_weights: int
    cache_values: int
    cache_type: str
    trained_context: int
    vocabulary: int
    width: int
    inner: int
    matrices: Mapping[str, int] = field(default_factory=dict)
    mixture: bool = False
    notes: tuple[str, ...] = ()

    def cache_bytes(self, tokens: int, cache_type: str | None = None) -> int:
        """Of the key-value cache that holds so many tokens."""
        return int(self.cache_values * CACHE_TYPES[cache_type or self.cache_type] * tokens)

    def token_bytes(self, depth: int, cache_type: str | None = None) -> int:
        """Read for one token when the cache holds ``depth`` tokens before it."""
        return self.read_bytes + self.cache_bytes(depth, cache_type)


def read_footprint(artifact: Artifact) -> Footprint:
    """Look at the tensors of an artifact.

    Raises:
        ArtifactError: an adapter, a damaged file, or one whose shapes it does not say.
    """
    if artifact.is_adapter and artifact.beneath is None:
        raise ArtifactError(
            f"{artifact.name} is an adapter without its base beside it",
            hint="edgetune export RUN --adapter separate --with-base q8_0",
        )
    whole = artifact.beneath or artifact
    if whole.main_file.suffix == ".gguf":
        from edgetune.devices.gguf_footprint import read_gguf as read
    else:
        from edgetune.devices.onnx_footprint import read_onnx as read
    found = read(whole)
    return found if whole is artifact else _with_adapter(found, artifact)


def _with_adapter(base: Footprint, adapter: Artifact) -> Footprint:
    """The base with the adapter's bytes: all of them are read for every token."""
    size = adapter.manifest.size_bytes if adapter.manifest else adapter.main_file.stat().st_size
    values = {name: getattr(base, name) for name in base.__dataclass_fields__}
    values |= {
        "name": adapter.name,
        "weights_bytes": base.weights_bytes + size,
        "read_bytes": base.read_bytes + size,
        "notes": (*base.notes, f"with the adapter's {size / 1e6:.1f} MB"),
    }
    return Footprint(**values)
