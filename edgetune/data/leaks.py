"""Rows that are in two files, in words: what was seen in one measures nothing in the other."""

from __future__ import annotations

from edgetune.data.conversation import Problem
from edgetune.data.reading import LoadedRows
from edgetune.data.splitting import Leak, find_leaks

#: Which rows must not be known from which others: (known, asked).
PAIRS = (("training", "heldout"), ("training", "validation"), ("validation", "heldout"))


def look_for_leaks(
    known: str, known_rows: LoadedRows, asked: str, asked_rows: LoadedRows, system: str | None = None
) -> tuple[tuple[Leak, ...], list[Problem]]:
    """What leaks from one file into another.

    Held-out rows that training has seen are errors, as the figures are false; others that choose a checkpoint only
    choose it badly.

    Args:
        known: what the first rows are for.
        known_rows: the rows that the model, or the choice of the checkpoint, has seen.
        asked: what the others are for.
        asked_rows: the rows that should be new.
        system: system prompt of rows that have none.
    """
    leaks = find_leaks(known_rows.rows, asked_rows.rows, system)
    alike = _shared_groups(known_rows, asked_rows) if (known, asked) == PAIRS[0] else []
    return leaks, [*(_problem(leak, known, asked) for leak in leaks), *alike]


def _problem(leak: Leak, known: str, asked: str) -> Problem:
    words = {"row": f"is also in {known}", "prompt": f"has a prompt that is also in {known}"}
    said = words.get(leak.kind, f"has a prompt that is in {known} but for case or spacing")
    false = asked == "heldout" and (leak.kind == "row" or (leak.kind == "prompt" and known == "training"))
    return Problem(leak.heldout, f"{said}: {leak.train}", "error" if false else "warning")


def _shared_groups(train: LoadedRows, heldout: LoadedRows) -> list[Problem]:
    """Rows for validation may share them: in a good split they are like those trained on."""
    known = {row.group for row in train.rows} - {None}
    alike = [row.group for row in heldout.rows if row.group in known]
    if not alike:
        return []
    said = f"{len(alike)} held-out rows are of groups that are in training too, such as '{alike[0]}'"
    return [Problem(heldout.source, f"{said}: figures on them flatter", "warning")]
