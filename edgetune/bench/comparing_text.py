"""A comparison for people, and as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict

from edgetune.bench.comparing import DRIFT, RISK, Comparison, Difference


def comparison_text(found: Comparison) -> str:
    """The comparison as plain text."""
    lines = [f"{found.old} → {found.new}", f"{'':<28}{'old':>12}{'new':>12}  new / old"]
    lines += [_line(one) for one in found.differences]
    lines += ["", *(f"not compared: {name}: {reason}" for name, reason in found.left_out.items())]
    lines += [f"note: {note}" for note in found.notes]
    how = "measured in turns, compared round by round" if found.paired else "measured at different times"
    lines.append(f"{how}; intervals hold together with a chance of {1 - RISK:.0%} (Student, by rounds, Bonferroni)")
    if not found.paired:
        lines.append(
            f"assumed, not measured: a run as a whole moves by {DRIFT:.1%} (a standard deviation) between two times"
        )
    return "\n".join(lines)


def comparison_json(found: Comparison) -> str:
    """The comparison as JSON."""
    return json.dumps(asdict(found), indent=2)


def _line(one: Difference) -> str:
    size = f"{one.ratio.value:.3f} [{one.ratio.low:.3f}, {one.ratio.high:.3f}]"
    verdict = "no real difference" if one.verdict == "same" else one.verdict
    return f"{one.name:<28}{_short(one.old):>12}{_short(one.new):>12}  {size} {verdict}, {one.unit}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
