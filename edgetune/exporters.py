"""What an exporter is, and how exporters are found: entry points ``edgetune.exporters``.

The built-in exporters use the same door as a stranger's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import ExportError
from edgetune.recipe import TaskKind
from edgetune.run import TrainedAgainst

GROUP = "edgetune.exporters"


@dataclass(frozen=True)
class TunedModel:
    """What an exporter turns into an artifact.

    Attributes:
        name: stem for file names.
        base_folder: config.json and safetensors of the base (or of the whole trained model).
        adapter_folder: PEFT folder, or None when ``base_folder`` already holds the final weights.
        trained_against: what the adapter was trained on top of; None without an adapter.
        quantised_modules: with ``nf4``, the linear layers that were quantised in training.
        tokenizer_folder: tokenizer files with the chat template; of a model for images ``preprocessor_config.json``.
        base_source: the base as the user named it.
        base_sha256: hash over the base's weights.
        system: system prompt trained with.
        licence: SPDX id where known.
        run: name of the run.
        quantised_from: with ``nf4``, the type the base was loaded in before it was quantised.
        importance: a file that says how strongly each input is used, in the exporter's own format; for
            :class:`UsesImportance`.
        importance_follows: it is collected before anything is written: a plan does without as far as it can.
        task: what the model does.
        labels: of a classifier: names of its classes, in the order of its outputs.
        max_tokens: of a classifier: longest text, special tokens included.
        calibration: of a classifier: training rows, for quantisers that look at what flows through the model.
    """

    name: str
    base_folder: Path
    adapter_folder: Path | None
    trained_against: TrainedAgainst | None
    quantised_modules: tuple[str, ...]
    tokenizer_folder: Path
    base_source: str
    base_sha256: str
    system: str | None = None
    licence: str | None = None
    run: str | None = None
    quantised_from: str = "float32"
    importance: Path | None = None
    importance_follows: bool = False
    task: TaskKind = "generation"
    labels: tuple[str, ...] = ()
    max_tokens: int = 0
    calibration: Path | None = None

    @property
    def adapter_base(self) -> str:
        """Hash over the weights that an adapter of this model was trained on top of."""
        return adapter_base(self.base_sha256, self.trained_against, self.quantised_modules, self.quantised_from)


def adapter_base(
    base_sha256: str,
    trained_against: TrainedAgainst | None = None,
    quantised_modules: Sequence[str] = (),
    quantised_from: str = "float32",
) -> str:
    """Hash over a base and what it was rounded to: an adapter and the base it runs on have the same.

    The precision a base is exported in has no part in it.

    >>> adapter_base("ab") == adapter_base("ab", "base") != adapter_base("ab", "nf4", ["model.layers.0.mlp.up_proj"])
    True
    """
    rounded = [quantised_from, *sorted(quantised_modules)] if trained_against == "nf4" else []
    return sha256(json.dumps([base_sha256, *rounded]).encode()).hexdigest()


@dataclass(frozen=True)
class ExportPlan:
    """What will be written, known before anything is.

    Attributes:
        precision: as asked.
        tensor_types: type name → number of tensors.
        fallbacks: tensor → type it gets instead, and why.
        size_bytes: of the file, predicted.
        peak_memory_bytes: predicted, for the weights being worked on.
        notes: what else the user should know, such as a shorter context.
        weighted: the importance of inputs has a part in it.
        unsure_bytes: how far ``size_bytes`` may be off.
        tensors_sha256: over the name and type of every tensor, where these decide all values; None: something else
            has a part in them.
    """

    precision: str
    tensor_types: Mapping[str, int]
    fallbacks: Mapping[str, str]
    size_bytes: int
    peak_memory_bytes: int
    notes: tuple[str, ...] = ()
    weighted: bool = False
    unsure_bytes: int = 0
    tensors_sha256: str | None = None

    @property
    def folder(self) -> str:
        """Name of the artifact's folder."""
        return f"{self.precision}-imatrix" if self.weighted else self.precision


