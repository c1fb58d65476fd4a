"""What a verification says of a faulty artifact."""

from __future__ import annotations

from edgetune.artifact import Artifact
from edgetune.run import Run
from edgetune.verification.record import warning
from edgetune.verification.verify import Verifier


def failed(run: Run, artifact: Artifact) -> set[str]:
    """Names of the checks that fail; the user is warned, and each failure says its likely cause."""
    found = Verifier(run, quick=True).verify(artifact)
    assert not found.passed
    assert warning(artifact) is not None
    assert all(check.cause for check in found.failed)
    return {check.name for check in found.failed}
