"""Lists on a command line: ``1,2,4``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # not subscriptable before click 8.4


class Listed(_ParamType):
    """Values between commas."""

    def __init__(self, kind: type[int | str]) -> None:
        self._kind = kind
        self.name = "N,..." if kind is int else "NAME,..."

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The values. No numbers are none; no names are a slip, which would mean all."""
        if isinstance(value, tuple):
            return value
        words = [word.strip() for word in str(value).split(",") if word.strip()]
        if not words and self._kind is str:
            self.fail("nothing is named: leave the option out, or give some between commas", param, ctx)
        if self._kind is str:
            return tuple(words)
        if not all(word.isdecimal() for word in words):
            self.fail(f"'{value}' is no list of whole numbers such as 1,2", param, ctx)
        return tuple(int(word) for word in words)

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        del param, ctx
        return self.name


INTEGERS, WORDS = Listed(int), Listed(str)
