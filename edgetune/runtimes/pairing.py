"""Which base an adapter runs on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgetune.artifact import Artifact, is_artifact, read_artifact
from edgetune.errors import ArtifactError


def on_base(artifact: Artifact, base: Artifact | None = None) -> Artifact:
    """An adapter with the base it runs on; anything else as it is.

    Args:
        artifact: an adapter, or not.
        base: to run it on; default: the one it has, else the largest fitting one beside it.

    Raises:
        ArtifactError: no base is there.
    """
    if not artifact.is_adapter or (artifact.beneath and base is None):
        return artifact
    found = base or next(iter(bases_beside(artifact)), None)
    if found is None:
        assert artifact.manifest is not None, "adapters have one"
        raise ArtifactError(
            f"{artifact.path} is an adapter, and its base ({artifact.manifest.base_source}) is not beside it",
            hint="name the base: --base PATH; edgetune export RUN --adapter separate --with-base q8_0 writes it",
        )
    return replace(artifact, beneath=found)


def bases_beside(artifact: Artifact) -> list[Artifact]:
    """Bases of an adapter in the folder that it lies in, the largest first: it lost least in quantisation."""
    assert artifact.manifest is not None, "adapters have one"
    wanted = artifact.manifest.adapter_base
    beside = [one for one in _artifacts(artifact.path.parent) if one.is_base]
    fitting = [one for one in beside if one.manifest and one.manifest.adapter_base == wanted]
    return sorted(fitting, key=lambda one: -one.manifest.size_bytes if one.manifest else 0)


def _artifacts(folder: Path) -> list[Artifact]:
    return [read_artifact(path) for path in sorted(folder.iterdir()) if path.is_dir() and is_artifact(path)]
