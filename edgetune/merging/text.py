"""A merge as text for people."""

from __future__ import annotations

from collections.abc import Sequence

from edgetune.merging.choosing import NAMES, interval
from edgetune.merging.record import Form, FormName, MergeRecord

_FORMS: dict[FormName, str] = {
    "unmerged": "unmerged",
    "base": f"merged into {NAMES['base']}",
    "nf4": f"merged into {NAMES['nf4']}",
}


def to_text(record: MergeRecord) -> str:
    """The forms with their figures, what was chosen and why, and where the model is."""
    groups = f" in {record.groups} groups" if record.groups is not None else ""
    rows = f"{record.rows} held-out rows{groups}, float32 torch"
    lines = [
        f"{record.run}: adapter trained against {NAMES[record.trained_against]}; {rows}",
        *_table(record.forms),
        "[ ]: 95 % intervals; of differences to unmerged, over the same rows",
    ]
    if found := record.rounding:
        lines.append(
            "rounding of the base beside the fine-tune, ‖W16 - dequant(W4)‖/‖ΔW‖ in a layer: "
            f"median {found.median:.2f} ({found.low:.2f} to {found.high:.2f}, {found.layers} layers)"
        )
    lines += [f"chosen: {NAMES[record.chosen]}; {record.reason}", f"rule: {record.rule}"]
    lines += [f"note: {note}" for note in record.notes]
    where = f"written: {record.output} ({record.size_bytes / 1e6:.1f} MB)" if record.output else "not written"
    return "\n".join([*lines, where])


def _table(forms: Sequence[Form]) -> list[str]:
    rows = [["form", *(cell for score in forms[0].scores for cell in (score.name, "- unmerged"))]]
    for form in forms:
        differences = {one.name: interval(one) for one in form.differences}
        cells = [(f"{score.value:.4f}", differences.get(score.name, "")) for score in form.scores]
        rows.append([_FORMS[form.name], *(cell for pair in cells for cell in pair)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]
