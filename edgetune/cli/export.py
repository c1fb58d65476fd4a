"""``edgetune export``: from a run or a model to files that a device can run."""

from __future__ import annotations

from pathlib import Path

import click

from edgetune import console
from edgetune.cli.verify import require_verified


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
@click.option("--verify/--no-verify", default=True, show_default=True, help="Check each artifact of a RUN, quickly.")
@click.option(
    "--cost/--no-cost", default=True, show_default=True, help="Measure what a separate adapter costs, briefly."
)
@click.option("--plan", "only_plan", is_flag=True, help="Say what would be written, and write nothing.")
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
    **flags: bool,
) -> None:
    """Write the result of RUN, or an untuned MODEL, for a device.

    The types of the tensors, the size and whatever falls back to another type are shown before
    anything is written. An artifact made from the same inputs is not written again. What comes from
    a run is verified against the trained model (see `edgetune verify`); exit code 9 if it fails.
    A PEFT folder that was trained elsewhere is exported as a run is, without that verification.
    """
    from edgetune.bench.adapter_cost import tell_costs
    from edgetune.exporting import Wanted, find_source, plan_parts
    from edgetune.exporting_text import artifact_table, json_text, plans_text
    from edgetune.verification.subjects import verify_exports

    source = find_source(subject, base)
    wanted = Wanted(f"{format}-{backend}" if backend else format, quant, adapter == "separate", with_base)
    parts = source.parts(wanted, output)
    console.note(plans_text(parts, plans := plan_parts(parts)))
    artifacts = [part.write() for part in (() if flags["only_plan"] else parts)]
    if artifacts or flags["as_json"]:
        console.data(json_text(plans, artifacts) if flags["as_json"] else artifact_table(artifacts))
    tell_costs(artifacts if flags["cost"] else ())
    if flags["verify"] and source.run:
        require_verified(verify_exports(source.run, artifacts))
