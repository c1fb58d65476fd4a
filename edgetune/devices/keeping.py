"""Reports on devices of a run's exports stay with the run, where `edgetune report` finds them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edgetune.artifact import Artifact
from edgetune.devices.report import DeviceReport
from edgetune.files import sha256_text
from edgetune.run import run_around

#: Folder of a run that holds them.
FOLDER = "devices"


def keep(report: DeviceReport, artifact: Artifact) -> Path | None:
    """Store a report in the run that the artifact was exported into, in place of the last that asked the same.

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
    """One for each artifact, kind, device and question: short words for people, and a hash that tells them apart.

    The hash takes in the serial number or host, which itself stays out of the name.
    """
    parts = [artifact, report.how, report.target or "", *(device.name for device in report.devices), *_question(report)]
    whole = sha256_text("\n".join(parts))
    words = re.sub(r"[^a-z0-9_.-]+", "-", f"{artifact} {report.how}".lower())
    return f"{words[:80]}-{whole[:12]}"


def _question(report: DeviceReport) -> Iterator[str]:
    """What was asked of a device, by kind: another depth, memory or context has another answer."""
    if measured := report.measured:
        yield f"{measured.where} {measured.threads}"
        yield from map(str, sorted((test.prompt_tokens, test.new_tokens, test.depth) for test in measured.tests))
    if constrained := report.constrained:
        limits = constrained.limits
        yield f"{limits.memory_bytes} {len(limits.cores)} {constrained.context}"
    yield from map(str, sorted({one.depth for one in report.projected}))
