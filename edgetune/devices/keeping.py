"""Reports on devices of a run's exports stay with the run, where `edgetune report` finds them."""

from __future__ import annotations

import re
from pathlib import Path

from edgetune.artifact import Artifact
from edgetune.devices.report import DeviceReport
from edgetune.files import sha256_text
from edgetune.run import run_around

#: Folder of a run that holds them.
FOLDER = "devices"


def keep(report: DeviceReport, artifact: Artifact) -> Path | None:
    """Store a report in the run that the artifact was exported into, in place of the last of its kind and device.

    Returns:
        Where, or None: the artifact does not lie in a run.
    """
    run = run_around(artifact.path)
    if run is None:
        return None
    path = run.folder / FOLDER / f"{_name(report, artifact.path.name)}.json"
    path.parent.mkdir(exist_ok=True)
    report.write(path)
    return path


def _name(report: DeviceReport, artifact: str) -> str:
    """One for each artifact, kind and device: short words for people, and a hash that tells devices apart.

    The hash takes in the serial number or host, which itself stays out of the name.
    """
    where = report.measured.where if report.measured else ""
    whole = sha256_text("\n".join([artifact, report.how, where, *(device.name for device in report.devices)]))
    words = re.sub(r"[^a-z0-9_.-]+", "-", f"{artifact} {report.how}".lower())
    return f"{words[:80]}-{whole[:12]}"
