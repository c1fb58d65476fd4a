"""The command line of a script that prepares a recipe's data, which training calls with ``--output FOLDER``."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

from edgetune import console
from edgetune.errors import EdgetuneError


def run_script(
    prepare: Callable[..., Mapping[str, int]],
    about: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], object] = lambda _: None,
) -> int:
    """Prepare data as the command line says.

    Args:
        prepare: writes the files and returns the rows of each; called with ``output``, ``seed`` and what was added.
        about: the script's docstring; its first line is the description.
        add_arguments: adds further ones to the parser.

    Returns:
        0, or the exit code of the error that was told.
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, required=True, help="folder for the files")
    parser.add_argument("--seed", type=int, default=17, help="of the split (default: 17)")
    add_arguments(parser)
    try:
        counts = prepare(**vars(parser.parse_args()))
    except EdgetuneError as error:
        console.note(f"error: {error.message}\nhint: {error.hint}")
        return error.exit_code
    console.note(", ".join(f"{count} rows for {name}" for name, count in counts.items()))
    return 0
