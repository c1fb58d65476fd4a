"""Options derived from the recipe's fields: flag over environment over recipe over default.

Nothing is typed here twice: name, type, limits and help come from :mod:`edgetune.recipe`.
"""

from __future__ import annotations

import difflib
import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from edgetune import console

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from edgetune.recipe import Origin, Resolved

    Overrides = dict[str, tuple[Any, Origin]]
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType  # not subscriptable before click 8.4

#: Sections whose fields are common words of training and stand alone: ``--rank``, ``--learning-rate``.
#: Fields of the other sections carry their section: ``--data-format``, ``--bench-threads``.
_BARE_SECTIONS = frozenset({"method", "model", "task", "train"})
#: Fields that say what their section is; their flag is the section: ``--model``, ``--method``.
_SECTION_SAYS = frozenset({"kind", "source"})
#: Variables that are no settings of a recipe.
OTHER_VARIABLES = frozenset({"EDGETUNE_CACHE", "EDGETUNE_DEBUG", "EDGETUNE_OPTIMUM_PYTHON"})
_ORIGINS: dict[ParameterSource, Origin] = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
}


def flag(key: str) -> str:
    """The flag of a recipe key.

    >>> [flag(key) for key in ("train.learning_rate", "method.kind", "data.too_long")]
    ['--learning-rate', '--method', '--data-too-long']
    """
    section, name = key.split(".")
    words = section if name in _SECTION_SAYS else name if section in _BARE_SECTIONS else f"{section}-{name}"
    return "--" + words.replace("_", "-")


def variable(key: str) -> str:
    """The environment variable of a recipe key.

    >>> variable("train.learning_rate")
    'EDGETUNE_LEARNING_RATE'
    """
    return "EDGETUNE_" + flag(key).removeprefix("--").replace("-", "_").upper()


class Setting(_ParamType):
    """The type of one recipe field: pydantic itself says what is valid.

    ``none`` empties a field that may be empty. A list is written ``a,b``, repeated, or as JSON.
    """

    name = "setting"

    def __init__(self, annotation: Any) -> None:
        self._annotation = annotation
        self.parts = list(_parts(annotation))
        self.choices = [str(choice) for part in self.parts if get_origin(part) is Literal for choice in get_args(part)]
        self.is_list = any(get_origin(part) is tuple for part in self.parts)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Validate one word of the command line or the environment."""
        from pydantic import TypeAdapter, ValidationError

        if value == "none" and type(None) in self.parts:
            return None
        plain = not self.is_list or not isinstance(value, str) or value in self.choices
        try:
            return TypeAdapter(self._annotation).validate_python(value if plain else _split(value))
        except ValidationError as error:
            finding = error.errors()[-1]["msg"]
            self.fail(f"{finding[0].lower()}{finding[1:]} (got '{value}'{_from_variable(param, ctx)})", param, ctx)

    def split_envvar_value(self, rv: str) -> list[str]:
        """Keep a variable whole: :meth:`convert` splits at commas."""
        return [rv]

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """What the help shows for the value."""
        del param, ctx
        plain = [_METAVARS[part] for part in self.parts if part in _METAVARS]
        if self.is_list:
            inner = next(get_args(part)[0] for part in self.parts if get_origin(part) is tuple)
            words = [str(choice) for choice in get_args(inner)] or ["NAME"]
            return "|".join([*self.choices, f"{'|'.join(words)},..."])
        return "[" + "|".join(self.choices) + "]" if self.choices else plain[0]

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        """The choices that begin so."""
        del ctx, param
        return [CompletionItem(choice) for choice in self.choices if choice.startswith(incomplete)]


_METAVARS: dict[Any, str] = {str: "TEXT", int: "INTEGER", float: "NUMBER"}


def _parts(annotation: Any) -> Iterator[Any]:
    """The alternatives of an annotation, without their limits: ``int``, ``NoneType``, ``Literal[…]``, ``tuple[…]``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _parts(get_args(annotation)[0])
    elif origin in (Union, UnionType):
        for part in get_args(annotation):
            yield from _parts(part)
    else:
        yield annotation


def _from_variable(param: click.Parameter | None, ctx: click.Context | None) -> str:
    """`` in EDGETUNE_RANK`` when that is where the value was read, because the message names the flag alone."""
    if param is None or ctx is None or ctx.get_parameter_source(str(param.name)) is not ParameterSource.ENVIRONMENT:
        return ""
    return f" in {param.envvar}"


def _split(text: str) -> list[str]:
    """``a,b`` or ``["a","b"]``: JSON is for names that hold a comma."""
    if text.startswith("["):
        try:
            return [str(item) for item in json.loads(text)]
        except json.JSONDecodeError:
            pass  # a regular expression may begin with a bracket
    return [item.strip() for item in text.split(",") if item.strip()]


def _is_scalar(part: Any) -> bool:
    return part in _METAVARS or part in (bool, type(None)) or get_origin(part) in (Literal, tuple)


