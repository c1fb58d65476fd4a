"""``edgetune export``: from a run or a model to files that a device can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgetune import console
from edgetune.cli.verify import require_verified

if TYPE_CHECKING:
    from edgetune.exporting import Source, Wanted

#: Options that say what --auto shall keep to.
_OF_AUTO = ("max_size", "min_decode", "min_retention", "rows")


@click.command("export")
@click.argument("subject", metavar="RUN|MODEL|ADAPTER")
@click.option("--format", default="gguf", show_default=True, help="Exporter; `edgetune doctor` lists them.")
@click.option(
    "--quant",
    "--precision",
    "quant",
    multiple=True,
    metavar="NAME",
    help="Precision, such as q8_0 or q4_k_m; of ONNX int8 or int4. Repeat it for several. Default: the recipe's, else "
    "8 bits.",
)
@click.option(
    "--backend", metavar="NAME", help="Of --format onnx: optimum, in an environment of its own (make optimum-env)."
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the artifacts, one folder each. Default: RUN/exports, or exports/MODEL.",
)
@click.option(
    "--adapter",
    type=click.Choice(["merged", "separate"]),
    default="merged",
    show_default=True,
    help="separate: write the adapter alone; --quant is then its own precision: f16 or f32, of ONNX fp32.",
)
@click.option("--with-base", metavar="NAME", help="With --adapter separate: also write its base, in this precision.")
@click.option("--base", metavar="MODEL", help="Of a PEFT folder: its base, if not the one its settings name.")
@click.option(
    "--imatrix",
    metavar="auto|FILE",
    help="Of --format gguf: weigh rounding errors by how strongly each input is used. auto: collected from the run's "
    "training rows and general text, as is done unasked for mixed-92mb and, of onnx, int4_gptq.",
)
@click.option(
    "--imatrix-text",
    type=click.Path(path_type=Path, dir_okay=False),
    help="General text for --imatrix auto. Default: Python's documentation.",
)
@click.option(
    "--auto", is_flag=True, help="Of a RUN: the smallest precision that still does the task, of --quant or all."
)
@click.option(
    "--max-size", type=click.FloatRange(min=0, min_open=True), metavar="MB", help="With --auto: at most so large."
)
@click.option(
    "--min-decode",
    type=click.FloatRange(min=0, min_open=True),
    metavar="TOKENS/S",
    help="With --auto: at least so fast on this machine.",
)
@click.option(
    "--min-retention",
    type=click.FloatRange(min=0),
    help="With --auto: share of the task's gain to keep. Default: the recipe's verify.min_retention, else 0.97.",
)
@click.option(
    "--rows", type=click.IntRange(min=1), help="With --auto: answer at most so many held-out rows. Default: 200."
)
@click.option("--verify/--no-verify", default=True, show_default=True, help="Check each artifact of a RUN, quickly.")
@click.option(
    "--cost/--no-cost", default=True, show_default=True, help="Measure what a separate adapter costs, briefly."
)
@click.option(
    "--plan", "only_plan", is_flag=True, help="Say what would be written, and write nothing; collect nothing either."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def export(
    subject: str,
    format: str,
    backend: str | None,
    quant: tuple[str, ...],
    output: Path | None,
    adapter: str,
    with_base: str | None,
    base: str | None,
    imatrix: str | None,
    imatrix_text: Path | None,
    **flags: Any,
) -> None:
    """Write the result of RUN, or an untuned MODEL, for a device.

    The types of the tensors, the size and whatever falls back to another type are shown before
    anything is written. An artifact made from the same inputs is not written again. What comes from
    a run is verified against the trained model (see `edgetune verify`); exit code 9 if it fails.
    A PEFT folder that was trained elsewhere is exported as a run is, without that verification.
    """
    from edgetune.exporting import Wanted

    kind = f"{format}-{backend}" if backend else format
    if flags["auto"]:
        _refuse_with_auto(adapter, with_base, flags)
    source = _source(
        subject, base, kind, quant, imatrix, imatrix_text, every=flags["auto"], only_plan=flags["only_plan"]
    )
    if flags["auto"]:
        _ship_smallest(source, kind, quant, output, flags)
    elif any(flags[name] is not None for name in _OF_AUTO):
        raise click.UsageError("--max-size, --min-decode, --min-retention and --rows need --auto")
    else:
        _write(source, Wanted(kind, quant, adapter == "separate", with_base), output, flags)


def _source(
    subject: str,
    base: str | None,
    format: str,
    quants: Sequence[str],
    imatrix: str | None,
    text: Path | None,
    *,
    every: bool,
    only_plan: bool,
) -> Source:
    """What is exported; ``every``: in any of the format's precisions."""
    from edgetune.exporters import find_exporter
    from edgetune.exporting import find_source, weighted

    if text is not None and imatrix is None:
        raise click.UsageError("--imatrix-text needs --imatrix auto")
    source = replace(find_source(subject, base), only_plan=only_plan)
    if imatrix is None:
        return source
    return weighted(source, format, imatrix, text, quants or (find_exporter(format).precisions if every else ()))


def _write(source: Source, wanted: Wanted, output: Path | None, flags: Mapping[str, Any]) -> None:
    from edgetune.bench.adapter_cost import tell_costs
    from edgetune.exporting_parts import plan_parts, write_parts
    from edgetune.exporting_text import artifact_table, json_text, plans_text
    from edgetune.verification.subjects import verify_exports
    from edgetune.verification.verify import require_rows

    parts = source.parts(wanted, output)
    console.note(plans_text(parts, plans := plan_parts(parts)))
    verified = source.run if flags["verify"] and not flags["only_plan"] else None
    if verified:
        require_rows(verified)
    artifacts = write_parts(() if flags["only_plan"] else parts)
    if artifacts or flags["as_json"]:
        console.data(json_text(plans, artifacts) if flags["as_json"] else artifact_table(artifacts))
    tell_costs(artifacts if flags["cost"] else ())
    if artifacts and source.run is None:
        console.note("nothing is verified: this comes from no run, so there is no trained model to compare it with")
    if verified:
        require_verified(verify_exports(verified, artifacts))


def _refuse_with_auto(adapter: str, with_base: str | None, flags: Mapping[str, Any]) -> None:
    """Options that a climb has no use for are wrong, and not ignored."""
    given = {
        "--adapter separate": adapter == "separate",
        "--with-base": with_base is not None,
        "--no-verify": not flags["verify"],
        "--no-cost": not flags["cost"],
    }
    if wrong := [option for option, is_given in given.items() if is_given]:
        raise click.UsageError(f"--auto cannot be used with {', '.join(wrong)}: it writes and verifies merged models")


def _ship_smallest(
    source: Source, format: str, quant: Sequence[str], output: Path | None, flags: Mapping[str, Any]
) -> None:
    from edgetune.exporting import Wanted
    from edgetune.ladder.climbing import climb, limits_of, plannable, require_shipped
    from edgetune.ladder.text import to_text

    if flags["only_plan"]:
        _write(source, Wanted(format, tuple(plannable(source, format, quant))), output, flags)
        return
    source = replace(source, output=output or source.output)
    ladder = climb(source, format, quant, limits_of(source, {name: flags[name] for name in _OF_AUTO}))
    console.data(ladder.model_dump_json() if flags["as_json"] else to_text(ladder))
    require_shipped(ladder)
