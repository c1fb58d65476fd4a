"""Write what the code itself says into docs/reference/ and edgetune/recipe.schema.json.

``--check`` writes nothing and fails when a file is not what the code says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import click
from edgetune_gguf.architectures import ARCHITECTURES
from edgetune_gguf.mixture import PRECISIONS
from edgetune_onnx.families import FAMILIES
from edgetune_onnx.precision import ACCURACIES, BLOCKS, NAMES

from edgetune import errors
from edgetune.bench.definitions import AT, CLASSIFYING, DEFINITIONS, SHARED, SUSTAINED, Definition
from edgetune.bench.schema import bench_schema
from edgetune.cli import edgetune
from edgetune.cli.options import Setting, flag, recipe_options, variable
from edgetune.devices.report import device_schema
from edgetune.evaluation.metrics import LOSS_DEFINITION, METRICS
from edgetune.realtime import figures, frames
from edgetune.recipe import ExportSettings, PrepareSettings, Recipe, ReplaySettings, Section
from edgetune.schema import SCHEMA_FILE, recipe_schema
from edgetune.targets import target

ROOT = Path(__file__).resolve().parent.parent
REFERENCE = ROOT / "docs" / "reference"
_NOTE = "<!-- Written by `make docs`. Do not edit: change the code. -->\n\n"
_WIDTH = 100


def main() -> int:
    """Write the files, or with ``--check`` compare them; 1 when one differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    check = parser.parse_args().check
    stale = [path for path, make in generated().items() if not _write(path, make(), dry=check)]
    for path in stale:
        print(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}", file=sys.stderr)
    if check and stale:
        print("hint: make docs", file=sys.stderr)
    return 1 if check and stale else 0


def generated() -> dict[Path, Callable[[], str]]:
    """Every generated file and what makes its text."""
    return {
        REFERENCE / "cli.md": cli_reference,
        REFERENCE / "recipe.md": recipe_reference,
        REFERENCE / "metrics.md": metrics_reference,
        REFERENCE / "gguf.md": gguf_reference,
        REFERENCE / "onnx.md": onnx_reference,
        REFERENCE / "errors.md": errors_reference,
        REFERENCE / "bench.schema.json": lambda: json.dumps(bench_schema(), indent=2) + "\n",
        REFERENCE / "device.schema.json": lambda: json.dumps(device_schema(), indent=2) + "\n",
        SCHEMA_FILE: lambda: json.dumps(recipe_schema(), indent=2) + "\n",
        target.SCHEMA_FILE: lambda: json.dumps(target.target_schema(), indent=2) + "\n",
    }


def _write(path: Path, text: str, *, dry: bool) -> bool:
    """Whether ``path`` already held ``text``; writes it unless ``dry``."""
    if path.is_file() and path.read_text(encoding="utf-8") == text:
        return True
    if not dry:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return False


def cli_reference() -> str:
    """The help of every command."""
    text = _NOTE + "# Commands\n\nWhat `--help` says of every command. Exit codes: [errors](errors.md).\n"
    settings = {**edgetune.context_settings, "terminal_width": _WIDTH}
    for context in _contexts(click.Context(edgetune, info_name="edgetune", **settings)):
        help_text = "\n".join(line.rstrip() for line in context.get_help().splitlines())
        text += f"\n## {context.command_path}\n\n```text\n{help_text}\n```\n"
    return text


def _contexts(context: click.Context) -> Iterator[click.Context]:
    """``context`` and those of all commands below it."""
    yield context
    if isinstance(context.command, click.Group):
        for name in context.command.list_commands(context):
            command = context.command.get_command(context, name)
            assert command is not None
            yield from _contexts(click.Context(command, parent=context, info_name=name, terminal_width=_WIDTH))


def recipe_reference() -> str:
    """Every key of a recipe: type, default, flag, environment variable, meaning."""
    text = _NOTE + "# The recipe\n\n"
    text += (
        "Every key of a recipe file. A value comes from the flag, else from the environment variable, else from the\n"
        "recipe, else it is the default. Unknown keys are errors. As a JSON Schema: `edgetune recipe schema`.\n"
    )
    sections = {name: kind for name, field in Recipe.model_fields.items() if (kind := _as_section(field.annotation))}
    text += _section("", Recipe, only=set(Recipe.model_fields) - set(sections))
    text += "".join(_section(name, kind) for name, kind in sections.items())
    text += _section("data.prepare", PrepareSettings)
    text += _section("data.replay", ReplaySettings)
    return text + _section("exports[]", ExportSettings)


def _as_section(kind: Any) -> type[Section] | None:
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _section(prefix: str, section: type[Section], only: set[str] | None = None) -> str:
    flags = {str(option.envvar) for option in recipe_options()}
    title, about = f"## `{prefix}`" if prefix else "## Top level", (section.__doc__ or "").strip()
    text = f"\n{title}\n\n{about}\n\n"
    for name, field in section.model_fields.items():
        if only is not None and name not in only:
            continue
        key = f"{prefix}.{name}" if prefix else name
        words = [_type(field.annotation), _default(field)]
        if prefix.count(".") == 0 and prefix and "[" not in prefix and variable(key) in flags:
            words.append(f"`{flag(key)}`, `{variable(key)}`")
        description = " ".join((field.description or "").split())
        text += f"- **`{key}`** ({'; '.join(words)})" + (f"  \n  {description}" if description else "") + "\n"
    return text


