"""ONNX folders for onnxruntime-genai, plain onnxruntime and transformers.js: the exporter registered as ``onnx``."""

from __future__ import annotations

from edgetune_onnx.exporter import OnnxExporter

__all__ = ["OnnxExporter"]
