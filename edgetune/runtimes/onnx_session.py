"""onnxruntime on the CPU: a graph opened, and run, with what goes wrong in words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError
from edgetune.extras import require

#: onnxruntime's own number for errors alone.
_ERRORS = 3


def open_session(graph: Path, threads: int) -> Any:
    """A session on the CPU.

    Raises:
        ArtifactError: the graph is damaged.
        MissingExtra: the onnx extra is not installed.
    """
    onnxruntime = require("onnxruntime", extra="onnx", needed_for="running a classifier")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common base
        raise ArtifactError(
            f"onnxruntime cannot load {graph}: {str(error).splitlines()[0]}", hint="export it again, or copy it again"
        ) from error


def run_logits(session: Any, inputs: Mapping[str, NDArray[Any]], path: Path) -> NDArray[np.float32]:
    """The graph's ``logits``: (batch, classes).

    Raises:
        ArtifactError: it cannot be run; ``path`` is named.
    """
    try:
        (found,) = session.run(["logits"], dict(inputs))
    except Exception as error:  # its exceptions have no common base
        raise ArtifactError(
            f"onnxruntime cannot run {path}: {str(error).splitlines()[0]}", hint="export it again"
        ) from error
    logits: NDArray[np.float32] = found.astype(np.float32, copy=False)
    return logits


def require_classes(session: Any, labels: tuple[str, ...], path: Path) -> None:
    """Check that a graph has as many outputs as there are names.

    Raises:
        ArtifactError: it has not.
    """
    classes = session.get_outputs()[0].shape[-1]
    if classes != len(labels):
        raise ArtifactError(
            f"{path} names {len(labels)} classes, and its graph tells {classes} apart", hint="export it again"
        )


def require_task(artifact: Artifact, task: str) -> Any:
    """The manifest of an exported classifier.

    Raises:
        ArtifactError: it is something else.
    """
    manifest = artifact.manifest
    if manifest is None or manifest.task != task:
        does = "writes text" if manifest is None or manifest.task == "generation" else f"is for {manifest.task}"
        raise ArtifactError(f"{artifact.path} is not for {task}: it {does}", hint="give another artifact")
    return manifest