def _type(annotation: Any) -> str:
    """The type in words: ``integer or none``, ``one of a, b``, ``list of text``."""
    names: dict[Any, str] = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "none"}
    words = []
    for part in Setting(annotation).parts:
        if get_origin(part) is Literal:
            words.append("one of " + ", ".join(f"`{choice}`" for choice in get_args(part)))
        elif get_origin(part) is tuple:
            words.append(f"list of {_type(get_args(part)[0])}")
        else:
            words.append(names.get(part) or "a section of its own")
    return " or ".join(words)


def _default(field: Any) -> str:
    if field.is_required():
        return "required"
    default = field.default
    shown = list(default) if isinstance(default, tuple) else default
    return "no default" if default is None else f"default `{json.dumps(shown)}`"


def metrics_reference() -> str:
    """Every figure of the evaluation and of the benchmark with its definition."""
    rows = [f"| always | `loss` | {LOSS_DEFINITION} |"]
    rows += [
        f"| `{name}` | `{metric.name}` | {metric.definition} |" for name, some in METRICS.items() for metric in some
    ]
    text = "# Metrics\n\n## `edgetune eval`\n\n"
    text += "| in `task.metrics` | figure | definition |\n|---|---|---|\n"
    known = DEFINITIONS | {f"{name}@AXIS=VALUE": one for name, one in AT.items()} | SUSTAINED
    bench = "\n\n## `edgetune bench`\n\nA stored report as a JSON Schema: [bench.schema.json](bench.schema.json).\n\n"
    bench += _figures_table(known)
    realtime = f"\n## With `--target` or `--slo`\n\n{_figures_table(figures.DEFINITIONS)}"
    realtime += "\n## `edgetune bench` of what classifies\n\nAn input is a text or an image. As above: "
    realtime += f"{', '.join(f'`{name}`' for name in SHARED)}.\n\n{_figures_table(CLASSIFYING)}"
    realtime += f"\n## With `--target camera-30fps`, or a rate of frames\n\n{_figures_table(frames.DEFINITIONS)}"
    return _NOTE + (text + "\n".join(rows) + bench + realtime).replace("<", "\\<")


def _figures_table(known: Mapping[str, Definition]) -> str:
    rows = "\n".join(f"| `{name}` | {one.unit} | {one.better} | {one.text} |" for name, one in known.items())
    return f"| figure | unit | better | definition |\n|---|---|---|---|\n{rows}\n"


def gguf_reference() -> str:
    """What the GGUF exporter knows."""
    classes = "\n".join(f"- `{name}`" for name in ARCHITECTURES)
    rows = "\n".join(f"| `{name}` | {kind} |" for name, kind in PRECISIONS.items())
    return (
        _NOTE
        + "# GGUF: architectures and precisions\n\nModel classes, as `config.json` names them:\n\n"
        + classes
        + "\n\nPrecisions, best quality first. Which type each tensor gets follows llama.cpp's rules and is shown\n"
        + "before anything is written.\n\n| precision | type of most tensors |\n|---|---|\n"
        + rows
        + "\n| `mixed_92mb`, any size | shared out by what rounding costs this model; of a run only |\n"
    )


def onnx_reference() -> str:
    """What the ONNX exporter knows."""
    classes = "\n".join(f"- `{name}`" for name in FAMILIES)
    names = ", ".join(f"`{name}`" for name in NAMES)
    return (
        _NOTE
        + "# ONNX: architectures and precisions\n\nModel classes, as `config.json` names them:\n\n"
        + classes
        + f"\n\nPrecisions, best quality first: {names}.\n\n"
        + "Of `int8` and `int4` any of these parts, in this order: `_rtn`, `_k_quant` or (`int4` only) `_gptq`,\n"
        + "`_last` or `_mixed` (`int4` only), "
        + f"`_bN` with a block N of {', '.join(map(str, BLOCKS))}, `_aN` with an accuracy level N of "
        + f"{ACCURACIES[0]} to {ACCURACIES[-1]}.\n"
    )


def errors_reference() -> str:
    """Exit codes and the classes of the Python API behind them."""
    rows = ["| 0 | | everything asked for was done |", "| 2 | `click.UsageError` | the command line is wrong |"]
    rows += [
        f"| {kind.exit_code} | `{kind.__name__}` | {(kind.__doc__ or '').splitlines()[0].rstrip('.')} |"
        for kind in sorted(_error_classes(), key=lambda kind: kind.exit_code)
    ]
    rows.sort(key=lambda row: int(row.split("|")[1]))
    return (
        _NOTE
        + "# Errors and exit codes\n\n"
        + "Every class lives in `edgetune.errors` and descends from `EdgetuneError`. On the command line an error is\n"
        + "one line on stderr that begins with `error:`, then each finding on a line of its own, then a `hint:`.\n\n"
        + "| exit code | class | meaning |\n|---|---|---|\n"
        + "\n".join(rows)
        + "\n"
    )


def _error_classes() -> list[type[errors.EdgetuneError]]:
    kinds = [value for value in vars(errors).values() if isinstance(value, type)]
    return [kind for kind in kinds if issubclass(kind, errors.EdgetuneError)]


if __name__ == "__main__":
    raise SystemExit(main())
