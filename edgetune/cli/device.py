"""``edgetune device``: measured on a device, constrained on this host, or projected; never mixed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgetune import console

if TYPE_CHECKING:
    from edgetune.artifact import Artifact
    from edgetune.devices.report import DeviceReport

_Command = TypeVar("_Command", bound=Callable[..., Any])


def _output(command: _Command) -> _Command:
    """Options that every report has."""
    command = click.option(
        "--output", type=click.Path(path_type=Path, dir_okay=False), help="Also store the JSON report here."
    )(command)
    return click.option("--json", "as_json", is_flag=True, help="Print the whole report, raw samples included.")(
        command
    )


def _subject(command: _Command) -> _Command:
    """The artifact, by path or as an export of a run."""
    command = click.option("--artifact", metavar="NAME", help="With a run: which export. Default: the largest.")(
        command
    )
    return click.argument("subject", type=click.Path(path_type=Path), metavar="ARTIFACT|RUN")(command)


def _objectives(command: _Command) -> _Command:
    """What a device can be held to."""
    command = click.option(
        "--slo", type=click.Path(path_type=Path), metavar="FILE", help="Hold it to the objectives in this file."
    )(command)
    return click.option(
        "--target", metavar="NAME|FILE", help="Hold it to a target's objectives: edgetune targets list."
    )(command)


def _show(report: DeviceReport, artifact: Artifact, output: Path | None, as_json: bool) -> None:
    from edgetune.devices.holding import require_kept
    from edgetune.devices.keeping import keep
    from edgetune.devices.text import report_text

    if kept := keep(report, artifact):
        console.note(f"kept for edgetune report: {kept}")
    if output:
        report.write(output)
    console.data(report.model_dump_json(indent=2) if as_json else report_text(report))
    require_kept(report)


@click.group("device")
def device() -> None:
    """Figures of phones and boards: measured, constrained or projected."""


@device.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print every field, sources included, as JSON.")
def list_devices(*, as_json: bool) -> None:
    """List the devices that come with edgetune; a YAML file with the same fields adds your own."""
    from edgetune.devices.device import shipped_devices
    from edgetune.devices.text import devices_text

    found = shipped_devices()
    rows = [one.model_dump(mode="json") for one in found]
    console.data(json.dumps(rows, indent=2) if as_json else devices_text(found))


@device.command("measure")
@_subject
@click.option("--over", type=click.Choice(["adb", "ssh", "local"]), required=True, help="The way to the device.")
@click.option(
    "--runner",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A llama-bench built for the device; .so files beside it go along.",
)
@click.option("--serial", help="With --over adb: which device. Default: the only one.")
@click.option("--host", metavar="USER@NAME[:PORT]", help="With --over ssh: where.")
@click.option("--ssh-config", type=click.Path(path_type=Path, dir_okay=False), help="With --over ssh: ssh's settings.")
@click.option(
    "--device",
    "name",
    metavar="NAME|FILE",
    help="Which it is: its big cores and threads. Default: the target's, else detected.",
)
@click.option("--threads", type=click.IntRange(1), help="Default: the target's, else the device's, else its big cores.")
@click.option("--prompt", type=click.IntRange(1), help="Tokens of the prefill test. Default: the target's, else 128.")
@click.option("--new-tokens", type=click.IntRange(1), default=64, show_default=True, help="Tokens of the decode test.")
@click.option(
    "--depth", type=click.IntRange(0), multiple=True, help="Tokens already in the context; repeat. Default: 0."
)
@click.option("--repetitions", type=click.IntRange(1), default=5, show_default=True, help="Of each test.")
@click.option("--timeout", type=click.FloatRange(1), default=900.0, show_default=True, help="Most seconds to run.")
@_objectives
@_output
def measure(subject: Path, *, artifact: str | None, as_json: bool, output: Path | None, **how: Any) -> None:
    """Measure ARTIFACT, a GGUF model, on a phone (adb), a board (ssh) or this host (local).

    The runner and the model are copied into a folder of their own on the device, pinned to its big cores, run, and
    removed again, also on failure and Ctrl-C. Kind: measured. With --target or --slo each objective gets a verdict:
    exit code 9 if one is missed, 15 if none is but one cannot be judged, as this runner does not measure it.
    """
    from edgetune.devices.holding import held_to, hold, load_for
    from edgetune.devices.measuring import Plan, measure
    from edgetune.devices.opening import open_transport
    from edgetune.runtimes.choosing import require_artifact

    wanted = held_to(how["target"], how["slo"], how["name"], over=how["over"])
    load = load_for(wanted, how["prompt"], how["new_tokens"], how["depth"], how["repetitions"])
    plan = Plan(how["runner"], load, how["threads"] or wanted.threads, how["timeout"], how["target"] is not None)
    chosen = require_artifact(subject, artifact)
    transport = open_transport(how["over"], how["serial"], how["host"], how["ssh_config"])
    _show(hold(measure(chosen, transport, plan, wanted.device), wanted), chosen, output, as_json)


@device.command("constrain")
@_subject
@click.option("--device", "name", required=True, metavar="NAME|FILE", help="Whose cores and memory.")
@click.option("--memory", "memory_mb", type=click.FloatRange(1), help="MB. Default: what an app may use there.")
@click.option("--context", type=click.IntRange(1), help="Tokens. Default: the target's, else the runtime's.")
@click.option("--timeout", type=click.FloatRange(1), default=600.0, show_default=True, help="Most seconds to run.")
@_objectives
@_output
def constrain(subject: Path, *, artifact: str | None, as_json: bool, output: Path | None, **how: Any) -> None:
    """Run ARTIFACT on this host within a device's cores and memory, and say whether the memory is enough.

    Its speed is this host's: bandwidth and clock are not limited. Kind: constrained host. With --target or --slo the
    objective on peak_rss gets a verdict; all others cannot be judged. Exit code 9 where the memory is not enough, or
    that objective is missed; else as device measure.
    """
    from edgetune.devices.constraining import Within, constrain
    from edgetune.devices.device import find_device
    from edgetune.devices.holding import held_to, hold
    from edgetune.runtimes.choosing import require_artifact

    memory = int(how["memory_mb"] * 1e6) if how["memory_mb"] else None
    wanted = held_to(how["target"], how["slo"], how["name"])
    within = Within(memory, how["context"] or wanted.context, wanted.threads, timeout=how["timeout"])
    chosen = require_artifact(subject, artifact)
    _show(hold(constrain(chosen, find_device(how["name"]), within), wanted), chosen, output, as_json)


@device.command("project")
@_subject
@click.option("--device", "names", multiple=True, metavar="NAME|FILE", help="Repeat it for several. Default: all.")
@click.option(
    "--depth", type=click.IntRange(0), multiple=True, help="Tokens already in the context; repeat. Default: 0."
)
@_output
def project(
    subject: Path,
    *,
    artifact: str | None,
    names: tuple[str, ...],
    depth: tuple[int, ...],
    as_json: bool,
    output: Path | None,
) -> None:
    """Project how fast ARTIFACT decodes on devices, from its bytes a token and their bandwidth.

    Intervals with the class of the device, never a single figure; how good they are: docs/guide/devices.md.
    Kind: projected.
    """
    from edgetune.devices.opening import chosen_devices
    from edgetune.devices.projecting import project_all
    from edgetune.runtimes.choosing import require_artifact

    chosen = require_artifact(subject, artifact)
    _show(project_all(chosen, chosen_devices(names), depth or (0,)), chosen, output, as_json)