class Exporter(Protocol):
    """Turns a tuned model into artifacts of one format."""

    format: str

    @property
    def precisions(self) -> Sequence[str]:
        """Precisions it can write, best quality first; :meth:`precision` may know more."""
        ...

    @property
    def default_precision(self) -> str:
        """What it writes when nobody says: one that loses next to nothing."""
        ...

    def precision(self, name: str) -> str:
        """The one name of a precision, however it was written.

        Raises:
            ExportError: it has no such precision.
        """
        ...

    def plan(self, model: TunedModel, precision: str) -> ExportPlan:
        """Check that the model can be exported and predict the result.

        Raises:
            ExportError: unsupported architecture, precision, vocabulary or adapter; nothing was written.
        """
        ...

    def export(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """Write the artifact into ``folder``, whole or not at all.

        Raises:
            ExportError, ResourceError
        """
        ...


@runtime_checkable
class WritesAdapters(Protocol):
    """An exporter that can also write the adapter alone, for a base that several adapters share."""

    def plan_base(self, model: TunedModel, precision: str) -> ExportPlan:
        """As :meth:`Exporter.plan`, of a base that adapters can be put on."""
        ...

    def export_base(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """As :meth:`Exporter.export`, of a base that adapters can be put on."""
        ...

    def without_places(self, base: Artifact, folder: Path) -> Artifact:
        """What :meth:`export_base` wrote, as it would be if nothing could be put on it: to measure what that costs.

        Args:
            base: with places for adapters.
            folder: to write into; nothing is written where the places cost nothing, and the base is returned.
        """
        ...

    @property
    def adapter_precisions(self) -> Sequence[str]:
        """Precisions of an adapter's own numbers, the default first."""
        ...

    def plan_adapter(self, model: TunedModel, precision: str) -> ExportPlan:
        """As :meth:`Exporter.plan`, of the adapter alone.

        Raises:
            ExportError: also where the adapter holds what the format cannot carry beside a base.
        """
        ...

    def export_adapter(self, model: TunedModel, precision: str, folder: Path) -> Artifact:
        """As :meth:`Exporter.export`, of the adapter alone; the manifest says ``weights: adapter``.

        Raises:
            ExportError, ResourceError
        """
        ...


@runtime_checkable
class NeedsMore(Protocol):
    """An exporter that needs something beyond the packages it is imported with, such as an environment of its own."""

    def require_ready(self) -> None:
        """Look for it.

        Raises:
            ExportError: it is not there.
        """
        ...


#: What a precision may make use of: squared inputs; with them the curvature of tensors; with both the products of
#: inputs with one another. Each holds what those before it hold, and costs more to collect.
Collected = Literal["squares", "curvature", "products"]


@dataclass(frozen=True)
class Importance:
    """How strongly each input of each linear layer is used, over some text.

    Attributes:
        squares: module → (inputs,) float32, the sum over all tokens of the squared input.
        tokens: how many.
        texts: where they are from, for people.
        curvature: module → how much the answers move when its weight is rounded: see
            :func:`edgetune.importance.curving.curvature`.
        products: module → (inputs, inputs) float32, the sum over all tokens of x xᵀ; the same array for modules that
            read the same tensor. With the head, and under its name.
    """

    squares: Mapping[str, NDArray[np.float32]]
    tokens: int
    texts: tuple[str, ...]
    curvature: Mapping[str, float] = field(default_factory=dict)
    products: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)


@runtime_checkable
class UsesImportance(Protocol):
    """An exporter whose quantiser minds which inputs are used more: see ``TunedModel.importance``."""

    @property
    def importance_suffix(self) -> str:
        """Of files that :meth:`write_importance` writes, such as ``.gguf``."""
        ...

    def write_importance(self, model: TunedModel, found: Importance, file: Path) -> None:
        """Write what was found in the exporter's own format.

        Raises:
            ExportError: the model cannot be exported.
        """
        ...

    def importance_for(self, precision: str) -> Collected | None:
        """What a precision makes use of; None: nothing.

        One that is written better with squared inputs can do without; curvature and products it cannot do without.

        Raises:
            ExportError: it has no such precision.
        """
        ...


def exporter_names() -> list[str]:
    """Formats of all installed exporters, sorted."""
    return sorted(point.name for point in entry_points(group=GROUP))


def find_exporter(format: str) -> Exporter:
    """The exporter for a format.

    Raises:
        ExportError: no exporter has that name; the message lists those there are.
    """
    for point in entry_points(group=GROUP):
        if point.name == format:
            exporter: Exporter = point.load()()
            return exporter
    raise ExportError(f"no exporter for format '{format}'", hint=f"installed: {', '.join(exporter_names())}")


def public_name(source: str) -> str:
    """The base as named by the user, without the folders of this machine: the file is given to others.

    >>> public_name("HuggingFaceTB/SmolLM2-135M"), public_name("/home/ann/models/base")
    ('HuggingFaceTB/SmolLM2-135M', 'base')
    """
    path = Path(source).expanduser()
    return path.name if path.is_absolute() or path.exists() else source


def used_importance(format: str, quants: Sequence[str]) -> Collected | None:
    """The most that any of some precisions makes use of.

    Raises:
        ExportError: there is no such format or precision.
    """
    exporter = find_exporter(format)
    if not isinstance(exporter, UsesImportance):
        return None
    used = [one for one in map(exporter.importance_for, quants) if one is not None]
    return max(used, key=get_args(Collected).index, default=None)
