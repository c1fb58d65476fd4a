"""``edgetune classify``: the class of a text or an image."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetune import console
from edgetune.errors import DataError

if TYPE_CHECKING:
    from edgetune.classification import Classification


@click.command("classify")
@click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")
@click.argument("asked", nargs=-1, metavar="[TEXT|IMAGE...]")
@click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores this process may use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line each, with the probability of every class.")
def classify(subject: Path, asked: tuple[str, ...], artifact: str | None, threads: int | None, as_json: bool) -> None:
    """Print the class of each TEXT, or of each IMAGE file, and its probability.

    Without any, or with -, each line of standard input is one, or the path of one. What cannot be
    classified is told at the end, by its place and with exit code 4; the others have their
    answers. With --json it has a line too.
    """
    from edgetune.classification import answers_to, load_classifier
    from edgetune.runtimes.choosing import require_artifact

    all_asked = tuple(_lines()) if asked in ((), ("-",)) else asked
    if not all_asked:
        raise click.UsageError("nothing to classify: give a TEXT or an IMAGE, or lines on standard input")
    opened = require_artifact(subject, artifact)
    key = "image" if opened.manifest and opened.manifest.task == "image-classification" else "text"
    with load_classifier(opened, threads=threads) as classifier:
        for one, found in answers_to(classifier, all_asked):
            _print(key, one, found, as_json=as_json)


def _lines() -> Iterator[str]:
    """Of standard input, without empty ones at its end. What is not UTF-8 is kept as it is, for paths may be so."""
    lines = sys.stdin.buffer.read().removeprefix(codecs.BOM_UTF8).rstrip(b"\r\n").splitlines()
    for line in lines:
        yield line.decode("utf-8", "surrogateescape")


def _print(key: str, one: str, found: Classification | DataError, *, as_json: bool) -> None:
    told: dict[str, Any] = {key: one}
    if isinstance(found, DataError):
        told |= {"error": found.message}
    else:
        told |= {"label": found.label, "scores": found.scores}
    if as_json:
        console.data(json.dumps(told, ensure_ascii=False))
    elif not isinstance(found, DataError):
        console.data(f"{found.label}\t{found.score:.3f}\t{one}")
