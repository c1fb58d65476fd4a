"""``edgetune classify``: the class of a text or an image."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edgetune import console


@click.command("classify")
@click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")
@click.argument("asked", nargs=-1, metavar="[TEXT|IMAGE...]")
@click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores this process may use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line each, with the probability of every class.")
def classify(subject: Path, asked: tuple[str, ...], artifact: str | None, threads: int | None, as_json: bool) -> None:
    """Print the class of each TEXT, or of each IMAGE file, and its probability.

    Without any, each line of standard input is one, or the path of one. What cannot be classified is told at the end,
    with exit code 4; the others have their answers.
    """
    from edgetune.classification import answers_to, load_classifier
    from edgetune.runtimes.choosing import require_artifact

    all_asked = asked or tuple(line.strip() for line in sys.stdin if line.strip())
    if not any(one.strip() for one in all_asked):
        raise click.UsageError("nothing to classify: give a TEXT or an IMAGE, or lines on standard input")
    opened = require_artifact(subject, artifact)
    key = "image" if opened.manifest and opened.manifest.task == "image-classification" else "text"
    with load_classifier(opened, threads=threads) as classifier:
        for one, found in answers_to(classifier, all_asked):
            whole = json.dumps({key: one, "label": found.label, "scores": found.scores}, ensure_ascii=False)
            console.data(whole if as_json else f"{found.label}\t{found.score:.3f}\t{one}")
