"""``edgetune classify``: the class of a text."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from edgetune import console


@click.command("classify")
@click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")
@click.argument("texts", nargs=-1, metavar="[TEXT...]")
@click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores this process may use.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, a line a text, with the probability of every class.")
def classify(subject: Path, texts: tuple[str, ...], artifact: str | None, threads: int | None, as_json: bool) -> None:
    """Print the class of each TEXT and its probability; without any, of each line of standard input."""
    from edgetune.runtimes.choosing import require_artifact
    from edgetune.text_classifier import load_classifier

    asked = texts or [line.strip() for line in sys.stdin if line.strip()]
    with load_classifier(require_artifact(subject, artifact), threads=threads) as classifier:
        for text, found in zip(asked, classifier.classify(list(asked)), strict=True):
            whole = json.dumps({"text": text, "label": found.label, "scores": found.scores}, ensure_ascii=False)
            console.data(whole if as_json else f"{found.label}\t{found.score:.3f}\t{text}")
