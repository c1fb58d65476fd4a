"""A comparison for people, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict

from edgetune.bench.comparing import DRIFT_MEMORY, DRIFT_VIRTUAL, RISK, WIDE, Comparison, Difference, by_reason

#: A difference of so many times that could hide says that nothing is known.
_NOTHING = 10.0


def comparison_text(found: Comparison, tolerance: float = 0.0) -> str:
    """The comparison as plain text."""
    lines = [f"{found.old} → {found.new}", f"{'':<28}{'old':>12}{'new':>12}  new / old"]
    lines += [_line(one) for one in found.differences]
    lines += ["", *(f"not compared: {names}: {reason}" for reason, names in by_reason(found.left_out))]
    lines += [f"note: {note}" for note in found.notes]
    how = "measured in turns, compared round by round" if found.paired else "measured at different times"
    lines.append("old and new are geometric means of the rounds, which are compared; edgetune bench prints medians")
    lines.append(f"{how}; intervals hold together with a chance of {1 - RISK:.0%} (Student, by rounds, Bonferroni)")
    if found.moved is not None:
        size = f"{found.moved.value:.3f} [{found.moved.low:.3f}, {found.moved.high:.3f}]"
        lines.append(f"the machine itself, copying memory beside each round: {size}; that much is excused")
    elif not found.paired:
        lines.append("how far the machine itself moved is not known: a run kept no copies of memory beside its rounds")
    if not found.paired:
        known = "as equal runs on a virtual machine did" if found.drift == DRIFT_VIRTUAL else "assumed, not measured"
        moves = f"a run as a whole moves by {found.drift:.1%} between two times"
        lines.append(f"taken into account: {moves} (a standard deviation; {known}), memory by {DRIFT_MEMORY:.1%}")
    if found.programs:
        lines.append(
            f"interpreter and libraries hold {found.programs:+.1f} MB, as the kernel read them: that much is excused"
        )
    lines += [f"warning: {warning}" for warning in _warnings(found, tolerance)]
    return "\n".join(lines)


def comparison_json(found: Comparison, tolerance: float = 0.0) -> str:
    """The comparison as JSON."""
    differences = [{**asdict(one), "hidden": one.hidden, "beyond": one.beyond} for one in found.differences]
    warnings = list(_warnings(found, tolerance))
    return json.dumps({**asdict(found), "differences": differences, "warnings": warnings}, indent=2)


def _warnings(found: Comparison, tolerance: float) -> Iterator[str]:
    """That a difference which somebody would mind could not have been seen."""
    limit = tolerance or WIDE
    for one in found.coarse(tolerance):
        known = f"{one.name} is known to ±{one.width:.1%} only, and {limit:.1%} would matter"
        yield f"{known}: {_remedy(one, found, limit)}"


def _remedy(one: Difference, found: Comparison, limit: float) -> str:
    """What would make a figure better known; rounds do not where whole runs move too far."""
    if found.paired:
        return "more --rounds"
    helps = found.drift < DRIFT_VIRTUAL and (one.ratio.high - one.ratio.low) / 2 > limit
    return ("more --rounds, or " if helps else "") + "edgetune bench OLD NEW --rounds 24, which measures in turns"


def _verdict(one: Difference) -> str:
    if one.verdict != "same":
        return one.verdict if one.machine == (1.0, 1.0) else f"{one.verdict}, {one.beyond:.1%} beyond the machine"
    if one.ratio.differs:
        return f"no more than the machine itself moved (differences up to ±{one.hidden:.1%} could hide)"
    if one.hidden == 0:
        return "the same in every round"
    if one.hidden >= _NOTHING:
        return "not told apart: the rounds lie too far apart to say anything"
    return f"not told apart (differences up to ±{one.hidden:.1%} could hide)"


def _line(one: Difference) -> str:
    high = f"{one.ratio.high:.3f}" if one.hidden < _NOTHING else "…"
    size = f"{one.ratio.value:.3f} [{one.ratio.low:.3f}, {high}]"
    return f"{one.name:<28}{_short(one.old):>12}{_short(one.new):>12}  {size} {_verdict(one)}, {one.unit}"


def _short(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
