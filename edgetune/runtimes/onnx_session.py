"""A session of plain onnxruntime on the CPU: opening it and computing, with errors that say whose fault it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgetune.artifact import Artifact
from edgetune.errors import ArtifactError, ResourceError
from edgetune.extras import require
from edgetune.memory import memory_errors

#: ONNX Runtime's level of logging that shows errors and no warnings.
_ERRORS = 3


def open_session(graph: Path, threads: int, *, needed_for: str) -> Any:
    """A session of a graph.

    Raises:
        ArtifactError: onnxruntime cannot load it.
        ResourceError: memory does not suffice.
        MissingExtra: onnxruntime is not installed.
    """
    onnxruntime = require("onnxruntime", extra="onnx", needed_for=needed_for)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS  # it would warn of each place for an adapter
    try:
        with memory_errors():
            return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except ResourceError:
        raise
    except Exception as error:  # its exceptions have no common base
        raise ArtifactError(
            f"onnxruntime cannot load {graph}: {str(error).splitlines()[0]}", hint="export it again, or copy it again"
        ) from error


def compute(session: Any, names: Sequence[str], feed: Mapping[str, Any], path: Path, options: Any = None) -> list[Any]:
    """The outputs of that name.

    Args:
        session: of the artifact.
        names: of outputs.
        feed: inputs by name.
        path: of the artifact, for messages.
        options: onnxruntime's ``RunOptions``.

    Raises:
        ArtifactError: onnxruntime cannot run the graph.
        ResourceError: memory does not suffice.
    """
    try:
        with memory_errors():
            outputs: list[Any] = session.run(names, feed, options)
    except ResourceError:
        raise
    except Exception as error:  # its exceptions have no common base
        raise ArtifactError(
            f"onnxruntime cannot run {path}: {str(error).splitlines()[0]}", hint="export it again"
        ) from error
    return outputs


def logits_of(session: Any, feed: Mapping[str, Any], path: Path) -> NDArray[np.float32]:
    """A classifier's ``logits``: (batch, classes). Errors: as for :func:`compute`."""
    (found,) = compute(session, ["logits"], feed, path)
    logits: NDArray[np.float32] = found.astype(np.float32, copy=False)
    return logits


def require_classes(session: Any, labels: tuple[str, ...], path: Path) -> None:
    """Check that a graph has as many outputs as there are names, and that all of the artifact calls them alike.

    Raises:
        ArtifactError: it has not, or somebody has changed the names in one place.
    """
    classes = session.get_outputs()[0].shape[-1]
    if classes != len(labels):
        raise ArtifactError(
            f"{path} names {len(labels)} classes, and its graph tells {classes} apart", hint="export it again"
        )
    for where, names in _names_elsewhere(session, path):
        if names != labels:
            raise ArtifactError(
                f"{path}: its manifest calls the classes {', '.join(labels)}; {where} {', '.join(names)}",
                hint="one of them was changed since it was exported: export it again",
            )


def _names_elsewhere(session: Any, path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where else an artifact names its classes, in the order of its outputs."""
    config = path / "config.json"
    try:
        if written := session.get_modelmeta().custom_metadata_map.get("edgetune.labels"):
            yield "its graph", tuple(map(str, json.loads(written)))
        names = json.loads(config.read_text(encoding="utf-8")).get("id2label") if config.is_file() else None
        if names:
            yield "config.json", tuple(str(names[key]) for key in sorted(names, key=int))
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ArtifactError(f"the classes that {path} names cannot be read: {error}", hint="export it again") from error


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
