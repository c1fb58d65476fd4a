"""A process that does as a job says, for what starts processes: ``python -m jobs``."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgetune.errors import DataError, Interrupted
from edgetune.trial_child import do


def work(job: dict[str, Any]) -> None:
    """End as ``job["how"]`` says."""
    print("to the log")
    subprocess.run([sys.executable, "-c", "print('a script to the log')"], check=True)
    if job["how"] == "wait":
        Path(job["file"]).write_text("begun")
        try:
            time.sleep(60)
        except KeyboardInterrupt as stop:
            Path(job["file"]).write_text("saved")
            raise Interrupted("saved what there was") from stop
    if job["how"] == "fail":
        raise DataError("wrong rows", hint="mend them", problems=["row 1"])
    if job["how"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(do(work))
