"""One form for every PEFT LoRA adapter: two matrices a module, the true scale folded in.

Whatever the adapter's file says (alpha / r, rsLoRA's alpha / √r, patterns of ranks and alphas, weights stored
(in, out), embeddings), each module becomes ``delta = b a`` with ``a`` (rank, in) and ``b`` (out, rank). A carrier
(a PEFT folder, a GGUF LoRA) writes that and nothing else, so it cannot get a scale wrong.

DoRA changes a weight by ``m (W + b a) / ‖W + b a‖ - W``, which has no low rank. It becomes the best approximation of
a bounded rank, the leading singular vectors (Eckart and Young, 1936), and says what is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgetune.adapters.lora import Change
from edgetune.adapters.merging import MergedWeights
from edgetune.errors import ExportError

if TYPE_CHECKING:
    import torch

#: What an approximation may miss of a module's change, ‖missing‖ / ‖change‖, where the rank allows it.
RESIDUAL = 0.05
#: What it may miss at most: beyond, the adapter is refused.
LARGEST_RESIDUAL = 0.3
#: Rank of an approximation, at most, in ranks of the adapter.
LARGEST_RANK = 8


@dataclass(frozen=True)
class Factors:
    """The change of one module, in memory.

    Attributes:
        a: (rank, in), float32; of an embedding (rank, vocabulary).
        b: (out, rank), float32, the scale folded in; of an embedding (hidden, rank).
        residual: ‖change - b a‖ / ‖change‖; 0 for what is exact.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    residual: float = 0.0

    @property
    def rank(self) -> int:
        """Columns of ``b``."""
        return int(self.a.shape[0])


@dataclass(frozen=True)
class LoraModule:
    """One module that an adapter changes.

    Attributes:
        weight: name of its weight in the model, ``model.layers.0.self_attn.q_proj.weight``.
        rank: of the factors; of an approximation, at most.
        exact: the change has this rank; else (DoRA) it is approximated.
        embedding: the weight is (vocabulary, hidden) and the change ``(b a)ᵀ``.
        transposed: the weight is stored (in, out) and the change ``(b a)ᵀ``.
        shape: of ``b a``.
    """

    weight: str
    rank: int
    exact: bool
    embedding: bool
    transposed: bool
    shape: tuple[int, int]


