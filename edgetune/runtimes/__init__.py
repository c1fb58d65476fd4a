"""Runtimes: what runs an artifact. Found through entry points ``edgetune.runtimes``; importable without torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from edgetune.artifact import Artifact, open_artifact
from edgetune.errors import ArtifactError
from edgetune.runtimes.pairing import export_command, on_base
from edgetune.runtimes.protocol import KvCache, Runtime, SwitchesAdapters

GROUP = "edgetune.runtimes"


def runtime_names() -> list[str]:
    """Names of all installed runtimes, sorted."""
    return sorted(point.name for point in entry_points(group=GROUP))


def open_runtime(
    artifact: Artifact | Path | str,
    *,
    threads: int | None = None,
    context: int | None = None,
    kv_cache: KvCache = "f16",
    **tuning: int | None,
) -> Runtime:
    """Load an artifact into the runtime that its manifest names.

    An adapter is opened on its base: the one it is given with, else the one that lies beside it.

    Args:
        artifact: an artifact, its folder, or a bare model file.
        threads: default: the physical cores this process may use.
        context: longest prompt plus answer, in tokens; default: the model's own, within reason.
        kv_cache: ``f32`` computes attention exactly, for comparisons; quantised ones save memory, in llama.cpp only.
        tuning: what only some runtimes can be told: ``prefill_threads``, ``batch``.

    Raises:
        ArtifactError: it is damaged, or no installed runtime runs it.
        MissingExtra: the runtime's extra is not installed.
    """
    opened = on_base(artifact if isinstance(artifact, Artifact) else open_artifact(Path(artifact)))
    require_generating(opened)
    if opened.beneath is not None:
        one = {opened.name: opened}
        return open_with_adapters(opened.beneath, one, threads=threads, context=context, kv_cache=kv_cache, **tuning)
    for point in entry_points(group=GROUP):
        if point.name == opened.runtime:
            kind = point.load()
            extra = _known_to(kind, {name: value for name, value in tuning.items() if value is not None})
            loaded: Runtime = kind(opened, threads=threads, context=context, kv_cache=kv_cache, **extra)
            return loaded
    raise ArtifactError(
        f"no runtime '{opened.runtime}' is installed to run {opened.path}",
        hint=f"installed: {', '.join(runtime_names())}",
    )


def require_generating(artifact: Artifact) -> None:
    """Check that an artifact generates text.

    Raises:
        ArtifactError: it does something else; the hint says what can be done with it.
    """
    if artifact.manifest is not None and artifact.manifest.task != "generation":
        raise ArtifactError(
            f"{artifact.path} is for {artifact.manifest.task}: it writes no text",
            hint=f"edgetune classify {artifact.path} TEXT",
        )


def open_with_adapters(
    base: Artifact,
    adapters: Mapping[str, Artifact],
    *,
    threads: int | None = None,
    context: int | None = None,
    kv_cache: KvCache = "f16",
    **tuning: int | None,
) -> Runtime:
    """Load a base once and adapters beside it; the first is in use. Arguments as for :func:`open_runtime`.

    Raises:
        ArtifactError: also where an adapter belongs to another base, or the runtime keeps none apart.
    """
    runtime = open_runtime(base, threads=threads, context=context, kv_cache=kv_cache, **tuning)
    try:
        for name, adapter in adapters.items():
            _require_one_runtime(base, adapter)
            adapters_of(runtime).add_adapter(name, adapter)
        if adapters:
            adapters_of(runtime).use_adapter(next(iter(adapters)))
    except BaseException:
        runtime.close()
        raise
    return runtime


def _known_to(kind: Any, tuning: dict[str, int]) -> dict[str, int]:
    """The same, if this runtime can be told all of it.

    Raises:
        ArtifactError: it cannot.
    """
    unknown = sorted(set(tuning) - set(inspect.signature(kind).parameters))
    if unknown:
        raise ArtifactError(
            f"the runtime {kind.name} has no setting for {' and '.join(name.replace('_', ' ') for name in unknown)}",
            hint="leave it out; llama.cpp has both",
        )
    return tuning


def _require_one_runtime(base: Artifact, adapter: Artifact) -> None:
    if adapter.manifest is not None and adapter.runtime != base.runtime:
        raise ArtifactError(
            f"{adapter.path} is for {adapter.runtime}, and {base.path} runs in {base.runtime}",
            hint=f"{export_command(adapter.manifest.format)} writes a base for it",
        )


def adapters_of(runtime: Runtime) -> SwitchesAdapters:
    """The same runtime, as one that keeps adapters.

    Raises:
        ArtifactError: it does not.
    """
    if not isinstance(runtime, SwitchesAdapters):
        raise ArtifactError(f"the runtime {runtime.name} keeps no adapters apart", hint="merge them into the model")
    return runtime
