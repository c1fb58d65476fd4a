"""An environment of TRL's own beside the main one, sharing its torch and transformers."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

from publishing import REPOSITORY

from edgetune import console
from edgetune.errors import EdgetuneError

#: What the figures of the README are measured against.
TRL = "1.16.0"
FOLDER = REPOSITORY / ".venv-trl"


def trl_python() -> Path:
    """The interpreter of an environment with TRL in it; made on the first call.

    Raises:
        EdgetuneError: it cannot be made; pip's own message is above.
    """
    python = FOLDER / "bin" / "python"
    if not _has_trl(python):
        console.note(f"installing TRL {TRL} into {FOLDER.name}")
        _run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(FOLDER)])
        _share_packages(python)
        pip = [sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check"]
        _run([*pip, "install", "--quiet", "--no-deps", f"trl=={TRL}"])
    return python


def _has_trl(python: Path) -> bool:
    if not python.is_file():
        return False
    code = "import importlib.metadata, torch, edgetune; print(importlib.metadata.version('trl'))"
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=False)
    return done.returncode == 0 and done.stdout.strip() == TRL


def _share_packages(python: Path) -> None:
    """Let the environment see this one's packages, after its own.

    ``addsitedir`` rather than a bare path: it also reads the .pth files there, through which edgetune
    itself is found when it is installed editable.
    """
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    own = subprocess.run([str(python), "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    shared = sysconfig.get_path("purelib")
    Path(own, "edgetune-shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n", encoding="utf-8")


def _run(command: list[str]) -> None:
    if subprocess.run(command, check=False).returncode != 0:
        raise EdgetuneError(f"could not install TRL {TRL} into {FOLDER.name}", hint="pip's own message is above")
