"""What every verification does with an artifact: its files, its runtime, failures as findings, the result stored."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from edgetune import __version__, console, files
from edgetune.artifact import MANIFEST, Artifact, ArtifactManifest, require_whole
from edgetune.errors import ArtifactError, EdgetuneError, Interrupted, InUse, MissingExtra, ResourceError
from edgetune.memory import memory_errors
from edgetune.runtimes import open_runtime
from edgetune.runtimes.protocol import Runtime
from edgetune.verification.checks import check_distributions, check_prompts
from edgetune.verification.limits import Limits
from edgetune.verification.portable import PORTABLE
from edgetune.verification.record import FILE, Check, Depth, Verification, store
from edgetune.verification.reference import Reference

#: Failures of this machine or its user, not of the artifact.
_NOT_ITS_FAULT = (ResourceError, MissingExtra, InUse, Interrupted)
#: What reading a damaged file ends in where no reader foresaw that damage; a bug in edgetune may look the same.
_UNFORESEEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
#: Kinds of files that programs look for in a folder by themselves.
_READ_BY_NAME = (".json", ".jinja", ".model", ".txt", ".onnx", ".onnx_data", ".onnx_adapter", ".ort", ".gguf", ".py")
_OWN = (MANIFEST, FILE, PORTABLE)


def require_manifest(artifact: Artifact) -> ArtifactManifest:
    """The artifact's manifest.

    Raises:
        ArtifactError: it is a bare file.
    """
    if artifact.manifest is None:
        raise ArtifactError(
            f"{artifact.path} has no manifest, so nobody knows which model it should be",
            hint="give the folder that `edgetune export` wrote",
        )
    return artifact.manifest


def check_files(artifact: Artifact) -> Check:
    """Whether the files are those that were exported, and no others are among them."""
    manifest = require_manifest(artifact)
    cause = "the copy is damaged, or the file was changed after export: export or copy it again"
    if manifest.main_file not in manifest.sha256:
        return Check(name="file", passed=False, text=f"the manifest has no hash of {manifest.main_file}", cause=cause)
    try:
        require_whole(artifact)
    except ArtifactError as error:
        return Check(name="file", passed=False, text=error.message, problems=error.problems, cause=cause)
    if strange := [*_unlisted(artifact), *(_unlisted(artifact.beneath) if artifact.beneath else [])]:
        return Check(
            name="file",
            passed=False,
            text=f"{len(strange)} files are there that were not exported",
            problems=tuple(f"{name}: not in the manifest, and programs may read it" for name in strange),
            cause="something was put into the folder: take it out",
        )
    count = len(artifact.sha256)
    return Check(name="file", passed=True, text=f"{count} {'file is' if count == 1 else 'files are'} as exported")


def _unlisted(artifact: Artifact) -> list[str]:
    """Files in the artifact's folder that programs may read and its manifest does not list.

    Hidden ones nobody reads, in whatever folder: macOS puts one beside every file that it copies to an exFAT card.
    """
    if artifact.manifest is None:
        return []
    below = {path.relative_to(artifact.path) for path in artifact.path.rglob("*") if path.is_file()}
    seen = {path.as_posix() for path in below if not any(part.startswith(".") for part in path.parts)}
    return sorted(name for name in seen - {*artifact.manifest.sha256, *_OWN} if name.endswith(_READ_BY_NAME))


def check_metadata(
    problems: Sequence[str], good: str = "says what would be written now", forgotten: str | None = None
) -> Check:
    """From what is said that is not so to a verdict.

    Args:
        problems: each in words.
        good: what is said where there are none.
        forgotten: what could not be told, and why; then there is a verdict only if the rest is wrong.
    """
    if forgotten and not problems:
        return Check(name="metadata", passed=None, text=f"not judged: {forgotten}")
    return Check(
        name="metadata",
        passed=not problems,
        text=f"{len(problems)} findings" if problems else good,
        problems=tuple(problems),
        cause="the file was changed after export, or made from another run" if problems else None,
    )


#: Further checks of an open artifact that is asked as the trained model is.
More = Callable[[Runtime], list[Check]]


def ask_artifact(
    artifact: Artifact, reference: Reference, limits: Limits, further: Sequence[str] = (), more: More | None = None
) -> list[Check]:
    """Prompts, and distributions where those are right, through the artifact's own runtime.

    Args:
        artifact: to open.
        reference: of the trained model.
        limits: to keep to.
        further: names of the checks that ``more`` makes.
        more: of the open artifact, where the prompts are right.
    """

    def ask() -> list[Check]:
        with _opened(artifact, reference.longest) as runtime:
            prompts = check_prompts(reference, runtime)
            found = phase(("distributions",), lambda: [check_distributions(reference, runtime, limits)])
            if more is None:
                return [prompts, *found]
            if not prompts.passed:
                return [prompts, *found, *not_judged(further, "it is not asked as the trained model is")]
            return [prompts, *found, *phase(further, lambda: more(runtime))]

    return phase(("prompts", "distributions", *further), ask)


def phase(names: Sequence[str], work: Callable[[], list[Check]]) -> list[Check]:
    """The checks of one phase. What stops an artifact fails the first of them, and the others are not judged."""
    try:
        with memory_errors():
            return work()
    except _NOT_ITS_FAULT:
        raise
    except EdgetuneError as error:
        cause = "the artifact is damaged, cut short or of another model"
        failed = Check(name=names[0], passed=False, text=error.message, problems=error.problems, cause=cause)
    except _UNFORESEEN as error:
        failed = Check(
            name=names[0],
            passed=False,
            text=f"could not be judged: {type(error).__name__}: {error}".splitlines()[0],
            cause="the artifact is damaged; where a fresh export fails in the same way, it is a bug in edgetune",
            unforeseen=True,
        )
    return [failed, *not_judged(names[1:], f"{names[0]} could not be")]


def not_judged(names: Sequence[str], why: str) -> list[Check]:
    """Checks without a verdict."""
    return [Check(name=name, passed=None, text=f"not judged: {why}") for name in names]


@contextmanager
def _opened(artifact: Artifact, longest: int) -> Iterator[Runtime]:
    """The artifact in its runtime, with the runtime's usual context or as much as the longest row needs."""
    manifest = require_manifest(artifact)
    usual = open_runtime(artifact)
    if usual.context_length >= longest or longest > manifest.context_length:
        runtime = usual
    else:
        usual.close()
        runtime = open_runtime(artifact, context=longest)
    try:
        yield runtime
    finally:
        runtime.close()


