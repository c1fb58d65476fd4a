"""Base plus adapter, tensor by tensor: the full model is never in memory.

The adapter is added to what it was trained against: with QLoRA to the NF4-rounded
base, because the adapter has learnt to make up for that rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edgetune.adapters.lora import Adapter, read_adapter
from edgetune.adapters.tensors import list_tensors, read_rows, read_tensor, stored_bytes
from edgetune.errors import ModelError
from edgetune.exporters import TunedModel
from edgetune.models.weights import StoredTensor
from edgetune.readback import Trained
from edgetune.run import TrainedAgainst

if TYPE_CHECKING:
    import torch

EMBEDDING = "model.embed_tokens.weight"
HEAD = "lm_head.weight"
#: Reads rows from a first to before a last one: float32.
RowReader = Callable[[int, int], NDArray[np.float32]]


class MergedWeights:
    """The final weights of a tuned model, read one at a time.

    A head tied to the embedding stays tied (is not listed) unless the adapter changes
    one of the two: then :data:`HEAD` is listed as a tensor of its own.

    Args:
        base_folder: safetensors of the base, or of a whole trained model.
        adapter_folder: PEFT folder; None for a model without one.
        trained_against: what the adapter was trained on top of.
        quantised_modules: with ``nf4``, the linear layers that were quantised.
        quantised_from: with ``nf4``, the type the base was loaded in before it was quantised.

    Raises:
        ModelError: damaged files, an adapter that cannot be merged or belongs to another
            base; all findings are in ``problems``.
    """

    def __init__(
        self,
        base_folder: Path,
        adapter_folder: Path | None = None,
        trained_against: TrainedAgainst | None = None,
        quantised_modules: Collection[str] = (),
        quantised_from: str = "float32",
    ) -> None:
        self.base_folder = base_folder
        self._quantised_from = quantised_from
        self._base = list_tensors(base_folder)
        self._adapter = read_adapter(adapter_folder) if adapter_folder else Adapter({}, {}, {})
        self._sources = self._find_sources()
        self._nf4 = frozenset(f"{name}.weight" for name in quantised_modules) if trained_against == "nf4" else None
        self._check(adapter_folder)

    @property
    def adapter(self) -> Adapter:
        """What is added to the base; empty where nothing is."""
        return self._adapter

    @property
    def tensors(self) -> Mapping[str, StoredTensor]:
        """Name → shape and stored type of every tensor that :meth:`read` gives."""
        replaced = {name: info for name, (_, info) in self._adapter.replacements.items()}
        return {name: replaced.get(name, info) for name, (_, info) in self._sources.items()}

    @property
    def changed(self) -> frozenset[str]:
        """Tensors that differ from the base: adapted, replaced or rounded to NF4."""
        return frozenset({*self._adapter.changes, *self._adapter.replacements, *(self._nf4 or ())})

    @property
    def unties_head(self) -> bool:
        """Whether the base has one tensor for head and embedding, and the adapter makes two of it."""
        return HEAD not in self._base and HEAD in self._sources

    def same_in_base(self, one: str, other: str) -> bool:
        """Whether two tensors of the base hold the same values."""
        import torch

        first, second = (read_tensor(name, self._base[name]) for name in (one, other))
        return torch.equal(first, second)

    def working_bytes(self, name: str) -> int:
        """Memory that :meth:`read` needs at its peak, the result included."""
        info = self.tensors[name]
        copies = 0 if info.dtype == "F32" else 1
        if name in self._adapter.changes:
            copies = 1
        # Packing to NF4 and back: the packed codes, and values before and after.
        return stored_bytes(info) + 4 * info.elements * (copies + (2 if self._is_rounded(name) else 0))

    def read(self, name: str) -> NDArray[np.float32]:
        """Final values of one tensor, float32, of its listed shape.

        Raises:
            ModelError: its file is damaged.
        """
        if replacement := self._adapter.replacements.get(name):
            return _as_numpy(read_tensor(*replacement))
        change = self._adapter.changes.get(name)
        if change is None and not self._is_rounded(name):
            return _as_numpy(read_tensor(*self._sources[name]))
        weight = self._trained_on(name)
        return _as_numpy(change.apply(weight) if change else weight)

    def reads_rows(self, name: str) -> bool:
        """Whether some rows can be had without the others; rounding to NF4 shares scales between rows."""
        change = self._adapter.changes.get(name)
        whole = self._is_rounded(name) or (change is not None and not change.by_rows)
        return len(self.tensors[name].shape) == 2 and not whole

    def open_rows(self, name: str) -> RowReader:
        """What reads rows of one tensor, of those that :meth:`reads_rows` allows; several threads may share it.

        Raises:
            ModelError: a file is damaged; so does the reader.
        """
        stored = (self._adapter.replacements.get(name) or self._sources[name])[1]
        change = self._adapter.changes.get(name)
        loaded = change.load() if change else None

        def read(start: int, stop: int) -> NDArray[np.float32]:
            rows = read_rows(stored, start, stop).float()
            return _as_numpy(loaded.apply(rows, start) if loaded else rows)

        return read

    def row_bytes(self, name: str) -> int:
        """Memory that a row needs while it is read, the result included."""
        info = self.tensors[name]
        return (stored_bytes(info) + (0 if info.dtype == "F32" else 4 * info.elements)) // info.shape[0]

    def change(self, name: str) -> NDArray[np.float32]:
        """What the adapter adds to one tensor of those it was trained on top of, float32.

        Raises:
            ModelError: a file is damaged.
        """
        difference: NDArray[np.float32] = self.read(name) - _as_numpy(self._trained_on(name))
        return difference

    def replaces(self, name: str) -> bool:
        """Whether a tensor that the adapter stores whole has other values, or another shape, than the base's."""
        import torch

        stored = self._adapter.replacements.get(name) or self._adapter.bases[name]
        base = name if name in self._base else EMBEDDING  # a head without a tensor of its own
        if self._base[base].shape != stored[1].shape:
            return True
        return not torch.equal(read_tensor(*stored).float(), read_tensor(base, self._base[base]).float())

    def read_parts(self, name: str, tuned: Mapping[str, torch.Tensor]) -> Trained:
        """Final values of one tensor as merged by somebody else, and what they are made of here.

        Args:
            name: of the tensor.
            tuned: tensors of the trained model.

        Raises:
            ModelError: its file is damaged.
        """
        final = _as_numpy(tuned[name].detach().cpu())
        if name not in self._adapter.changes:
            return Trained(final)
        beneath = _as_numpy(self._trained_on(name))
        unrounded = _as_numpy(read_tensor(*self._sources[name])) if self._is_rounded(name) else None
        return Trained(final, beneath, unrounded)

    def _trained_on(self, name: str) -> torch.Tensor:
        """Float32 copy of what the adapter was trained on top of; the file's own memory is never changed."""
        import torch

        weight = read_tensor(*self._sources[name]).to(torch.float32, copy=True)
        if not self._is_rounded(name):
            return weight
        from edgetune.models.nf4 import nf4_as_trained

        return nf4_as_trained(weight, self._quantised_from)

    def _is_rounded(self, name: str) -> bool:
        return self._nf4 is not None and name in self._nf4

    def _find_sources(self) -> dict[str, tuple[str, StoredTensor]]:
        """Tensor name → where the values underneath any change are stored."""
        sources = {name: (name, info) for name, info in self._base.items()}
        touched = {*self._adapter.changes, *self._adapter.replacements}
        if HEAD not in sources and EMBEDDING in sources and touched & {HEAD, EMBEDDING}:
            sources[HEAD] = sources[EMBEDDING]
        return sources | {name: copy for name, copy in self._adapter.bases.items() if name in sources}

    def _check(self, adapter_folder: Path | None) -> None:
        problems = []
        for name, change in self._adapter.changes.items():
            problems += self._misfit(name, change.shape)
        for name, (_, info) in (*self._adapter.replacements.items(), *self._adapter.bases.items()):
            problems += self._misfit(name, info.shape)
        if problems:
            raise ModelError(
                f"the adapter {adapter_folder} belongs to another base than {self.base_folder}: {problems[0]}",
                hint="give the base it was trained on",
                problems=problems,
            )
        self._require_all(adapter_folder)
        if self._nf4 is None:
            return
        missing = sorted(self._nf4 - set(self._base))
        if missing or not self._nf4:
            raise ModelError(
                f"{self.base_folder} lacks layers that were quantised in training: "
                f"{', '.join(missing[:3]) or 'none is named'}",
                hint="give the base it was trained on",
                problems=missing,
            )

    def _require_all(self, adapter_folder: Path | None) -> None:
        base = {name: info.shape for name, info in self._base.items()}
        if HEAD not in base and EMBEDDING in base and EMBEDDING not in self._adapter.replacements:
            base[HEAD] = base[EMBEDDING]  # a tied head is a module of its own
        if missing := self._adapter.missing(base):
            raise ModelError(
                f"the adapter {adapter_folder} lacks {len(missing)} tensors that its settings name: "
                f"{missing[0]}{', …' if len(missing) > 1 else ''}",
                hint="copy or train it again; or give the base it was trained on, if that has fewer layers",
                problems=missing,
            )

    def _misfit(self, name: str, shape: tuple[int, ...]) -> list[str]:
        if name not in self._sources:
            return [f"no tensor {name} in the base"]
        expected = self._base[name].shape if name in self._base else self._sources[name][1].shape
        # A vocabulary that grew in training is replaced whole; every other shape must agree.
        grown = name in (EMBEDDING, HEAD) and name in self._adapter.replacements and shape[1:] == expected[1:]
        if shape == expected or grown:
            return []
        return [f"{name} has shape {expected} in the base and {shape} in the adapter"]


def merged_weights(model: TunedModel, into: TrainedAgainst | None = None) -> MergedWeights:
    """The final weights of a model.

    Args:
        model: as trained.
        into: what its adapter is added to; default: what it was trained on top of.

    Raises:
        ModelError: see :class:`MergedWeights`; also where ``into`` is NF4 and no layer was rounded in training.
    """
    target = into or model.trained_against
    rounded = model.quantised_modules if target == "nf4" else ()
    return MergedWeights(model.base_folder, model.adapter_folder, target, rounded, model.quantised_from)


def _as_numpy(weight: torch.Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = weight.float().contiguous().numpy()
    return array
