"""``edgetune bench``: start, latency, speed and memory of an artifact on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console


@click.command("bench")
@click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")
@click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")
@click.option("--prompts", type=click.IntRange(1), default=20, show_default=True, help="Requests to time.")
@click.option("--new-tokens", type=click.IntRange(2), default=64, show_default=True, help="Longest answer.")
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores this process may use.")
@click.option("--json", "as_json", is_flag=True, help="Print the whole report, raw samples included, as JSON.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="Also store the JSON report here.")
def bench(
    subject: Path,
    *,
    artifact: str | None,
    prompts: int,
    new_tokens: int,
    threads: int | None,
    as_json: bool,
    output: Path | None,
) -> None:
    """Measure ARTIFACT, a .gguf file, or an export of RUN, in fresh processes on this machine.

    Prompts are the run's held-out rows where the artifact lies in a run, else a built-in handful. Nothing
    else should run meanwhile.
    """
    from edgetune.bench.single_stream import bench_artifact
    from edgetune.bench.text import to_text
    from edgetune.runtimes.choosing import require_artifact

    chosen = require_artifact(subject, artifact)
    report = bench_artifact(chosen, prompts=prompts, new_tokens=new_tokens, threads=threads)
    if output:
        report.write(output)
    console.data(report.model_dump_json(indent=2) if as_json else to_text(report))
