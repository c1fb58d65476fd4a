"""Verdicts and the search for people."""

from __future__ import annotations

from edgetune.bench.realtime_section import FrameSection, RateSearch
from edgetune.bench.schema import BenchReport


def verdict_lines(report: BenchReport) -> list[str]:
    """How the objectives came out, one line each, and the highest rate; empty without a target."""
    if report.target is None:
        return []
    lines = ["", f"held to {report.target}", *(f"  {verdict.text}" for verdict in report.verdicts)]
    if not report.verdicts:
        lines.append("  no objectives: give some with --slo FILE")
    if report.frames is not None:
        lines += [f"  {line}" for line in frame_lines(report.frames)]
    section = report.realtime
    if section is not None:
        loop = section.judged
        asked = f"{len(loop.requests)} requests ({section.prompts} prompts, {section.prompt_source})"
        kept = f"answers up to {section.new_tokens} tokens, nothing kept from one to the next"
        lines.append(f"  {loop.scenario}, {asked}, {kept}")
        if section.search is not None:
            lines += [f"  {line}" for line in search_lines(section.search, section.no_rate)]
    return lines


def search_lines(search: RateSearch, no_rate: str) -> list[str]:
    """The highest rate as far as it is known; where it is not, why there is none."""
    found = no_rate
    if search.highest_met is not None:
        found = f"highest rate that meets them: {search.highest_met:.3g} requests/s (seeded Poisson arrivals, measured)"
    missed = "" if search.lowest_missed is None else f"; lowest that misses: {search.lowest_missed:.3g}"
    return [found + missed, f"search ended: {search.ended}"]


def frame_lines(section: FrameSection) -> list[str]:
    """What came, and what was done of it."""
    loop = section.loop
    dropped = sum(one.finished_s is None for one in loop.frames)
    return [
        f"{len(loop.frames)} frames, {loop.rate:g} a second ({section.inputs} inputs in turn, {section.input_source})",
        f"one waits at most, the newest; {dropped} dropped",
    ]
