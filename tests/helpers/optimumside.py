"""Asking a script that runs in Optimum's environment."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from edgetune_optimum.environment import find_interpreter


def ask(script: Path, job: dict[str, Any]) -> Any:
    """What a script prints as JSON on its last line.

    Args:
        script: that reads JSON.
        job: for it.
    """
    settings = os.environ | {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}
    command = [str(find_interpreter()), str(script)]
    done = subprocess.run(command, input=json.dumps(job), capture_output=True, text=True, check=False, env=settings)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
