"""The file that says how the inputs of a model go together, for rounding that makes up for its errors.

safetensors, with the mean over tokens of x xᵀ for each tensor that is read, ``NAME.products``: the upper triangle, row
by row. The metadata say which modules read it, each weight's curvature (:mod:`edgetune.importance.curving`), and for
people over which texts it was collected.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgetune import files
from edgetune.adapters.merging import EMBEDDING, HEAD
from edgetune.errors import ExportError
from edgetune.exporters import Importance
from edgetune.models.weights import Pending, write_safetensors

SUFFIX = ".safetensors"
_PRODUCTS = ".products"
_HINT = "collect one of a run: --imatrix auto"


@dataclass(frozen=True)
class Products:
    """A file's content; products are read when asked for.

    Attributes:
        path: of the file.
        sources: module → the one under whose name its products are.
        sizes: of those, how many inputs.
        curvature: module → what an error costs.
    """

    path: Path
    sources: Mapping[str, str]
    sizes: Mapping[str, int]
    curvature: Mapping[str, float]

    def source(self, weight: str) -> str:
        """Under whose name the products of a weight are, such as ``lm_head.weight``: q, k and v have the same."""
        return self.sources[weight.removesuffix(".weight")]

    def of(self, source: str) -> NDArray[np.float64]:
        """(inputs, inputs) of all that have that source: what an error costs, but for a factor.

        Raises:
            ExportError: the file is damaged.
        """
        from safetensors import safe_open

        with safe_open(self.path, "numpy") as file:
            packed = file.get_tensor(source + _PRODUCTS)
        if not np.isfinite(packed).all():
            raise ExportError(f"{self.path} holds what is no number", hint=_HINT)
        size = self.sizes[source]
        whole = np.zeros((size, size))
        whole[np.triu_indices(size)] = packed
        return whole + np.triu(whole, 1).T

    def of_table(self) -> NDArray[np.float64]:
        """The same of a table that is embedding and head: looked up, every column of a row costs the same."""
        head, embedding = (name.removesuffix(".weight") for name in (HEAD, EMBEDDING))
        found = self.of(self.source(HEAD))
        scale = self.curvature.get(head, 1.0) / max(float(found.diagonal().mean()), float(np.finfo(np.float32).tiny))
        return scale * found + self.curvature.get(embedding, 0.0) * np.eye(len(found))

    def require_fit(self, shapes: Mapping[str, Sequence[int]]) -> None:
        """Check that it is of a model with these weights.

        Raises:
            ExportError: one has no products, or of other widths.
        """
        problems = []
        for name, shape in shapes.items():
            module = name.removesuffix(".weight")
            size = self.sizes.get(self.sources.get(module, ""))
            if size != shape[-1]:
                problems.append(f"{module} has {shape[-1]} inputs, in the file {size or 'none'}")
        if problems:
            raise ExportError(
                f"the imatrix {self.path.name} is of another model: {problems[0]}", hint=_HINT, problems=problems
            )


def write_products(path: Path, found: Importance) -> None:
    """Write what was collected of a model.

    Args:
        path: of the file.
        found: by transformers' module names, with products.
    """
    first: dict[int, str] = {}
    sources = {name: first.setdefault(id(whole), name) for name, whole in found.products.items()}
    tensors = [_triangle(name, found.products[name], found.tokens) for name in first.values()]
    facts = {"sources": sources, "curvature": found.curvature, "tokens": found.tokens, "texts": found.texts}
    files.require_disk(path.parent, sum(tensor.nbytes for tensor in tensors), "the products of inputs")
    with files.atomic_path(path) as temporary:
        write_safetensors(temporary, tensors, facts={name: json.dumps(fact) for name, fact in facts.items()})


def _triangle(name: str, whole: NDArray[np.float32], tokens: int) -> Pending:
    size = len(whole)
    return Pending(
        name + _PRODUCTS, "F32", (size * (size + 1) // 2,), lambda: whole[np.triu_indices(size)] / np.float32(tokens)
    )


def read_products(path: Path) -> Products:
    """Open such a file.

    Raises:
        ExportError: there is none, or it is damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ExportError(f"no such imatrix: {path}", hint=_HINT)
    try:
        with safe_open(path, "numpy") as file:
            facts = file.metadata() or {}
            shapes = {name.removesuffix(_PRODUCTS): file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
        return _understood(path, facts, shapes)
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
        said = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise ExportError(f"{path} does not hold the products of a model's inputs: {said}", hint=_HINT) from error


def _understood(path: Path, facts: Mapping[str, str], shapes: Mapping[str, Sequence[int]]) -> Products:
    """Raises KeyError, TypeError, ValueError, AttributeError for what is no such file."""
    sources, curvature = json.loads(facts["sources"]), json.loads(facts["curvature"])
    sizes = {name: _side(shape) for name, shape in shapes.items()}
    if not {*sources.values()} <= {*sizes}:
        raise ValueError("it lacks some of its products")
    return Products(path, sources, sizes, {name: float(value) for name, value in curvature.items()})


def _side(shape: Sequence[int]) -> int:
    """Of a square, from the size of its upper triangle."""
    (length,) = shape
    side = (int((8 * length + 1) ** 0.5) - 1) // 2
    if side * (side + 1) // 2 != length:
        raise ValueError("its products are no triangles")
    return side
