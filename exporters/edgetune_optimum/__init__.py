"""ONNX through Optimum's exporter, which runs in an environment of its own: registered as ``onnx-optimum``."""

from __future__ import annotations

from edgetune_optimum.exporter import OptimumExporter

__all__ = ["OptimumExporter"]
