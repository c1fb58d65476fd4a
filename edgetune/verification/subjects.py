"""What ``edgetune verify`` was given, and which run it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from edgetune import console
from edgetune.artifact import MANIFEST, Artifact, is_artifact, open_artifact, read_artifact
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

_Subject = TypeVar("_Subject")
_Result = TypeVar("_Result")


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


@dataclass(frozen=True)
class Verified:
    """What came of ``edgetune verify``.

    Attributes:
        found: of the artifacts that could be looked at, at least one.
        refused: why others of the run could not: a damaged manifest, an adapter without its base.
    """

    found: tuple[Verification, ...]
    refused: tuple[ArtifactError, ...] = ()

    @property
    def failed(self) -> list[Verification]:
        """Those that are not the trained model."""
        return [one for one in self.found if not one.passed]


def verify_path(path: Path, wanted: Wanted) -> Verified:
    """Verify an artifact, or the exports of a run: what stops one of them does not stop the others.

    Raises:
        ArtifactError: nothing there, no export, or none that can be looked at: nobody knows which run it came from.
        EdgetuneError: see :class:`edgetune.verification.verify.Verifier`.
    """
    base = open_artifact(wanted.base) if wanted.base else None
    opened, refused = _artifacts(path, wanted.name)
    if base and (whole := [artifact for artifact in opened if not artifact.is_adapter]):
        raise ArtifactError(f"{whole[0].path} is no adapter, so it runs on no base", hint="leave --base out")
    artifacts, alone = _each(opened, lambda artifact: on_base(artifact, base))
    require_read(refused := [*refused, *alone], of=artifacts)
    found, unknown = _each(artifacts, _judge(path, wanted, artifacts))
    require_read(refused := [*refused, *unknown], of=found)
    return Verified(tuple(found), tuple(refused))


def require_read(refused: Sequence[ArtifactError], of: Sequence[object] = ()) -> None:
    """Check that artifacts could be looked at.

    Args:
        refused: why some could not.
        of: those that could; where there are any the rest can wait.

    Raises:
        ArtifactError: naming them.
    """
    if of or not refused:
        return
    if len(refused) == 1:
        raise refused[0]
    hint = next((error.hint for error in refused if error.hint), None)
    named = [line for error in refused for line in (error.message, *error.problems)]
    raise ArtifactError(f"{len(refused)} exports could not be verified", hint=hint, problems=named)


def _judge(path: Path, wanted: Wanted, artifacts: Sequence[Artifact]) -> Callable[[Artifact], Verification]:
    """What verifies an artifact: the run that it came from, else what travels with it."""
    run = _run(path, wanted.run_folder)
    if run is None:
        return verify_portable
    try:
        verifier = verifier_of(run, quick=wanted.quick)
    except MissingExtra as error:
        if wanted.portable or not all((artifact.path / PORTABLE).is_file() for artifact in artifacts):
            raise
        console.note(f"{error.message}: comparing with {PORTABLE}, which travels with the artifact")
        return verify_portable
    return lambda artifact: verifier.verify(artifact, portable=wanted.portable)


def _each(
    subjects: Iterable[_Subject], work: Callable[[_Subject], _Result]
) -> tuple[list[_Result], list[ArtifactError]]:
    """What comes of each, and why nothing comes of the others."""
    done, refused = [], []
    for subject in subjects:
        try:
            done.append(work(subject))
        except ArtifactError as error:
            refused.append(error)
    return done, refused


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


def _artifacts(path: Path, name: str | None) -> tuple[list[Artifact], list[ArtifactError]]:
    """Those meant, whatever the state of their files: that is for the verification to say. And why some are unknown."""
    if not is_run(path):
        found = read_artifact(path)
        if found.is_base:
            raise ArtifactError(
                f"{path} is an untuned base, and no trained model to compare it with",
                hint="verify the adapter that runs on it: edgetune verify ADAPTER --base BASE",
            )
        return [found], []
    run = Run(path)
    refused: list[ArtifactError] = []
    if name is not None:  # whatever the others are like
        every = [one for one in run_exports(run) if name in (one.path.name, one.name)]
    else:
        folders = [
            one for one in sorted(run.exports_folder.glob("*")) if (one / MANIFEST).is_file() or is_artifact(one)
        ]
        every, refused = _each(folders, read_artifact)
    every = [one for one in every if not one.is_base]
    if not every and not refused:
        every = [require_artifact(path, name)]  # which says what there is, and how to export one
    return every, refused


def _run(path: Path, given: Path | None) -> Run | None:
    if given is not None:
        return open_run(given)
    return open_run(path) if is_run(path) else run_of(path)
