"""What an exporter is, and how exporters are found: entry points ``edgetune.exporters``.

The built-in exporters use the same door as a stranger's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol

from edgetune.artifact import Artifact
from edgetune.errors import ExportError
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
        tokenizer_folder: tokenizer files with the chat template.
        base_source: the base as the user named it.
        base_sha256: hash over the base's weights.
        system: system prompt trained with.
        licence: SPDX id where known.
        run: name of the run.
        quantised_from: with ``nf4``, the type the base was loaded in before it was quantised.
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
    """

    precision: str
    tensor_types: Mapping[str, int]
    fallbacks: Mapping[str, str]
    size_bytes: int
    peak_memory_bytes: int
    notes: tuple[str, ...] = ()


class Exporter(Protocol):
    """Turns a tuned model into artifacts of one format."""

    format: str

    @property
    def precisions(self) -> Sequence[str]:
        """Precisions it can write, best quality first."""
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
