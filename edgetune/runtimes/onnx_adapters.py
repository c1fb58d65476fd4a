"""``.onnx_adapter`` files: reading them, and which base one belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact, ArtifactManifest
from edgetune.errors import ArtifactError
from edgetune.extras import require
from edgetune.runtimes.pairing import export_command


@dataclass(frozen=True)
class AdapterFile:
    """An adapter in memory.

    Attributes:
        tensors: by the name of the input that they are given to.
        mark: of the base that the file belongs to, see :func:`base_mark`.
    """

    tensors: Mapping[str, NDArray[Any]]
    mark: int


@dataclass(frozen=True)
class OnnxAdapter:
    """An adapter that fits a loaded base.

    Attributes:
        file: to give to onnxruntime.
        system: system prompt that it was trained with.
    """

    file: Path
    system: str | None


def base_mark(adapter_base: str) -> int:
    """The hash of a base, as much of it as the file's ``model_version`` (32 bits, signed) holds.

    >>> hex(base_mark("0123456789abcdef"))
    '0x123456'
    """
    return int(adapter_base[:7], 16)


def read_adapter(file: Path) -> AdapterFile:
    """Read an adapter file.

    Raises:
        ArtifactError: it is missing or damaged.
        MissingExtra: onnxruntime is not installed.
    """
    onnxruntime: Any = require("onnxruntime", extra="onnx", needed_for="running an ONNX adapter")
    try:
        found = onnxruntime.AdapterFormat.read_adapter(str(file))
        tensors = {name: np.array(value.numpy()) for name, value in found.get_parameters().items()}
        return AdapterFile(tensors, int(found.get_model_version()))
    except Exception as error:  # its exceptions have no common base
        raise ArtifactError(
            f"{file} is not an ONNX adapter: {str(error).splitlines()[0]}", hint="export it again, or copy it again"
        ) from error


def fit_adapter(base: Artifact, adapter: Artifact) -> OnnxAdapter:
    """Check that an adapter belongs on a base.

    Raises:
        ArtifactError: it is damaged, no adapter, or of another base or chat template.
    """
    below, own, command = base.manifest, adapter.manifest, export_command("onnx")
    if own is None or own.weights != "adapter":
        raise ArtifactError(f"{adapter.path} is a model, not an adapter", hint=f"{command} writes one")
    if below is None or below.weights != "base":
        raise ArtifactError(
            f"{base.path} is a tuned model, and {adapter.path} belongs on its untuned base",
            hint=f"{command} writes that base",
        )
    if below.adapter_base != own.adapter_base:
        raise ArtifactError(_another_base(base, below, adapter, own), hint=f"{command} writes the right one")
    if read_adapter(adapter.main_file).mark != base_mark(own.adapter_base or "0"):
        raise ArtifactError(
            f"{adapter.main_file} was written for another base than its manifest says", hint="export it again"
        )
    if not below.adapter_inputs:
        raise ArtifactError(
            f"{base.path} has no inputs for adapters: it was exported as a model of its own",
            hint=f"{command} writes a base that has",
        )
    if below.chat_template_sha256 != own.chat_template_sha256:
        raise ArtifactError(
            f"{adapter.path} was trained with another chat template than {base.path} has",
            hint=f"{command} writes a base with the right one",
        )
    return OnnxAdapter(adapter.main_file, own.system)


def _another_base(base: Artifact, below: ArtifactManifest, adapter: Artifact, own: ArtifactManifest) -> str:
    against = {"nf4": "rounded to NF4"}.get(own.merged_into, "as it is")
    wanted, found = str(own.adapter_base)[:12], str(below.adapter_base)[:12]
    return (
        f"{adapter.path} belongs to another base: it was trained on {own.base_source}, {against} (hash {wanted}); "
        f"{base.path} is {below.base_source} (hash {found})"
    )
