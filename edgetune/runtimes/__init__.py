"""Runtimes: what runs an artifact. Found through entry points ``edgetune.runtimes``; importable without torch."""

from __future__ import annotations

from importlib.metadata import entry_points
from pathlib import Path
from typing import Literal

from edgetune.artifact import Artifact, open_artifact
from edgetune.errors import ArtifactError
from edgetune.runtimes.protocol import Runtime

GROUP = "edgetune.runtimes"


def runtime_names() -> list[str]:
    """Names of all installed runtimes, sorted."""
    return sorted(point.name for point in entry_points(group=GROUP))


def open_runtime(
    artifact: Artifact | Path | str,
    *,
    threads: int | None = None,
    context: int | None = None,
    kv_cache: Literal["f16", "f32"] = "f16",
) -> Runtime:
    """Load an artifact into the runtime that its manifest names.

    Args:
        artifact: an artifact, its folder, or a bare model file.
        threads: default: the physical cores this process may use.
        context: longest prompt plus answer, in tokens; default: the model's own, within reason.
        kv_cache: ``f32`` computes attention exactly, for comparisons.

    Raises:
        ArtifactError: it is damaged, or no installed runtime runs it.
        MissingExtra: the runtime's extra is not installed.
    """
    opened = artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact))
    for point in entry_points(group=GROUP):
        if point.name == opened.runtime:
            runtime: Runtime = point.load()(opened, threads=threads, context=context, kv_cache=kv_cache)
            return runtime
    raise ArtifactError(
        f"no runtime '{opened.runtime}' is installed to run {opened.path}",
        hint=f"installed: {', '.join(runtime_names())}",
    )
