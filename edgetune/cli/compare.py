"""``edgetune compare``: which figures of two benchmarks really differ."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console

_REPORT = click.Path(path_type=Path, dir_okay=False)


@click.command("compare")
@click.argument("old", type=_REPORT)
@click.argument("new", type=_REPORT)
@click.option(
    "--tolerance", type=click.FloatRange(0, 1), default=0.0, show_default=True, help="Share that may get worse: 0.05."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compare(old: Path, new: Path, tolerance: float, as_json: bool) -> None:
    """Compare two reports that `edgetune bench --output` stored.

    Says which figures differ beyond what rounds differ by themselves, which way and by how much. Unlike runs (another
    processor, other threads, prompts or definitions) are refused, and reports whose figures do not follow from the
    samples in them. Exit code 9 if anything got worse; 15 if nothing is known to, but nothing could be compared, or not
    what users feel most (ttft, decode, latency), or not as finely as --tolerance asks.
    """
    from edgetune.bench.comparing import compare as compared
    from edgetune.bench.comparing import require_no_worse
    from edgetune.bench.comparing_text import comparison_json, comparison_text
    from edgetune.realtime.trusting import read_trusted

    found = compared(read_trusted(old), read_trusted(new))
    console.data(comparison_json(found, tolerance) if as_json else comparison_text(found, tolerance))
    require_no_worse(found, tolerance)
