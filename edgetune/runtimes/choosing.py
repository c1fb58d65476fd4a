"""Which artifact a path means, with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgetune import console
from edgetune.artifact import Artifact, is_artifact, open_artifact, read_artifact
from edgetune.errors import ArtifactError
from edgetune.run import Run, is_run
from edgetune.runtimes.pairing import bases_beside, export_command, on_base


@dataclass(frozen=True)
class Choice:
    """An artifact, and why it was taken; the reason is empty where the path named it."""

    artifact: Artifact
    reason: str = ""


def choose_artifact(path: Path, name: str | None = None) -> Choice | None:
    """The artifact that ``path`` means: itself, or one of a run's exports.

    Of several exports the largest is taken: it lost least in quantisation.

    Args:
        path: an artifact, a .gguf file or a run folder.
        name: with a run: the export to take, by folder name (``q8_0``) or artifact name.

    Returns:
        None for a run without exports of its result.

    Raises:
        ArtifactError: nothing there, it is damaged, or the run has no export of that name.
    """
    if is_artifact(path) or not is_run(path):
        return Choice(on_base(open_artifact(path)))
    run = Run(path)
    if name is not None:
        named = _named(path, [one for one in run_exports(run) if not one.is_base], name)
        _tell_state(run)
        return Choice(on_base(named))
    exports = run_artifacts(run)
    if not exports:
        return None
    _tell_state(run)
    best = max(exports, key=_rank)
    others = ", ".join(artifact.path.name for artifact in exports if artifact is not best)
    reason = f"the largest of {len(exports)} exports; others with --artifact: {others}" if others else "the only export"
    return Choice(best, reason)


def require_artifact(path: Path, name: str | None = None) -> Artifact:
    """As :func:`choose_artifact`, for work that needs an artifact; an automatic choice is told on stderr.

    Raises:
        ArtifactError: also for a run without exports.
    """
    choice = choose_artifact(path, name)
    if choice is None:
        raise ArtifactError(f"{path} has no exports", hint=f"edgetune export {path} --format gguf --quant q8_0")
    if choice.reason:
        console.note(f"using {choice.artifact.path} ({choice.reason})")
    return choice.artifact


def run_artifacts(run: Run) -> list[Artifact]:
    """A run's exports, sorted by folder name: not the bases, and an adapter only where its base lies beside it."""
    found = []
    for artifact in _whole(run):
        if artifact.is_adapter and not bases_beside(artifact):
            console.note(f"{artifact.path} is left out: its base is not beside it")
        elif not artifact.is_base:
            found.append(on_base(artifact))
    return found


def adapter_artifact(path: Path, base: Artifact | None = None) -> Artifact:
    """The adapter that ``path`` means: itself, or that of a run.

    Args:
        path: an adapter or a run.
        base: of a run's adapters, take one for the runtime of this base.

    Raises:
        ArtifactError: it is none, or the run has none that was exported.
    """
    if is_artifact(path) or not is_run(path):
        found = open_artifact(path)
        if found.manifest and not found.is_adapter:
            raise ArtifactError(f"{path} is a model, not an adapter", hint="edgetune export RUN --adapter separate")
        return found
    adapters = [one for one in _whole(Run(path)) if one.is_adapter]
    fitting = [one for one in adapters if base is None or one.runtime == base.runtime]
    if not fitting:
        kind = base.manifest.format if base and base.manifest else "gguf"
        which = f" for {base.runtime}" if base and adapters else ""
        raise ArtifactError(f"{path} has no exported adapter{which}", hint=export_command(kind, str(path)))
    return fitting[0]


def base_artifact(path: Path, name: str | None = None) -> Artifact:
    """The base that ``path`` means: itself, or that of a run's adapter, the largest.

    Raises:
        ArtifactError: nothing there, or the run has no exported base of that name.
    """
    if is_artifact(path) or not is_run(path):
        return open_artifact(path)
    if name is not None:
        return _named(path, [one for one in run_exports(Run(path)) if one.is_base], name)
    bases = [one for one in _whole(Run(path)) if one.is_base]
    if not bases:
        raise ArtifactError(f"{path} has no exported base", hint=export_command(run=str(path)))
    return max(bases, key=_rank)


def _tell_state(run: Run) -> None:
    """Say that exports may be of an earlier training than the one that is not finished."""
    if (state := run.manifest.state) != "trained":
        console.note(f"warning: {run.folder} is not trained to its end (state: {state}); its exports are from before")


def run_exports(run: Run) -> list[Artifact]:
    """Whatever the state of their files; one whose manifest cannot be read is left out, which is told."""
    folder = run.exports_folder
    candidates = sorted(folder.iterdir()) if folder.is_dir() else []
    found = []
    for candidate in candidates:
        try:
            found += [read_artifact(candidate)] if is_artifact(candidate) else []
        except ArtifactError as error:
            console.note(f"{candidate} is left out: {error.message}")
    return found


def _whole(run: Run) -> list[Artifact]:
    """Those that can be opened; the others are told, and are no reason not to take one of these."""
    found = []
    for artifact in run_exports(run):
        try:
            found.append(open_artifact(artifact.path))
        except ArtifactError as error:
            console.note(f"{artifact.path} is left out: {'; '.join((error.message, *error.problems))}")
    return found


def _rank(artifact: Artifact) -> tuple[bool, int]:
    """Whole models before adapters, then by size."""
    return artifact.beneath is None, artifact.manifest.size_bytes if artifact.manifest else 0


def _named(path: Path, exports: list[Artifact], name: str) -> Artifact:
    for artifact in exports:
        if name in (artifact.path.name, artifact.name):
            return open_artifact(artifact.path)
    known = ", ".join(artifact.path.name for artifact in exports)
    raise ArtifactError(
        f"{path} has no export '{name}'",
        hint=f"it has: {known}" if known else f"edgetune export {path} --format gguf --quant {name}",
    )
