"""The few fields of an ONNX file that a footprint needs, read from its bytes: the device side has no onnx package.

Field numbers are those of ``onnx.proto``. Tensor data is skipped, never read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from edgetune.errors import ArtifactError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
#: TensorProto.DataType → bits a number.
BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4}


@dataclass(frozen=True)
class Initializer:
    """A stored tensor: ``bits`` a number."""

    name: str
    shape: tuple[int, ...]
    bits: int


@dataclass(frozen=True)
class Node:
    """One operation. ``attributes``: those that are whole numbers."""

    kind: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, int] = field(default_factory=dict)


@dataclass
class Graph:
    """Nodes and stored tensors, and the element type of each input."""

    nodes: list[Node] = field(default_factory=list)
    initializers: dict[str, Initializer] = field(default_factory=dict)
    input_bits: dict[str, int] = field(default_factory=dict)


def read_graph(path: Path) -> Graph:
    """Read nodes, inputs and the shapes of the stored tensors.

    Raises:
        ArtifactError: the file is damaged, or is no ONNX file.
    """
    import mmap

    try:
        with path.open("rb") as handle, mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ) as data:
            view = memoryview(data)
            try:
                graph = _graph(view)
            finally:
                view.release()
    except (OSError, ValueError, IndexError) as error:
        raise ArtifactError(f"{path} cannot be read as an ONNX file: {error}", hint="export it again") from error
    if not graph.initializers:
        raise ArtifactError(f"{path} holds no weights: it is not an ONNX model", hint="export it again")
    return graph


def _graph(view: memoryview) -> Graph:
    found = Graph()
    for number, part in _fields(view):
        if number != 7 or isinstance(part, int):
            continue
        for inner, value in _fields(part):
            if isinstance(value, int):
                continue
            if inner == 1:
                found.nodes.append(_node(value))
            elif inner == 5:
                tensor = _initializer(value)
                found.initializers[tensor.name] = tensor
            elif inner == 11:
                name, bits = _input(value)
                found.input_bits[name] = bits
    return found


def _node(view: memoryview) -> Node:
    texts: dict[int, list[str]] = {1: [], 2: [], 4: []}
    attributes: dict[str, int] = {}
    for number, value in _fields(view):
        if isinstance(value, int):
            continue
        if number in texts:
            texts[number].append(_text(value))
        elif number == 5:
            fields = dict(_fields(value))
            name, whole = fields.get(1), fields.get(3)
            if isinstance(name, memoryview) and isinstance(whole, int):
                attributes[_text(name)] = whole
    return Node("".join(texts[4]), tuple(texts[1]), tuple(texts[2]), attributes)


def _initializer(view: memoryview) -> Initializer:
    name, shape, kind = "", [], 0
    for number, value in _fields(view):
        if number == 1:  # packed in proto3, single in proto2
            shape += [value] if isinstance(value, int) else list(_packed(value))
        elif number == 2 and isinstance(value, int):
            kind = value
        elif number == 8 and not isinstance(value, int):
            name = _text(value)
    return Initializer(name, tuple(shape), BITS.get(kind, 0))


def _input(view: memoryview) -> tuple[str, int]:
    """Name and bits of an input: ValueInfoProto.type.tensor_type.elem_type."""
    name, bits = "", 0
    for number, value in _fields(view):
        if number == 1 and not isinstance(value, int):
            name = _text(value)
        elif number == 2 and not isinstance(value, int):
            for inner, tensor in _fields(value):
                if inner == 1 and not isinstance(tensor, int):
                    kinds = [kind for place, kind in _fields(tensor) if place == 1 and isinstance(kind, int)]
                    bits = BITS.get(kinds[0], 0) if kinds else 0
    return name, bits


def _text(view: memoryview) -> str:
    return bytes(view).decode("utf-8", errors="replace")


def _packed(view: memoryview) -> Iterator[int]:
    place = 0
    while place < len(view):
        value, place = _varint(view, place)
        yield value


def _varint(view: memoryview, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = view[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than 64 bits")


def _fields(view: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Number and value of each field: an integer, or the bytes of a text or message."""
    place = 0
    while place < len(view):
        key, place = _varint(view, place)
        wire = key & 7
        if wire == _VARINT:
            value, place = _varint(view, place)
            yield key >> 3, value
            continue
        if wire == _BYTES:
            length, place = _varint(view, place)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError(f"a field of wire type {wire}")
        if place + length > len(view):
            raise ValueError("it ends in the middle of a field")
        if wire == _BYTES:
            yield key >> 3, view[place : place + length]
        place += length