@dataclass(frozen=True)
class CanonicalLora:
    """A whole adapter. Factors are read one module at a time.

    Attributes:
        modules: by name of the weight.
        alpha: the adapter's own, for carriers that store one; every scale is folded in already.
        whole: tensors that the adapter stores whole and that differ from the base's: ``modules_to_save``, trained
            biases, a vocabulary that grew.
    """

    modules: Mapping[str, LoraModule]
    alpha: float
    whole: tuple[str, ...]
    weights: MergedWeights

    @property
    def is_exact(self) -> bool:
        """Whether nothing has to be approximated."""
        return all(module.exact for module in self.modules.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know before it is written."""
        found = [module for module in self.modules.values() if not module.exact]
        if not found:
            return ()
        ranks = max(module.rank for module in found)
        return (f"DoRA has no low rank: {len(found)} modules are approximated, with at most {ranks} ranks",)

    def factors(self, weight: str) -> Factors:
        """The change of one module.

        Raises:
            ModelError: a file is damaged.
            ExportError: an approximation would miss too much.
        """
        module = self.modules[weight]
        if module.exact:
            change = self.weights.adapter.changes[weight]
            a, b = change.matrices()
            return Factors(a.numpy(), (change.scale * b).numpy())
        found = _approximate(self._whole_change(module), module.rank)
        if found.residual > LARGEST_RESIDUAL:
            raise ExportError(
                f"DoRA's change of {weight} has no low rank: {module.rank} ranks miss {found.residual:.0%} of it",
                hint="merge it: edgetune export without --adapter separate",
            )
        return found

    def all_factors(self) -> Iterator[tuple[LoraModule, Factors]]:
        """Every module with its factors, in the model's order."""
        for weight, module in self.modules.items():
            yield module, self.factors(weight)

    def require_low_rank(self, carrier: str) -> None:
        """Refuse what matrices of low rank cannot say.

        Raises:
            ExportError: the adapter stores whole tensors that differ from the base's, or changes nothing.
        """
        if self.whole:
            raise ExportError(
                f"{carrier} cannot carry tensors that were trained whole: {', '.join(self.whole[:3])}"
                f"{', …' if len(self.whole) > 3 else ''}",
                hint="merge it: edgetune export without --adapter separate; "
                "or train without modules_to_save, biases and new tokens",
                problems=self.whole,
            )
        if not self.modules:
            raise ExportError("the adapter changes no module", hint="train again")

    def _whole_change(self, module: LoraModule) -> torch.Tensor:
        import torch

        change = torch.from_numpy(self.weights.change(module.weight))
        return change.T if module.embedding or module.transposed else change


def canonical_lora(weights: MergedWeights) -> CanonicalLora:
    """The adapter of a tuned model in its one form.

    Raises:
        ModelError: a file is damaged.
    """
    adapter = weights.adapter
    modules = {name: _module(name, change) for name, change in sorted(adapter.changes.items(), key=_order)}
    stored = [*adapter.replacements, *adapter.bases]
    return CanonicalLora(modules, adapter.alpha, tuple(name for name in stored if weights.replaces(name)), weights)


def missing_note(missing: Mapping[str, float]) -> str:
    """What approximations left out, in a line.

    >>> missing_note({"a": 0.02, "b": 0.04, "c": 0.1})
    "DoRA approximated in 3 modules: 4.0% of a module's change is missing (median), 10.0% at most"
    """
    shares = sorted(missing.values())
    return (
        f"DoRA approximated in {len(shares)} modules: {shares[len(shares) // 2]:.1%} of a module's change is missing "
        f"(median), {shares[-1]:.1%} at most"
    )


def _order(item: tuple[str, Change]) -> list[tuple[int, str]]:
    """Layers by number."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in item[0].split(".")]


def _module(name: str, change: Change) -> LoraModule:
    out, into = change.parts["b"][1].shape[0], change.parts["a"][1].shape[1]
    exact, rank = "magnitude" not in change.parts, change.parts["a"][1].shape[0]
    if not exact:
        # No more numbers than half of the weight has: beyond that, low rank saves nothing.
        rank = max(rank, min(LARGEST_RANK * rank, out * into // (2 * (out + into))))
    return LoraModule(name, rank, exact, change.embedding, change.transposed, (out, into))


def _approximate(change: torch.Tensor, largest: int) -> Factors:
    """The leading singular vectors of ``change``, as few as :data:`RESIDUAL` needs and at most ``largest``.

    The eigenvectors of the smaller Gram matrix give them, in float64.
    """
    import torch

    tall = change.shape[0] > change.shape[1]
    values = (change.T if tall else change).double()
    energies, vectors = torch.linalg.eigh(values @ values.T)
    energies, vectors = energies.flip(0).clamp(min=0), vectors.flip(1)
    total = energies.sum()
    if total == 0:
        return Factors(np.zeros((1, change.shape[1]), np.float32), np.zeros((change.shape[0], 1), np.float32))
    missing = (1 - energies.cumsum(0) / total).clamp(min=0).sqrt()
    rank = min(int((missing > RESIDUAL).sum()) + 1, largest)
    kept = vectors[:, :rank]
    # Each factor gets the root of the singular value: neither leaves the range of 16 bits.
    roots = energies[:rank].sqrt().clamp(min=torch.finfo(torch.float64).tiny).sqrt()
    left, right = kept * roots, (kept.T @ values) / roots[:, None]
    a, b = (left.T, right.T) if tall else (right, left)
    return Factors(a.float().contiguous().numpy(), b.float().contiguous().numpy(), float(missing[rank - 1]))
