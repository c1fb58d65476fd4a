"""``edgetune eval``: how good a model is on rows it never saw, and what it can do besides."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import click

from edgetune import console

#: As in :data:`edgetune.general.report.PACKAGED`, which the help shall not load.
_PACKAGED = "packaged"


class _EvalCommand(click.Command):
    """Lets ``--general`` stand before SUBJECT: only what ends like a file of questions is taken for its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Write the value that a bare ``--general`` means."""
        files = (".jsonl", ".ndjson")
        whole = [
            f"--general={_PACKAGED}" if one == "--general" and not following.endswith(files) else one
            for one, following in pairwise([*args, ""])
        ]
        return super().parse_args(ctx, whole)


@click.command("eval", cls=_EvalCommand)
@click.argument("subject")
@click.option("--data", type=click.Path(path_type=Path), help="Rows to evaluate on. Default: the run's held-out rows.")
@click.option("--limit", type=click.IntRange(min=1), help="At most this many rows, chosen by seed.")
@click.option("--base/--no-base", default=True, show_default=True, help="Also show the untuned base.")
@click.option("--artifacts", is_flag=True, help="Also evaluate what the run exported.")
@click.option("--again", is_flag=True, help="Compute it even if the same evaluation is stored.")
@click.option("--misses", type=click.IntRange(min=0), default=5, show_default=True, help="Worst misses to show.")
@click.option(
    "--general",
    is_flag=False,
    flag_value=_PACKAGED,
    metavar="[FILE.jsonl]",
    help="Measure instead what the model can do besides its task: PIQA, SIQA and OpenBookQA, or the questions in a "
    'file of {"context", "choices", "answer"}; and the perplexity of plain text.',
)
@click.option(
    "--general-limit",
    type=click.IntRange(min=1),
    help="At most this many questions of each task, chosen by seed.  [default: 300]",
)
@click.option(
    "--general-text",
    type=click.Path(path_type=Path),
    help="Plain text for the perplexity. Default: the documentation of Python's language, which every Python carries.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with every answer.")
def eval_(subject: str, general: str | None, misses: int, as_json: bool, **options: Any) -> None:
    """Measure loss and task metrics of SUBJECT on rows that were never trained on.

    SUBJECT is a run folder (its tuned model against its base), an artifact (against what is
    stored of its run), or a model: a hub id, a folder, a .gguf file or pkg:PACKAGE/FILE.
    With --general: what it can do besides its task, and so what tuning made it forget.
    """
    measured = _general(subject, general, options) if general else _task(subject, misses, options)
    console.data(json.dumps(measured.as_json(), ensure_ascii=False) if as_json else measured.as_text())


@dataclass(frozen=True)
class _Measured:
    """What was found, in both ways to print it."""

    as_json: Callable[[], Any]
    as_text: Callable[[], str]


def _task(subject: str, misses: int, options: dict[str, Any]) -> _Measured:
    from edgetune.evaluation.report import Wanted, report
    from edgetune.evaluation.text import to_text

    _refuse(options, ("general_limit", "general_text"), "needs --general")
    names = ("data", "limit", "base", "artifacts", "again")
    found = report(subject, Wanted(**{name: options[name] for name in names}))
    return _Measured(found.to_json, lambda: to_text(found, misses))


def _general(subject: str, items: str, options: dict[str, Any]) -> _Measured:
    from edgetune.general.report import GeneralWanted, report
    from edgetune.general.text import to_text

    _refuse(options, ("data", "limit"), "is of rows of the task; with --general: --general FILE.jsonl, --general-limit")
    wanted = GeneralWanted(items, options["general_text"], **{n: options[n] for n in ("base", "artifacts", "again")})
    found = report(subject, replace(wanted, limit=options["general_limit"] or wanted.limit))
    return _Measured(found.to_json, lambda: to_text(found))


def _refuse(options: dict[str, Any], names: tuple[str, ...], why: str) -> None:
    """An option that would change nothing must not go unseen."""
    for name in names:
        if options[name] is not None:
            raise click.UsageError(f"--{name.replace('_', '-')} {why}")
