"""Faults planted in ONNX folders; each folder is whole, loads and answers, and its manifest fits it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from faults import fit_manifest
from onnx import ModelProto, TensorProto, numpy_helper

from edgetune.artifact import Artifact


def edit_graph(artifact: Artifact, change: Callable[[ModelProto], object]) -> Artifact:
    """Change an artifact's graph."""
    model = onnx.load(artifact.main_file)
    change(model)
    onnx.save(model, artifact.main_file)
    return fit_manifest(artifact)


def edit_settings(artifact: Artifact, name: str, change: Callable[[dict[str, Any]], object]) -> Artifact:
    """Change one of an artifact's JSON files."""
    path = artifact.path / name
    settings = json.loads(path.read_text())
    change(settings)
    path.write_text(json.dumps(settings))
    return fit_manifest(artifact)


def tensor(model: ModelProto, name: str) -> TensorProto:
    return next(found for found in model.graph.initializer if found.name.startswith(name))


def replace_values(model: ModelProto, name: str, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Change the values of an initializer, its shape too if need be."""
    found = tensor(model, name)
    values = change(numpy_helper.to_array(found).copy())
    found.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(values), found.name))
