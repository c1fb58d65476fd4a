"""``edgetune chat``: talk to an artifact or a run."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command("chat")
@click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")
@click.option("--prompt", metavar="TEXT", help="Answer this and leave; - reads it from standard input.")
@click.option("--system", metavar="TEXT", help="System prompt instead of the trained one; '' takes none.")
@click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")
@click.option(
    "--adapter",
    "adapters",
    multiple=True,
    metavar="[NAME=]PATH",
    help="Put this adapter on the base that ARTIFACT is; a RUN stands for its adapter. Repeat it for several.",
)
@click.option("--use", metavar="NAME", help="Begin with this adapter. Default: the first.")
@click.option("--max-new-tokens", type=click.IntRange(1), default=256, show_default=True, help="Longest answer.")
@click.option("--temperature", type=click.FloatRange(0), default=0.0, show_default=True, help="0 takes the likeliest.")
@click.option("--top-p", type=click.FloatRange(0, 1, min_open=True), default=1.0, show_default=True, help="Nucleus.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the sampler, above temperature 0.")
@click.option("--threads", type=click.IntRange(1), help="Default: the physical cores this process may use.")
@click.option("--history/--no-history", default=True, help="Remember earlier lines, or ask each line by itself.")
def chat(
    subject: Path,
    *,
    prompt: str | None,
    system: str | None,
    artifact: str | None,
    adapters: tuple[str, ...],
    use: str | None,
    max_new_tokens: int,
    temperature: float,
    top_p: float,
    seed: int,
    threads: int | None,
    history: bool,
) -> None:
    """Talk to an exported ARTIFACT, a .gguf file, or the result of a RUN.

    Answers stream to standard output. Without --prompt, lines are read until Ctrl-D; /reset begins a new
    conversation, /adapter NAME goes on with another adapter.
    """
    from edgetune.runtimes.protocol import Decoding
    from edgetune.talk import Chosen, open_assistant, say, talk

    asked = _asked(prompt)
    decoding = Decoding(max_new_tokens, temperature, top_p, seed)
    chosen = Chosen(subject, artifact, adapters, use)
    with open_assistant(chosen, system=system, threads=threads, decoding=decoding) as assistant:
        if asked is None:
            talk(assistant, remember=history)
        else:
            say(assistant, asked)


def _asked(prompt: str | None) -> str | None:
    """What --prompt asks; None: nothing was given.

    Raises:
        click.UsageError: it is empty.
    """
    asked = sys.stdin.read().strip() if prompt == "-" else prompt
    if asked is not None and not asked.strip():
        raise click.UsageError("--prompt is empty: there is nothing to answer")
    return asked
