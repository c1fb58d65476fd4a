"""Time and peak memory of a process, watched from outside."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgetune.bench.company import Company
from edgetune.errors import EdgetuneError

#: The kernel keeps the peak itself, so only growth in a process's last moments can be missed.
_POLL_SECONDS = 0.02
#: Lines of a failed process's output that are shown.
_SHOWN = 20


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Attributes:
        seconds: from its start to its end.
        peak_bytes: peak resident set (VmHWM): mapped pages of files count.
        anonymous_bytes: most memory that was not pages of files (RssAnon), of samples every 20 ms.
        others_cpu_share: of all processors, used by others meanwhile; None where the kernel does not say.
    """

    seconds: float
    peak_bytes: int
    anonymous_bytes: int
    others_cpu_share: float | None


def run(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Cost:
    """Run a command to its end.

    Not ``ru_maxrss``: between fork and exec a child has the size of its parent, and Linux counts that.

    Raises:
        EdgetuneError: it failed; its last lines are in ``problems``.
    """
    company = Company()
    peak = anonymous = 0
    with log.open("w", encoding="utf-8") as output:
        started = time.monotonic()
        process = subprocess.Popen(command, env=dict(environment), stdout=output, stderr=subprocess.STDOUT)
        try:
            while process.poll() is None:
                found = _memory(process.pid)
                peak, anonymous = max(peak, found.get("VmHWM", 0)), max(anonymous, found.get("RssAnon", 0))
                time.sleep(_POLL_SECONDS)
            seconds = time.monotonic() - started
        finally:
            process.kill()
            process.wait()
    if process.returncode != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_SHOWN:]
        raise EdgetuneError(
            f"{log.stem} failed (exit code {process.returncode})", hint="its last lines are above", problems=lines
        )
    share = company.share()
    return Cost(round(seconds, 3), peak, anonymous, None if share is None else round(share, 4))


def _memory(pid: int) -> dict[str, int]:
    """Sizes in /proc/PID/status in bytes; empty once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return {}
    parts = [line.split() for line in lines if line.endswith(" kB")]
    return {name.rstrip(":"): int(value) * 1024 for name, value, _ in parts}
