"""What ``edgetune verify`` was given, and which run it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetune import console
from edgetune.artifact import Artifact, is_artifact, open_artifact, read_artifact
from edgetune.errors import ArtifactError, MissingExtra
from edgetune.evaluation.report import run_of
from edgetune.run import Run, is_run, open_run
from edgetune.runtimes.choosing import require_artifact, run_exports
from edgetune.runtimes.pairing import bases_beside, export_command, on_base
from edgetune.verification.choosing import verifier_of
from edgetune.verification.portable import PORTABLE
from edgetune.verification.record import Verification
from edgetune.verification.text import to_text
from edgetune.verification.verify import verify_portable


@dataclass(frozen=True)
class Wanted:
    """The options of ``edgetune verify``.

    Attributes:
        name: with a run: only this export.
        base: of an adapter: the base to verify it on, if not the one beside it.
        run_folder: of an artifact that lies elsewhere.
        quick: fewer rows.
        portable: leave in the artifact what a device without torch needs to verify its copy.
    """

    name: str | None = None
    run_folder: Path | None = None
    base: Path | None = None
    quick: bool = False
    portable: bool = False


def verify_path(path: Path, wanted: Wanted) -> list[Verification]:
    """Verify an artifact, or the exports of a run.

    Raises:
        ArtifactError: nothing there, no export, or nobody knows which run an artifact came from.
        EdgetuneError: see :class:`edgetune.verification.verify.Verifier`.
    """
    base = open_artifact(wanted.base) if wanted.base else None
    found = _artifacts(path, wanted.name)
    if base and (whole := [artifact for artifact in found if not artifact.is_adapter]):
        raise ArtifactError(f"{whole[0].path} is no adapter, so it runs on no base", hint="leave --base out")
    artifacts = [on_base(artifact, base) for artifact in found]
    run = _run(path, wanted.run_folder)
    if run is None:
        return [verify_portable(artifact) for artifact in artifacts]
    try:
        verifier = verifier_of(run, quick=wanted.quick)
    except MissingExtra as error:
        if wanted.portable or not all((artifact.path / PORTABLE).is_file() for artifact in artifacts):
            raise
        console.note(f"{error.message}: comparing with {PORTABLE}, which travels with the artifact")
        return [verify_portable(artifact) for artifact in artifacts]
    return [verifier.verify(artifact, portable=wanted.portable) for artifact in artifacts]


def verify_exports(run: Run, artifacts: Sequence[Artifact]) -> list[Verification]:
    """Verify what was just exported, quickly; what was found goes to standard error.

    Returns:
        The verifications that failed.
    """
    bases = [artifact for artifact in artifacts if artifact.is_base]
    subjects = [artifact for artifact in artifacts if not artifact.is_base]
    if alone := [one for one in subjects if one.is_adapter and not (bases or bases_beside(one))]:
        kind = alone[0].manifest.format if alone[0].manifest else "gguf"
        command = export_command(kind, str(run.folder))
        console.note(
            f"{alone[0].path} is not verified: it needs its base ({command} writes it); "
            "on a base that lies elsewhere: edgetune verify ADAPTER --base BASE"
        )
        subjects = [one for one in subjects if one not in alone]
    if not subjects:
        return []
    verifier = verifier_of(run, quick=True)
    found = [verifier.verify(on_base(one, next(iter(bases), None)), again=False) for one in subjects]
    console.note("\n".join(to_text(one) for one in found))
    return [one for one in found if not one.passed]


def _artifacts(path: Path, name: str | None) -> list[Artifact]:
    """Those meant, whatever the state of their files: that is for the verification to say."""
    if not is_run(path):
        found = read_artifact(path)
        if found.is_base:
            raise ArtifactError(
                f"{path} is an untuned base, and no trained model to compare it with",
                hint="verify the adapter that runs on it: edgetune verify ADAPTER --base BASE",
            )
        return [found]
    run = Run(path)
    if name is not None:  # whatever the others are like
        every = [one for one in run_exports(run) if name in (one.path.name, one.name)]
    else:
        every = [read_artifact(path) for path in sorted(run.exports_folder.glob("*")) if is_artifact(path)]
    every = [one for one in every if not one.is_base]
    return every or [require_artifact(path, name)]  # which says what there is, and how to export one


def _run(path: Path, given: Path | None) -> Run | None:
    if given is not None:
        return open_run(given)
    return open_run(path) if is_run(path) else run_of(path)
