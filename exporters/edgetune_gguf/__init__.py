"""GGUF files for llama.cpp: the exporter registered as ``gguf``."""

from __future__ import annotations

from edgetune_gguf.exporter import GgufExporter

__all__ = ["GgufExporter"]
