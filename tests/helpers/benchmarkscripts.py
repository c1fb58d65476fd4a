"""Benchmarks are scripts, not a package: one as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from unittest import mock

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def script(name):
    """The script ``benchmarks/NAME``; what it puts into the path to find its neighbours goes again."""
    called = f"benchmark_{name.removesuffix('.py').replace('/', '_')}"
    spec = importlib.util.spec_from_file_location(called, BENCHMARKS / name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[called] = module  # its dataclasses look for their module there
    with mock.patch.object(sys, "path", [*sys.path]):
        spec.loader.exec_module(module)
    return module
