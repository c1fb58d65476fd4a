"""``edgetune targets``: where a model must run, and what it must keep to."""

from __future__ import annotations

import json

import click

from edgetune import console


@click.group("targets")
def targets() -> None:
    """List or show targets: named places to run, with objectives."""


@targets.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(as_json: bool) -> None:
    """List the targets that come with edgetune, and your own.

    Your own are files NAME.yaml in ./targets or ~/.config/edgetune/targets.
    """
    from edgetune.targets.finding import readable_targets
    from edgetune.targets.text import list_text

    if as_json:
        console.data(json.dumps([target.model_dump(mode="json") for _, target in readable_targets()], indent=2))
    else:
        console.data(list_text())


@targets.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(name: str, as_json: bool) -> None:
    """Print the target called NAME, or in the file NAME, each number with its source."""
    from edgetune.targets.finding import find_target
    from edgetune.targets.text import to_text

    target = find_target(name)
    console.data(target.model_dump_json(indent=2) if as_json else to_text(target))


@targets.command()
def schema() -> None:
    """Print the JSON Schema of targets, which lets editors complete and check them."""
    from edgetune.targets.target import target_schema

    console.data(json.dumps(target_schema(), indent=2))
