"""Everything that can go wrong, as one tree.

::

    EdgetuneError            1   something failed that has no class of its own
    ├── RecipeError          3   a recipe (or a flag that overrides it) is invalid
    ├── DataError            4   a data file cannot be read, or its rows cannot be used
    ├── ModelError           5   a model, tokenizer or adapter cannot be loaded or does not fit
    ├── TrainingError        6   training cannot go on (checkpoint unusable)
    │   └── Diverged         6   a loss or weight is not finite; a lower learning rate may do
    ├── ExportError          7   an artifact cannot be written as asked
    ├── ArtifactError        8   an artifact is damaged, incomplete or not an artifact
    ├── CheckFailed          9   the command ran; what it checked did not pass
    ├── ResourceError       10   no disk, no memory, no permission
    │   └── OutOfMemory     10   memory; a smaller setting may fit
    ├── MissingExtra        11   an optional dependency is not installed
    ├── InUse               12   another process is at work there
    ├── DeviceError         13   a device is unknown, cannot be reached, or failed while it was measured
    ├── TargetError         14   a target or a list of objectives is unknown, invalid, or does not fit the artifact
    ├── WrongUsage           2   words of the command line that are wrong, or do not go together
    ├── NotJudged           15   what was measured is too little to judge an objective or a comparison
    └── Interrupted        130   Ctrl-C; a training, sweep or comparison goes on later

Exit code 2 is also Click's own for wrong command lines. Core code raises; only
:func:`edgetune.cli.main` turns an error into text and an exit code.
"""

# N818: the names read as what happened (CheckFailed, MissingExtra), not as Python errors.
# ruff: noqa: N818
from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class EdgetuneError(Exception):
    """A failure that a person can act on.

    Args:
        message: What went wrong and where, one sentence without a full stop.
        hint: What to do next, ideally a command.
        problems: Every single finding when several were collected before raising.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None, problems: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.problems = tuple(problems)


class WrongUsage(EdgetuneError):
    """Words of the command line are wrong, or do not go together."""

    exit_code = 2


class RecipeError(EdgetuneError):
    """A recipe, or a flag or variable that overrides it, is invalid."""

    exit_code = 3


class DataError(EdgetuneError):
    """A data file cannot be read, or its rows cannot be used."""

    exit_code = 4


class ModelError(EdgetuneError):
    """A model, tokenizer or adapter cannot be loaded or does not fit."""

    exit_code = 5


class TrainingError(EdgetuneError):
    """Training cannot go on."""

    exit_code = 6


class Diverged(TrainingError):
    """A loss or a weight is not finite any more: a lower learning rate may do."""


class ExportError(EdgetuneError):
    """An artifact cannot be written as asked."""

    exit_code = 7


class ArtifactError(EdgetuneError):
    """An artifact is damaged, incomplete or not an artifact."""

    exit_code = 8


class CheckFailed(EdgetuneError):
    """The command ran to its end; what it checked did not pass."""

    exit_code = 9


class ResourceError(EdgetuneError):
    """The machine lacks disk, memory or permission."""

    exit_code = 10


class OutOfMemory(ResourceError):
    """Memory does not suffice: the one lack that a smaller setting can do without."""


class MissingExtra(EdgetuneError):
    """An optional dependency is not installed."""

    exit_code = 11

    def __init__(self, extra: str, needed_for: str) -> None:
        super().__init__(
            f"{needed_for} needs the '{extra}' extra, which is not installed",
            hint=f"pip install 'edgetune[{extra}]'",
        )
        self.extra = extra


class InUse(EdgetuneError):
    """Another process is at work there; once it has ended the same command works."""

    exit_code = 12


class DeviceError(EdgetuneError):
    """A device is unknown, cannot be reached, or failed while it was measured."""

    exit_code = 13


class TargetError(EdgetuneError):
    """A target or a list of objectives is unknown, invalid, or does not fit the artifact."""

    exit_code = 14


class NotJudged(EdgetuneError):
    """The command ran to its end; what was measured is too little to judge an objective or a comparison."""

    exit_code = 15


class Interrupted(EdgetuneError):
    """The user pressed Ctrl-C: trainings, sweeps and comparisons keep what was done, others leave nothing half-written.

    Without a hint it is the same call that goes on.
    """

    exit_code = 130
