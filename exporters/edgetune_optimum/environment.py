"""Optimum's environment: it pins a transformers that is older than edgetune's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from edgetune import console
from edgetune.errors import ExportError

#: Names the interpreter; without it ``.venv-optimum`` in the working folder is looked for.
VARIABLE = "EDGETUNE_OPTIMUM_PYTHON"
#: What it needs.
PACKAGES = "optimum-onnx==0.1.0 torch transformers<4.58 onnxruntime"
_CHILD = Path(__file__).with_name("child.py")


def find_interpreter() -> Path:
    """The Python of Optimum's environment.

    Raises:
        ExportError: there is none.
    """
    named = os.environ.get(VARIABLE)
    path = Path(named) if named else Path(".venv-optimum/bin/python")
    if not path.is_file():
        raise ExportError(
            f"Optimum has no environment: no {path}",
            hint=f"make optimum-env, or install {PACKAGES} into a venv and set {VARIABLE} to its python; "
            "--format onnx alone needs neither",
        )
    return path.absolute()


def run_optimum(model: Path, folder: Path) -> None:
    """Let Optimum write a model folder as ONNX.

    Raises:
        ExportError: it failed; its last lines are the problems.
    """
    command = [str(find_interpreter()), str(_CHILD), str(model), str(folder)]
    settings = os.environ | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": ""}
    with console.progress("Exporting with Optimum"):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=settings)  # noqa: S603
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-5:]
        last = lines[-1] if lines else f"it ended with {done.returncode} and said nothing"
        raise ExportError(f"Optimum's exporter failed: {last}", hint="export with --format onnx alone", problems=lines)
