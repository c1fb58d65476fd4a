"""Dependencies point one way, and the light parts stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "edgetune"
#: What everything stands on. These modules and packages know of nothing but each other.
CORE = {
    "artifact",
    "console",
    "errors",
    "exporters",
    "extras",
    "files",
    "readback",
    "recipe",
    "run",
    "stored",
    "yamlfile",
}
#: What an exporter may see of edgetune.
EXPORTERS_SEE = CORE | {"adapters", "differences", "images", "memory", "models", "runtimes"}
HEAVY = (
    "torch",
    "transformers",
    "datasets",
    "peft",
    "accelerate",
    "llama_cpp",
    "gguf",
    "onnx",
    "onnxruntime",
    "onnxruntime_genai",
    "matplotlib",
    "optuna",
)


def imports(file: Path) -> set[str]:
    """Every edgetune module that a file imports, anywhere in it: ``recipe``, ``data.reading``, ``""`` for edgetune."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: write imports in full"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            found |= set(names) if node.module == "edgetune" else {str(node.module)}
    return {name.removeprefix("edgetune.") for name in found if name.startswith("edgetune.")}


def rooms(file: Path) -> set[str]:
    """The same, first parts only."""
    return {name.split(".")[0] for name in imports(file)}


def room_names() -> list[str]:
    folders = {folder.name for folder in PACKAGE.iterdir() if (folder / "__init__.py").is_file()}
    return sorted(folders - CORE)


def files_of(name: str) -> list[Path]:
    """Those of a module or package of edgetune."""
    return [*PACKAGE.glob(f"{name}.py"), *(PACKAGE / name).rglob("*.py")]


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", sorted(CORE))
def test_core_stands_alone(name):
    assert files_of(name)
    assert set().union(*map(rooms, files_of(name))) - {"__version__"} <= CORE


def test_nobody_imports_the_command_line():
    outside = [file for file in PACKAGE.rglob("*.py") if file.parent.name != "cli" and file.name != "__main__.py"]
    outside += (ROOT / "exporters").rglob("*.py")
    assert len(outside) > 20
    assert [str(file) for file in outside if "cli" in rooms(file)] == []


def test_nothing_goes_in_circles():
    """Rooms, and the modules that walk through rooms, can be put in an order: each needs only earlier ones."""
    parts = {room: files_of(room) for room in room_names()}
    parts |= {file.stem: [file] for file in PACKAGE.glob("*.py") if file.stem not in CORE | {"__init__", "__main__"}}
    uses = {part: set().union(*map(rooms, files)) & set(parts) - {part} for part, files in parts.items()}
    while free := {part for part, needed in uses.items() if not needed & set(uses)}:
        uses = {part: needed for part, needed in uses.items() if part not in free}
    assert uses == {}, "these import each other in a circle"


def test_exporters_see_only_their_side():
    files = list((ROOT / "exporters").rglob("*.py"))
    assert files
    assert {str(file): extra for file in files if (extra := rooms(file) - EXPORTERS_SEE - {"__version__"})} == {}


def commands(group=None, words=()) -> list[list[str]]:
    """The words of every command and group."""
    import click

    from edgetune.cli import edgetune

    found = [list(words)]
    for name, command in sorted((group or edgetune).commands.items()):
        path = (*words, name)
        found += commands(command, path) if isinstance(command, click.Group) else [list(path)]
    return found


def test_help_loads_nothing_heavy():
    code = "import sys; from edgetune.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    done = python(code)
    assert "Commands:" in done.stdout
    loaded = {name.split(".")[0] for name in done.stderr.split()}
    assert loaded & {*HEAVY, "pydantic", "numpy", "rich", "yaml", "jinja2"} == set()


def test_the_help_of_every_command_loads_no_torch():
    code = f"""
import sys
from edgetune.cli import main
for words in {commands()!r}:
    assert main([*words, "--help"]) == 0, words
print(*sys.modules, file=sys.stderr)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert {name.split(".")[0] for name in done.stderr.split()} & set(HEAVY) == set()


def test_help_starts_within_ten_bare_interpreters():
    def fastest(*arguments: str) -> float:
        times = []
        for _ in range(7):
            start = time.perf_counter()
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True)
            times.append(time.perf_counter() - start)
        return min(times)

    assert fastest("-m", "edgetune", "--help") <= 10 * fastest("-c", "pass")


def points():
    return [*entry_points(group="edgetune.exporters"), *entry_points(group="edgetune.runtimes")]


def test_there_are_plug_ins():
    assert {point.group for point in points()} == {"edgetune.exporters", "edgetune.runtimes"}


@pytest.mark.parametrize("point", points(), ids=lambda point: f"{point.group}:{point.name}")
def test_every_entry_point_loads_and_has_its_name(point):
    loaded = point.load()
    assert getattr(loaded, "format" if point.group == "edgetune.exporters" else "name") == point.name


def light_modules():
    folders = [PACKAGE / name for name in ("runtimes", "cli", "bench", "report", "recipe")]
    files = [file for folder in folders for file in folder.rglob("*.py")] + list(PACKAGE.glob("*.py"))
    names = [file.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for file in files]
    return sorted(name.removesuffix(".__init__") for name in names)


def test_the_device_side_imports_without_torch():
    """Runtimes, benchmarks, reports, commands and the core: importable where only the base install is."""
    blocked = {*HEAVY, "jinja2"}
    code = f"""
import importlib, sys
for name in {sorted(blocked)!r}:
    sys.modules[name] = None
for name in {light_modules()!r}:
    importlib.import_module(name)
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
