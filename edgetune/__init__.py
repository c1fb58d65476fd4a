"""edgetune: adapt a small model on one machine, ship it to a device, with evidence.

The public Python API. Names load when first used, so that importing ``edgetune`` on a
device loads neither torch nor llama.cpp::

    run = edgetune.train("recipes/smart-home/recipe.yaml")
    artifact = edgetune.export(run, "gguf", "q8_0")
    assert edgetune.verify(artifact).passed
    with edgetune.load(artifact.path) as assistant:
        print(assistant.chat("turn off the kitchen lights"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from edgetune.errors import EdgetuneError

if TYPE_CHECKING:
    from edgetune.api import (
        benchmark,
        compare_methods,
        evaluate,
        export,
        load,
        merge,
        resume,
        run_recipe,
        suggest,
        sweep_recipe,
        train,
        verify,
        write_report,
    )

__version__ = "0.1.0"

__all__ = [
    "EdgetuneError",
    "benchmark",
    "compare_methods",
    "evaluate",
    "export",
    "load",
    "merge",
    "resume",
    "run_recipe",
    "suggest",
    "sweep_recipe",
    "train",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module("edgetune.api"), name)
    raise AttributeError(f"module 'edgetune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
