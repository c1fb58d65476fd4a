"""Reports on devices of a run's exports stay with the run, where `edgetune report` finds them."""

from __future__ import annotations

import re
from pathlib import Path

from edgetune.artifact import Artifact
from edgetune.devices.report import DeviceReport
from edgetune.run import Run, is_run

#: Folder of a run that holds them.
FOLDER = "devices"


def keep(report: DeviceReport, artifact: Artifact) -> Path | None:
    """Store a report in the run that the artifact was exported into, in place of the last of its kind and device.

    Returns:
        Where, or None: the artifact does not lie in a run.
    """
    run = next((Run(folder) for folder in artifact.path.resolve().parents if is_run(folder)), None)
    if run is None:
        return None
    words = [artifact.path.name, report.how, *(device.name for device in report.devices)]
    path = run.folder / FOLDER / f"{re.sub(r'[^a-z0-9_.-]+', '-', ' '.join(words).lower())[:120]}.json"
    path.parent.mkdir(exist_ok=True)
    report.write(path)
    return path