@cache
def recipe_options() -> tuple[click.Option, ...]:
    """One option for every setting of a recipe that fits on a command line."""
    from edgetune.recipe import leaf_fields

    options = []
    for key, field in leaf_fields():
        setting = Setting(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)
        if all(_is_scalar(part) for part in setting.parts):
            options.append(_option(key, setting, field))
    return tuple(options)


def recipe_options_by_section() -> dict[str, list[click.Option]]:
    """The same options under their sections' names."""
    sections: dict[str, list[click.Option]] = {}
    for option in recipe_options():
        sections.setdefault(_key(option).split(".")[0], []).append(option)
    return sections


def _option(key: str, setting: Setting, field: FieldInfo) -> click.Option:
    text = " ".join((field.description or "").split())
    default = None if field.is_required() else _words(field.default)
    if bool in setting.parts:
        names = [f"{flag(key)}/{flag(key).replace('--', '--no-', 1)}", _parameter(key)]
        return click.Option(names, is_flag=True, default=None, help=text, envvar=variable(key))
    return click.Option(
        [flag(key), _parameter(key)],
        type=setting,
        multiple=setting.is_list,
        help=text + (f"  [default: {default}]" if default else ""),
        envvar=variable(key),
    )


def _words(default: Any) -> str:
    """A default as one would write it on the command line."""
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default)
    return "" if default is None else str(default)


def _parameter(key: str) -> str:
    return "recipe_" + key.replace(".", "__")


def _key(option: click.Option) -> str:
    assert option.name is not None
    return option.name.removeprefix("recipe_").replace("__", ".")


class RecipeCommand(click.Command):
    """A command that takes every recipe setting as an option and hands them over as ``overrides``.

    The options are made when the command runs or shows its help: the recipe's module is not
    loaded for ``edgetune --help``.
    """

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own parameters, the recipe's settings, and ``--help``."""
        *own, help_option = super().get_params(ctx)
        return [*own, *recipe_options(), help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the command's own options, then the recipe's, a heading for each section."""
        from edgetune.recipe import Recipe

        own = [option.get_help_record(ctx) for option in super().get_params(ctx) if isinstance(option, click.Option)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record])
        for name, options in recipe_options_by_section().items():
            title = (Recipe.model_fields[name].annotation.__doc__ or name).strip().rstrip(".")
            with formatter.section(f"Recipe section {name} ({title[0].lower()}{title[1:]})"):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])

    def invoke(self, ctx: click.Context) -> Any:
        """Call the command with the settings gathered in ``overrides``."""
        ctx.params["overrides"] = overrides_of(ctx)
        return super().invoke(ctx)


def overrides_of(ctx: click.Context) -> Overrides:
    """Take the recipe's settings out of ``ctx.params``; keep those that a flag or the environment gave.

    Raises:
        click.BadParameter: ``auto`` and names were given together.
    """
    overrides: Overrides = {}
    _warn_of_unknown_variables()
    for option in recipe_options():
        name, key = str(option.name), _key(option)
        value = ctx.params.pop(name)
        origin = _ORIGINS.get(ctx.get_parameter_source(name) or ParameterSource.DEFAULT)
        if origin is not None:
            overrides[key] = (_relocate(key, _join(value, option, ctx) if option.multiple else value), origin)
    return overrides


def _warn_of_unknown_variables() -> None:
    """A variable with a typing error changes nothing: that must not go unseen."""
    known = {str(option.envvar) for option in recipe_options()} | OTHER_VARIABLES
    for name in sorted(name for name in os.environ if name.startswith("EDGETUNE_") and name not in known):
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
        console.note(f"warning: {name} is not a setting" + (f"; did you mean {near[0]}?" if near else ""))


def _join(values: tuple[Any, ...], option: click.Option, ctx: click.Context) -> Any:
    """One list from a repeated option; a lone word such as ``auto`` stays a word."""
    if len(values) == 1:
        return values[0]
    words = [value for value in values if isinstance(value, str)]
    if words:
        raise click.BadParameter(f"'{words[0]}' cannot be combined with other values", ctx, option)
    return tuple(item for value in values for item in value)


def _relocate(key: str, value: Any) -> Any:
    """A path on the command line is relative to the current folder; in the recipe, to the recipe."""
    from edgetune.recipe import leaf_fields

    extra = dict(leaf_fields())[key].json_schema_extra or {}
    if extra.get("format") == "path" and isinstance(value, str) and Path(value).expanduser().exists():
        return str(Path(value).expanduser().resolve())
    return value


def resolve_recipe(name: str | None, overrides: Overrides) -> Resolved:
    """The recipe file or shipped recipe called ``name``, under ``overrides``.

    Raises:
        click.UsageError: no name was given.
        RecipeError: there is no such recipe, or it is invalid.
    """
    from edgetune.recipe import resolve
    from edgetune.recipes import find_recipe

    if name is None:
        raise click.UsageError("give a RECIPE: a file, or a name that `edgetune recipes list` shows")
    return resolve(find_recipe(name), overrides)
