"""The rows that all contenders train on and are measured on."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from as_users import RECIPE
from job import write_encoded

from edgetune import console, files
from edgetune.data.conversation import write_rows
from edgetune.data.reading import load_rows
from edgetune.data.splitting import take
from edgetune.data.templating import Encoded, EncodedSet, encode_all
from edgetune.errors import DataError
from edgetune.models import load_tokenizer
from edgetune.recipe import Recipe

#: Of the choice of rows.
SEED = 17


@dataclass(frozen=True)
class Material:
    """Rows on disk.

    Attributes:
        encoded: file with token ids and labels.
        messages: folder with the same rows as messages: train.jsonl and heldout.jsonl.
        facts: for the results: how many, how long, hashes.
    """

    encoded: Path
    messages: Path
    facts: dict[str, Any]


def make_rows(folder: Path, base: Path, recipe: Recipe, *, train: int, heldout: int) -> Material:
    """Draw ``train`` and ``heldout`` rows from the smart-home data and encode them.

    Raises:
        DataError: the data script failed, or makes too few rows.
    """
    source = folder / "data"
    script = RECIPE.parent / "prepare.py"
    if subprocess.run([sys.executable, str(script), "--output", str(source)], check=False).returncode != 0:
        raise DataError(f"{script.name} failed; its own message is above", hint="make install")
    messages = folder / "rows"
    tokenizer = load_tokenizer(base)
    console.note(f"encoding {train} rows to train on and {heldout} held-out rows")

    def drawn(name: str, count: int) -> EncodedSet:
        rows = take(load_rows(source / name).raise_on_problems().rows, count, SEED)
        if len(rows) < count:
            raise DataError(f"{count} rows asked for, but {name} has {len(rows)}", hint="lower --steps or --heldout")
        write_rows(messages / name, rows)
        return encode_all(rows, tokenizer, recipe.task.system, recipe.data.max_tokens, "error")

    trained, held = drawn("train.jsonl", train), drawn("heldout.jsonl", heldout)
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    write_encoded(folder / "encoded.json", trained.rows, held.rows, pad_id)
    return Material(folder / "encoded.json", messages, {"train": _facts(trained), "heldout": _facts(held)})


def _facts(encoded: EncodedSet) -> dict[str, Any]:
    return {
        "rows": len(encoded.rows),
        "tokens": encoded.tokens,
        "answer_tokens": encoded.answer_tokens,
        "sha256": _hash(encoded.rows),
    }


def _hash(rows: tuple[Encoded, ...]) -> str:
    """Over the rows' token ids and labels."""
    return files.sha256_text(json.dumps([[row.input_ids, row.labels] for row in rows]))
