"""What ``edgetune bench`` does with the words of its command line."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from edgetune.bench.budget import beyond_budget
from edgetune.bench.comparing import compare
from edgetune.bench.comparing_text import comparison_text
from edgetune.bench.plan import DEPTHS, Plan
from edgetune.bench.schema import BenchReport
from edgetune.bench.text import to_text
from edgetune.errors import CheckFailed, EdgetuneError, ResourceError, WrongUsage
from edgetune.runtimes.protocol import KvCache


@dataclass(frozen=True)
class Words:
    """The command line: what is measured, held to what, stored where, and the fields of a plan."""

    subjects: Sequence[Path]
    names: Sequence[str] = ()
    base: Path | None = None
    runtime: str | None = None
    torch: bool = False
    prompts: int = Plan.prompts
    new_tokens: int = 64
    rounds: int = 5
    threads: tuple[int, ...] = ()
    depths: tuple[int, ...] | None = None
    prefill_threads: tuple[int, ...] = ()
    decode_threads: tuple[int, ...] = ()
    kv_types: tuple[str, ...] = ()
    batches: tuple[int, ...] = ()
    contexts: tuple[int, ...] = ()
    sustained: float = 0.0
    memory_budget_mb: float | None = None
    target: str | None = None
    slo: Path | None = None
    rate: float | None = None
    output: Path | None = None

    def plan(self) -> Plan:
        """How to measure.

        Raises:
            WrongUsage: there is no such type of cache, or a number is 0.
        """
        kinds = get_args(KvCache)
        for kind in self.kv_types:
            if kind not in kinds:
                raise WrongUsage(
                    f"no type of the key-value cache is called '{kind}'", hint=f"one of {', '.join(kinds)}"
                )
        for name in ("threads", "prefill_threads", "decode_threads", "batches", "contexts"):
            if 0 in getattr(self, name):
                raise WrongUsage(f"0 is no value to try for {name.replace('_', ' ')}", hint="edgetune bench --help")
        known = {name: value for name, value in vars(self).items() if name in Plan.__dataclass_fields__}
        known |= {"threads": next(iter(self.threads), None), "thread_counts": self.threads}
        return Plan(**{**known, "depths": DEPTHS if self.depths is None else self.depths})


def require_storable(output: Path | None, count: int) -> None:
    """Fail before anything is measured where so many reports cannot be stored there.

    Raises:
        ResourceError: one report into a folder, several into a file, or a place where this user may not write.
    """
    if output is None:
        return
    if count == 1 and output.is_dir():
        raise ResourceError(
            f"{output} is a folder, and one report is stored as a file", hint=f"--output {output / 'NAME.json'}"
        )
    folder = (output / "NAME.json" if count > 1 else output).absolute().parent
    place = next(one for one in (folder, *folder.parents) if one.exists())
    if not place.is_dir():
        raise ResourceError(
            f"{place} is a file, and {'reports' if count > 1 else 'a report'} cannot be stored in it",
            hint="give a folder with --output" if count > 1 else "give a file in a folder with --output",
        )
    try:
        with tempfile.TemporaryFile(dir=place):
            pass  # what the permissions say is not all: file systems are read-only, full, or none
    except OSError as error:
        why = f"cannot write in {place}: {error.strerror}"
        raise ResourceError(why, hint="give another place with --output") from error


def store(reports: Sequence[BenchReport], output: Path) -> None:
    """One report as a file; several as ``NAME.json`` in a folder."""
    if len(reports) == 1:
        reports[0].write(output)
        return
    for report in reports:
        report.write(output / f"{report.subject.name.replace('/', '-')}.json")


def printed(reports: Sequence[BenchReport], *, as_json: bool) -> str:
    """Reports for stdout: JSON (a list where there are several), or text with the differences between them."""
    if as_json:
        whole = [report.model_dump_json(indent=2) for report in reports]
        return whole[0] if len(whole) == 1 else "[" + ",\n".join(whole) + "]"
    first, *others = reports
    texts = [to_text(report) for report in reports]
    for other in others:
        try:
            texts.append(comparison_text(compare(first, other)))
        except EdgetuneError as unlike:
            texts.append("\n  ".join([f"not compared: {unlike.message}", *unlike.problems]))
    return "\n\n".join(texts)


def require_budget(reports: Sequence[BenchReport]) -> None:
    """End with exit code 9 where the peak is above the budget.

    Raises:
        CheckFailed: naming which, and by how much.
    """
    over = [
        f"{report.subject.name}: peak_rss is {beyond:.0f} MB above {report.settings.memory_budget_mb:.0f} MB"
        for report in reports
        if (beyond := beyond_budget(report.settings, report.figures)) is not None and beyond > 0
    ]
    if over:
        raise CheckFailed(
            "the memory budget is exceeded", hint="a smaller --context or --kv-type q8_0 takes less", problems=over
        )
