"""``edgetune doctor``: the installation and the machine."""

from __future__ import annotations

import json

import click

from edgetune import console


@click.command("doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> None:
    """Show what is installed and what this machine can do.

    Names what each missing extra would add, with the command that installs it. The exit code is 9
    when something installed does not load.
    """
    from edgetune.doctor import examine, to_text
    from edgetune.errors import CheckFailed

    diagnosis = examine()
    console.data(json.dumps(diagnosis.to_dict(), indent=2) if as_json else to_text(diagnosis))
    if diagnosis.problems:
        raise CheckFailed("this installation is damaged", hint="install edgetune again", problems=diagnosis.problems)
