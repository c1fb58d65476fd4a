"""The command line: one file a command, found on disk and imported when it is called.

:func:`main` is the only place that turns an error into text and an exit code.
"""

from __future__ import annotations

import importlib
import pkgutil
import shlex
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass

import click

from edgetune import __version__


class CommandFiles(MutableMapping[str, click.Command]):
    """The commands of a package, by name: module ``train`` holds the click command ``train``.

    Where a command's name has a dash, its module's has an underscore.
    A module is imported when its command is asked for, so one command never pays for another.
    Modules without a command of their own name are helpers and are passed over.
    """

    def __init__(self, package: str, path: Sequence[str]) -> None:
        self._package = package
        self._path = list(path)
        self._added: dict[str, click.Command] = {}

    def _load(self, name: str) -> click.Command | None:
        module = importlib.import_module(f"{self._package}.{name.replace('-', '_')}")
        found = (value for value in vars(module).values() if isinstance(value, click.Command))
        return next((command for command in found if command.name == name), None)

    def _modules(self) -> list[str]:
        return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(self._path))

    def __getitem__(self, name: str) -> click.Command:
        command = self._added.get(name) or (self._load(name) if name in self._modules() else None)
        if command is None:
            raise KeyError(name)
        return command

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._added[name] = command

    def __delitem__(self, name: str) -> None:
        del self._added[name]

    def __iter__(self) -> Iterator[str]:
        yield from sorted({*self._added, *(name for name in self._modules() if self._load(name))})

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class Invocation:
    """What the options before the command say."""

    debug: bool = False


@click.group(
    commands=CommandFiles(__name__, __path__),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Start with: edgetune run smart-home, or with your own rows: edgetune init ROWS.jsonl",
)
@click.version_option(__version__, prog_name="edgetune")
@click.option("--debug", is_flag=True, envvar="EDGETUNE_DEBUG", help="Show a traceback with every error.")
@click.pass_obj
def edgetune(invocation: Invocation, debug: bool) -> None:
    """Adapt a small language model on this machine and ship it to a device, with evidence."""
    invocation.debug = debug


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code. Errors are printed here and nowhere else.

    Args:
        argv: the words after ``edgetune``; default: those of this process.
    """
    invocation = Invocation()
    try:
        result = edgetune.main(argv, prog_name="edgetune", standalone_mode=False, obj=invocation)
    except SystemExit as leaving:  # click leaves so after shell completion and on a closed pipe
        return leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:  # noqa: BLE001 - the last line of defence: everything becomes text and a code
        from edgetune.cli.failures import report

        words = sys.argv[1:] if argv is None else argv
        return report(error, debug=invocation.debug, command=shlex.join(["edgetune", *words]))
    return result if isinstance(result, int) else 0
