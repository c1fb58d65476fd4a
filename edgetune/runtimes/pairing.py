"""Which base an adapter runs on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from edgetune.artifact import Artifact, ArtifactManifest, is_artifact, read_artifact
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
            hint=f"name the base: --base PATH; {export_command(artifact.manifest.format)} writes it",
        )
    return replace(artifact, beneath=found)


def bases_beside(artifact: Artifact) -> list[Artifact]:
    """Bases of an adapter in the folder that it lies in, the largest first: it lost least in quantisation."""
    assert artifact.manifest is not None, "adapters have one"
    wanted = _place(artifact.manifest)
    beside = [one for one in _artifacts(artifact.path.parent) if one.is_base]
    fitting = [one for one in beside if one.manifest and _place(one.manifest) == wanted]
    return sorted(fitting, key=lambda one: -one.manifest.size_bytes if one.manifest else 0)


def require_loaded(name: str | None, loaded: Sequence[str]) -> None:
    """Check that an adapter can be put on.

    Raises:
        ArtifactError: none of that name is loaded.
    """
    if name is not None and name not in loaded:
        raise ArtifactError(f"no adapter '{name}' is loaded", hint=f"loaded: {', '.join(loaded) or 'none'}")


def export_command(format: str = "gguf", run: str = "RUN") -> str:
    """The command that writes an adapter with its base, for hints.

    >>> export_command("onnx")
    'edgetune export RUN --format onnx --adapter separate --with-base int8'
    """
    wanted = "--format onnx --adapter separate --with-base int8" if format == "onnx" else ""
    return f"edgetune export {run} {wanted or '--adapter separate --with-base q8_0'}"


def _place(manifest: ArtifactManifest) -> tuple[str | None, str, bool]:
    """What an adapter and its base have in common."""
    return manifest.adapter_base, manifest.runtime, manifest.adapter_inputs


def _artifacts(folder: Path) -> list[Artifact]:
    found = []
    for path in sorted(folder.iterdir()):
        with suppress(ArtifactError):  # a damaged neighbour is no base, and no reason to fail
            found += [read_artifact(path)] if path.is_dir() and is_artifact(path) else []
    return found
