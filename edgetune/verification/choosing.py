"""Which verifier a run needs: one for each kind of task."""

from __future__ import annotations

from typing import Protocol

from edgetune.artifact import Artifact
from edgetune.run import Run
from edgetune.verification.classification import ClassifierVerifier
from edgetune.verification.record import Verification
from edgetune.verification.verify import Verifier


class Verifies(Protocol):
    """Verifies the artifacts of one run."""

    def verify(self, artifact: Artifact, *, again: bool = True, portable: bool = False) -> Verification: ...


def verifier_of(run: Run, *, quick: bool = False) -> Verifies:
    """The verifier for a run's kind of task. Errors: as in its class."""
    generates = run.recipe.task.kind == "generation"
    return Verifier(run, quick=quick) if generates else ClassifierVerifier(run, quick=quick)
