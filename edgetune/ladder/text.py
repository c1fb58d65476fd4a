"""A climb as text for people."""

from __future__ import annotations

from edgetune.ladder.record import Ladder, Rung


def to_text(ladder: Ladder) -> str:
    """The rungs from the smallest up, and what ships."""
    lines = [f"{ladder.run}, {ladder.format}: the smallest within {_limits(ladder)}"]
    lines += [rung_line(rung) for rung in ladder.rungs]
    lines.append(f"ships: {ladder.chosen}" if ladder.chosen else "nothing ships")
    return "\n".join(lines)


def rung_line(rung: Rung) -> str:
    """Name, size, verdict and figures of one."""
    size = "-" if rung.size_bytes is None else f"{'' if rung.written else '~'}{rung.size_bytes / 1e6:.1f} MB"
    figures = []
    if rung.kl is not None:
        figures.append(f"KL {rung.kl:.2g}")
    if rung.retention_interval is not None:
        figures.append("task [{:.3f}, {:.3f}]".format(*rung.retention_interval))
    if rung.decode is not None:
        figures.append(f"{rung.decode:.0f} tokens/s")
    after = f" ({', '.join(figures)})" if figures else ""
    return f"  {rung.name:<16}{size:>12}  {rung.verdict}: {rung.why}{after}"


def _limits(ladder: Ladder) -> str:
    limits = ladder.limits
    parts = [f"{limits.min_retention:.3g} of the task's gain on {limits.rows} rows at most"]
    if limits.max_bytes is not None:
        parts.append(f"{limits.max_bytes / 1e6:.1f} MB")
    if limits.min_decode is not None:
        parts.append(f"{limits.min_decode:.0f} tokens/s or more")
    return ", ".join(parts)
