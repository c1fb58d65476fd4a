"""A trained classifier with its exports, as tests of verification and formats need it."""

from __future__ import annotations

from edgetune.artifact import open_artifact
from edgetune.exporting import export
from edgetune.training import train

PRECISIONS = ("fp32", "fp16", "int8", "int8_static")


def exported(recipe, folder, precisions=PRECISIONS):
    """A run trained as ``recipe`` says in ``folder``, exported to ONNX in each precision."""
    run = train(recipe, folder)
    for precision in precisions:
        export(run, "onnx", precision)
    return run


def artifact(run, precision):
    """One of its exports."""
    return open_artifact(run.exports_folder / precision)


def require_passed(found):
    """A verification passed, and looked at all that classifiers are looked at for."""
    assert found.passed, [check for check in found.checks if not check.passed]
    assert [check.name for check in found.checks] == ["file", "metadata", "inputs", "distributions", "task"]
