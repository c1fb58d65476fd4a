"""``edgetune fit``: does a model fit into a device's memory, and with how long a context."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console

#: The cache types that a footprint knows, as words: --help imports nothing.
_CACHE_TYPES = ("f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0")


@click.command("fit")
@click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")
@click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")
@click.option("--context", type=click.IntRange(1), default=4096, show_default=True, help="Tokens: prompt and answer.")
@click.option("--device", "names", multiple=True, metavar="NAME|FILE", help="Repeat it for several. Default: all.")
@click.option(
    "--memory", "memory_mb", type=click.FloatRange(0, min_open=True), help="A budget in MB, in place of --device."
)
@click.option("--kv-cache", type=click.Choice(_CACHE_TYPES), help="Type of the cache. Default: the runtime's own.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def fit(
    subject: Path,
    *,
    artifact: str | None,
    context: int,
    names: tuple[str, ...],
    memory_mb: float | None,
    kv_cache: str | None,
    as_json: bool,
) -> None:
    """Estimate the memory of ARTIFACT and say where it fits, and with which longest context.

    Weights, cache and buffers are read from the real tensors. What an app may use of a device is an assumption that is
    printed with its reason. The exit code is 0 whether it fits or not.
    """
    from edgetune.devices.footprint import read_footprint
    from edgetune.devices.opening import fit_all
    from edgetune.devices.text import fits_json, fits_text
    from edgetune.runtimes.choosing import require_artifact

    model = read_footprint(require_artifact(subject, artifact))
    fits = fit_all(model, names, context, kv_cache, memory_mb)
    console.data(fits_json(model, fits) if as_json else fits_text(model, fits, kv_cache or model.cache_type))