def keep(artifact: Artifact, verification: Verification) -> None:
    """Store the result; where that cannot be done the findings must not be lost with it."""
    try:
        store(artifact.path, verification)
    except ResourceError as error:
        console.note(f"warning: the result is not stored: {error.message}")


def withdraw(artifact: Artifact, verification: Verification) -> None:
    """Remove what travels with an artifact that failed, so that no copy of it can be called verified.

    It stays where nothing but edgetune itself may be at fault: its ``verify.json`` fails a copy then. Findings must
    not be lost where it cannot be removed.
    """
    path = artifact.path / PORTABLE
    if all(check.unforeseen for check in verification.failed):
        console.note(f"{path} stays: the artifact could not be judged")
        return
    try:
        with files.disk_errors(path):
            path.unlink()
    except ResourceError as error:
        console.note(f"warning: the artifact failed, and its {PORTABLE} cannot be removed: {error.message}")
    else:
        console.note(f"{path} is removed: the artifact failed")


def record(  # noqa: PLR0913, PLR0917  # the parts of a verification
    artifact: Artifact, limits: str, reference: str, basis: str, depth: Depth, checks: list[Check], start: float
) -> Verification:
    """A verification that ends now."""
    return Verification(
        artifact=artifact.name,
        sha256=artifact.sha256,
        basis_sha256=basis,
        depth=depth,
        precision_class=limits,
        reference=reference,
        checks=tuple(checks),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - start, 1),
        edgetune=__version__,
    )
