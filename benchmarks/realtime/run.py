"""Do the exports of two recipes keep real-time limits, and up to which rate of requests?

Usage: python benchmarks/realtime/run.py [RUN] [--quick]; default: the newest trained runs/smart-home-*, beside the
newest of digits. --quick asks little, prints what would be published, and stores nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402
import recipe_runs  # noqa: E402

from edgetune import console  # noqa: E402
from edgetune.bench.realtime_section import RealtimeSection  # noqa: E402
from edgetune.bench.schema import BenchReport  # noqa: E402
from edgetune.bench.verdicts_text import frame_lines, search_lines, verdict_lines  # noqa: E402
from edgetune.errors import CheckFailed, EdgetuneError, NotJudged  # noqa: E402

GUIDE = publishing.REPOSITORY / "docs" / "guide" / "targets.md"


@dataclass(frozen=True)
class Held:
    """An export of a recipe's run and what it is held to.

    Attributes:
        target: a name, or the path of a file.
        full: options of the measurement that is stored.
        quick: options that show that it works, with too few samples to judge a percentile by.
    """

    recipe: str
    export: str
    target: str
    full: tuple[str, ...]
    quick: tuple[str, ...]


#: p95 needs 59 requests in every loop of a search, and p99 299: both more than the default seconds hold.
_REQUESTS, _MANY_REQUESTS = ("--seconds", "450"), ("--seconds", "900")
_FEW_REQUESTS = ("--rounds", "1", "--prompts", "2", "--depths", "", "--new-tokens", "8", "--seconds", "5")
EVERY = (
    Held("smart-home", "q8_0", "voice-assistant", _REQUESTS, _FEW_REQUESTS),
    Held("smart-home", "q8_0", "interactive", _MANY_REQUESTS, _FEW_REQUESTS),
    Held("smart-home", "q8_0", str(HERE / "kiosk.yaml"), _REQUESTS, _FEW_REQUESTS),
    Held("digits", "int8_static", "camera-30fps", (), ("--rounds", "1", "--prompts", "2", "--seconds", "1")),
)
#: A verdict is a result, whichever it is.
RESULTS = (0, CheckFailed.exit_code, NotJudged.exit_code)


def main() -> None:
    """Hold the exports to their targets, publish."""
    quick = "--quick" in sys.argv
    if quick:
        sys.argv.remove("--quick")
    runs = {"smart-home": publishing.smart_home_run(), "digits": recipe_runs.newest_run("digits")}
    machine = publishing.describe_machine(("llama-cpp-python", "onnxruntime"))
    with console.progress("Holding to targets", total=len(EVERY), unit="targets") as bar:
        reports = {}
        for held in EVERY:
            report = _measured(runs[held.recipe], held, quick)
            reports[str(report.target)] = report.model_dump(mode="json")
            bar.advance()
    result = {"created": publishing.now(), "machine": machine, "reports": reports}
    if quick:
        console.data(page(result))
        return
    publishing.publish_tables(HERE, publishing.write_results(HERE / "results", result, machine["cpu"]), page)
    publishing.put_into_readme(GUIDE, in_short(result))


def _measured(run: Path, held: Held, quick: bool) -> BenchReport:
    """What ``edgetune bench`` stores; the command is the one that users type."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [sys.executable, "-m", "edgetune", "bench", str(run), "--artifact", held.export]
        command += ["--target", held.target, *(held.quick if quick else held.full), "--output", str(output)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
        report = BenchReport.read(output)
    if done.returncode not in RESULTS or report is None:
        raise EdgetuneError(f"edgetune bench --target {held.target} failed (exit code {done.returncode})")
    return report


def page(result: dict[str, Any]) -> str:
    """Verdicts and rates as the command prints them, and the machine."""
    reports = [BenchReport.model_validate(report) for report in result["reports"].values()]
    lines = [line for report in reports for line in _told(report)]
    return "\n".join(["```text", *lines[1:], "```", "", f"Machine: {publishing.machine_line(result['machine'])}."])


def _told(report: BenchReport) -> Iterator[str]:
    blank, *verdicts = verdict_lines(report)
    yield from (blank, report.subject.name, *verdicts)
    yield from map(_warning, report.warnings)


def in_short(result: dict[str, Any]) -> str:
    """A paragraph for each target, for the guide."""
    reports = (BenchReport.model_validate(report) for report in result["reports"].values())
    return "\n".join(f"- {' '.join(_sentences(report))}" for report in reports)


def _sentences(report: BenchReport) -> Iterator[str]:
    """Verdicts, rates, and how busy the machine was while its requests were answered."""
    section = report.realtime or report.frames
    assert section is not None, "its targets need requests or frames against a clock"
    verdicts = "; ".join(" ".join(verdict.text.split()) for verdict in report.verdicts)
    yield f"`{report.target}`, of {report.subject.name}: {verdicts}."
    if report.frames is not None:
        yield f"{'; '.join(frame_lines(report.frames))}."
    if report.realtime is not None:
        yield from _rates(report.realtime)
    busy = {"the host of this virtual machine": section.steal_share, "other programs": section.others_share}
    shares = [f"{who} took {share:.1%}" for who, share in busy.items() if share is not None]
    if shares:
        yield f"Meanwhile, of the processors {' and '.join(shares)}."


def _rates(section: RealtimeSection) -> Iterator[str]:
    """The highest rate, and where the simulation says it is if it was not found."""
    search = section.search
    if search is None:
        return
    rate, *ended = search_lines(search, section.no_rate)
    yield f"Of random requests: {rate}; {'; '.join(ended)}."
    if search.highest_met is None and search.predicted is not None:
        planned = section.judged.planned
        minutes = planned / search.predicted / 60
        yield (
            f"Simulated from these answers the highest is {search.predicted:.3g} a second, as one that waits for "
            f"another is late; {planned} requests at that rate take {minutes:.0f} minutes."
        )


def _warning(text: str) -> str:
    return f"  warning: {text}"


if __name__ == "__main__":
    publishing.exit_with(main)
