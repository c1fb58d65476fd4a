"""Does what the quickstart ends in keep real-time limits, and up to which rate of requests?

Usage: python benchmarks/realtime/run.py [RUN] [--quick]; default: the newest trained runs/smart-home-*. --quick asks
little, prints what would be published, and stores nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))  # benchmarks are scripts, not a package

import publishing  # noqa: E402

from edgetune import console  # noqa: E402
from edgetune.bench.schema import BenchReport  # noqa: E402
from edgetune.bench.verdicts_text import search_lines, verdict_lines  # noqa: E402
from edgetune.errors import CheckFailed, EdgetuneError, NotJudged  # noqa: E402

GUIDE = publishing.REPOSITORY / "docs" / "guide" / "targets.md"
EXPORT = "q8_0"
TARGETS = ("voice-assistant", "interactive")
#: The strictest percentile needs 299 requests in every loop of a search: more than the default seconds hold.
FULL = ("--seconds", "900")
#: Enough to see that it works; too few samples to judge a percentile by.
QUICK = ("--rounds", "1", "--prompts", "2", "--depths", "", "--new-tokens", "8", "--seconds", "5")
#: A verdict is a result, whichever it is.
RESULTS = (0, CheckFailed.exit_code, NotJudged.exit_code)


def main() -> None:
    """Hold the export to each target, publish."""
    quick = "--quick" in sys.argv
    if quick:
        sys.argv.remove("--quick")
    run = publishing.smart_home_run()
    machine = publishing.describe_machine(("llama-cpp-python",))
    with console.progress("Holding to targets", total=len(TARGETS), unit="targets") as bar:
        reports = {}
        for target in TARGETS:
            reports[target] = _held(run, target, QUICK if quick else FULL).model_dump(mode="json")
            bar.advance()
    result = {"created": publishing.now(), "machine": machine, "export": EXPORT, "reports": reports}
    if quick:
        console.data(page(result))
        return
    publishing.publish_tables(HERE, publishing.write_results(HERE / "results", result, machine["cpu"]), page)
    publishing.put_into_readme(GUIDE, in_short(result))


def _held(run: Path, target: str, options: Sequence[str]) -> BenchReport:
    """What ``edgetune bench`` stores; the command is the one that users type."""
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "report.json"
        command = [sys.executable, "-m", "edgetune", "bench", str(run), "--artifact", EXPORT, "--target", target]
        done = subprocess.run([*command, *options, "--output", str(output)], stdout=subprocess.DEVNULL, check=False)
        report = BenchReport.read(output)
    if done.returncode not in RESULTS or report is None:
        raise EdgetuneError(f"edgetune bench --target {target} failed (exit code {done.returncode})")
    return report


def page(result: dict[str, Any]) -> str:
    """Verdicts and rates as the command prints them, and the machine."""
    reports = [BenchReport.model_validate(report) for report in result["reports"].values()]
    lines = [line for report in reports for line in [*verdict_lines(report), *map(_warning, report.warnings)]]
    return "\n".join(["```text", *lines[1:], "```", "", f"Machine: {publishing.machine_line(result['machine'])}."])


def in_short(result: dict[str, Any]) -> str:
    """A paragraph for each target, for the guide."""
    reports = (BenchReport.model_validate(report) for report in result["reports"].values())
    return "\n".join(f"- {' '.join(_sentences(report))}" for report in reports)


def _sentences(report: BenchReport) -> Iterator[str]:
    """Verdicts, rates, and how busy the machine was while its requests were answered."""
    section = report.realtime
    assert section is not None, "its targets need requests against a clock"
    verdicts = "; ".join(" ".join(verdict.text.split()) for verdict in report.verdicts)
    yield f"`{report.target}`: {verdicts}."
    if (search := section.search) is not None:
        rate, *ended = search_lines(search, section.no_rate)
        yield f"Of random requests: {rate}; {'; '.join(ended)}."
        if search.highest_met is None and search.predicted is not None:
            planned = section.judged.planned
            minutes = planned / search.predicted / 60
            yield (
                f"Simulated from these answers the highest is {search.predicted:.3g} a second, as one that waits for "
                f"another is late; {planned} requests at that rate take {minutes:.0f} minutes."
            )
    busy = {"the host of this virtual machine": section.steal_share, "other programs": section.others_share}
    shares = [f"{who} took {share:.1%}" for who, share in busy.items() if share is not None]
    if shares:
        yield f"While its requests were answered, of the processors {' and '.join(shares)}."


def _warning(text: str) -> str:
    return f"  warning: {text}"


if __name__ == "__main__":
    publishing.exit_with(main)
