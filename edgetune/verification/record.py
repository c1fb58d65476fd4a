"""A verification as stored beside an artifact, and what it says about the artifact now."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgetune.artifact import BENEATH, Artifact
from edgetune.stored import Stored, read_if_sound, write_stored

#: The file beside an artifact's manifest.
FILE = "verify.json"


class Check(Stored):
    """One question that was asked of an artifact."""

    name: str
    """``file``, ``metadata``, ``weights``, ``prompts``, ``distributions``, ``endings``, ``task``, ``loss``; of a copy
    also ``origin``."""
    passed: bool | None
    """None: not judged, and ``text`` says why."""
    text: str
    """What was found, in a line."""
    figures: dict[str, float] = Field(default={})
    limits: dict[str, float] = Field(default={})
    """Figure → the value that it must reach, or must not pass."""
    problems: tuple[str, ...] = ()
    """Every single finding."""
    cause: str | None = None
    """The likely cause of a failure, and what to do."""
    unforeseen: bool = False
    """It failed in a way that no reader foresaw, which may be a bug of edgetune's."""

    @property
    def undecided(self) -> bool:
        """Whether a limit was missed, but too few rows were looked at to be sure of it."""
        return self.passed is None and bool(self.limits)


class Depth(Stored):
    """How much is compared."""

    rows: int
    """For prompts and distributions."""
    answers: int | None
    """Rows that are answered, for endings and task; None: all held-out rows."""

    def covers(self, other: Depth) -> bool:
        """Whether as much is compared as in ``other``."""
        answered = self.answers is None or (other.answers is not None and self.answers >= other.answers)
        return self.rows >= other.rows and answered


class Verification(Stored):
    """Whether an artifact is the trained model, with the evidence."""

    kind: Literal["edgetune-verification"] = "edgetune-verification"
    schema_version: Literal[1] = 1
    artifact: str
    sha256: dict[str, str]
    """The artifact's files as verified, those of the base beneath an adapter included."""
    basis_sha256: str
    """Over the trained weights, the rows and the settings: with the same, nothing need be verified again."""
    depth: Depth
    precision_class: str
    """Which limits held."""
    reference: str
    """What the artifact was compared with."""
    checks: tuple[Check, ...]
    created: str
    """UTC, ISO 8601."""
    seconds: float
    edgetune: str

    @property
    def passed(self) -> bool:
        """Whether no check failed and at least one passed."""
        verdicts = [check.passed for check in self.checks]
        return False not in verdicts and True in verdicts

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if check.passed is False)


def store(folder: Path, verification: Verification) -> None:
    """Write ``verify.json`` into an artifact folder."""
    write_stored(folder / FILE, verification)


def load(artifact: Artifact) -> Verification | None:
    """The verification of the files as the manifest lists them; None: there is none of those, or it is damaged.

    Of an adapter whose base is known: on that base.
    """
    found = _of_these(artifact)
    on_another = found and artifact.beneath is not None and found.sha256 != artifact.sha256
    return None if on_another else found


def _of_these(artifact: Artifact) -> Verification | None:
    """The verification of the artifact's own files, whatever base was beneath them."""
    if artifact.manifest is None:
        return None
    found = read_if_sound(artifact.path / FILE, Verification)
    if found is None:
        return None
    own = {name: digest for name, digest in found.sha256.items() if not name.startswith(BENEATH)}
    return found if own == artifact.manifest.sha256 else None


def warning(artifact: Artifact) -> str | None:
    """What a user of the artifact has to know: that its verification failed. None: it passed, or there was none."""
    found = load(artifact)
    if found is None and _of_these(artifact) is not None:
        return f"{artifact.name} was verified on another base than this one"
    if found is None:
        damaged = artifact.manifest is not None and (artifact.path / FILE).is_file()
        return f"the verification of {artifact.name} is damaged, or of other files" if damaged else None
    if found.passed:
        return None
    return f"{artifact.name} is unverified: it failed {', '.join(check.name for check in found.failed)}"
