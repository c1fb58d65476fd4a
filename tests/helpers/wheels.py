"""Build this project's wheel the way a user's pip would."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def build_wheel(folder: Path) -> Path:
    """The wheel, built in ``folder`` from a copy of the tree: a build folder left in the tree would colour the next."""
    copy = folder / "source"
    ignore = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for name in ("edgetune", "exporters", "recipes"):
        shutil.copytree(ROOT / name, copy / name, ignore=ignore)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "-w", str(folder), str(copy)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("edgetune-*.whl")
    return wheel
