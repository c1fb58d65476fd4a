"""Starting measured processes and reading what they report."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from edgetune import errors
from edgetune.errors import EdgetuneError

CHILD = "edgetune.bench.child"


def measure(job: Mapping[str, Any], module: str | None = None) -> Iterator[dict[str, Any]]:
    """Run one job in a fresh process and yield its reports as they come.

    A report of the kind ``turn`` says that the process waits; asking for the next report lets it go on.

    Args:
        job: ``mode``, ``artifact``, ``prompts``, ``new_tokens`` and more; see :mod:`edgetune.bench.child`.
        module: what the process runs; default: that one.

    Raises:
        EdgetuneError: of the class that the process raised, or that it died.
    """
    with tempfile.TemporaryFile() as complaints:
        started = time.monotonic()  # one clock for all processes of a machine
        child = subprocess.Popen(  # noqa: S603  # our own module in our own interpreter
            [sys.executable, "-m", module or CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            _write(child, json.dumps({**job, "started": started}))
            for line in child.stdout:
                report = json.loads(line)
                if report.get("kind") == "error":
                    raise revive(report)
                waits = report.get("kind") == "turn"  # asked now: a report belongs to who reads it
                yield report
                if waits:
                    _write(child, "go on")
            if child.wait() != 0:
                complaints.seek(0)
                raise died(child.returncode, complaints.read().decode("utf-8", errors="replace"))
        except BrokenPipeError as error:  # it died before it read its job
            complaints.seek(0)
            raise died(child.wait(), complaints.read().decode("utf-8", errors="replace")) from error
        finally:
            child.kill()
            child.wait()
            child.stdout.close()
            with suppress(BrokenPipeError):  # what it did not read goes nowhere
                child.stdin.close()


def _write(child: subprocess.Popen[str], line: str) -> None:
    assert child.stdin is not None
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def revive(report: Mapping[str, Any]) -> EdgetuneError:
    """The error that was raised in the other process; its message is whole, so no subclass may compose another."""
    kind = getattr(errors, report["error"], EdgetuneError)
    error: EdgetuneError = kind.__new__(kind)
    EdgetuneError.__init__(error, report["message"], hint=report["hint"], problems=report["problems"])
    return error


def died(code: int, complaints: str, what: str = "the measured process") -> EdgetuneError:
    """The error that says how a process ended which should not have, with the last lines that it wrote."""
    cause = f"signal {-code}" if code < 0 else f"exit code {code}"
    return EdgetuneError(
        f"{what} died ({cause})",
        hint="signal 9 means that the system ran out of memory" if code == -9 else "edgetune doctor",
        problems=complaints.strip().splitlines()[-5:],
    )
