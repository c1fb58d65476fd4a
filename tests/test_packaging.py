"""What lands in site-packages, and what the project says of itself."""

from __future__ import annotations

import importlib.util
import re
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest
from wheels import build_wheel

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, opened."""
    with zipfile.ZipFile(build_wheel(tmp_path_factory.mktemp("wheel"))) as archive:
        yield archive


def test_top_level_names(wheel):
    version = PROJECT["project"]["version"]
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {
        "edgetune",
        "edgetune_gguf",
        "edgetune_onnx",
        "edgetune_optimum",
        "edgetune_recipes",
        f"edgetune-{version}.dist-info",
    }


def test_every_file_of_the_packages_is_in_it(wheel):
    files = [file.relative_to(ROOT) for file in (ROOT / "edgetune").rglob("*")]
    files += [file.relative_to(ROOT / "exporters") for file in (ROOT / "exporters").rglob("*")]
    wanted = {file.as_posix() for file in files if file.suffix in {".py", ".json", ".typed"}}
    wanted |= {file.as_posix() for file in files if file.parent.name == "templates"}
    assert {"edgetune/cli/__init__.py", "edgetune/report/templates/report.html"} <= wanted
    assert wanted <= set(wheel.namelist())


def test_typing_marker_and_schema_are_in_it(wheel):
    assert {
        "edgetune/py.typed",
        "edgetune_gguf/py.typed",
        "edgetune_onnx/py.typed",
        "edgetune/recipe.schema.json",
    } <= set(wheel.namelist())


def test_recipes_are_in_it_whole_and_valid(wheel, tmp_path):
    from edgetune.recipe import resolve

    files = [file.relative_to(ROOT / "recipes") for file in (ROOT / "recipes").rglob("*") if file.is_file()]
    own = {f"edgetune_recipes/{file.as_posix()}" for file in files if not re.search(r"(^|/)(\.|__py)", file.as_posix())}
    assert own <= set(wheel.namelist())
    wheel.extractall(tmp_path, [name for name in wheel.namelist() if name.startswith("edgetune_recipes/")])
    recipes = list(tmp_path.glob("edgetune_recipes/*/recipe.yaml"))
    assert recipes
    for recipe in recipes:
        assert resolve(recipe).recipe.name == recipe.parent.name


def test_metadata(wheel):
    name = next(name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = message_from_string(wheel.read(name).decode())
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "edgetune" in str(metadata.get_payload())
    base = [line for line in metadata.get_all("Requires-Dist") if "extra ==" not in line]
    assert {re.split(r"[<>=!~ ]", line)[0] for line in base} == {"click", "numpy", "pydantic", "pyyaml", "rich"}


def test_licence_is_in_it(wheel):
    name = next(name for name in wheel.namelist() if name.endswith("licenses/LICENSE"))
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION, AND DISTRIBUTION" in wheel.read(name).decode()


def test_package_list_is_what_is_on_disk():
    folders = PROJECT["tool"]["setuptools"]["package-dir"]
    on_disk = set()
    for name, folder in folders.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).as_posix().replace("/", ".")
            on_disk.add(name if inner == "." else f"{name}.{inner}")
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(on_disk)


def test_version_is_said_once():
    from edgetune import __version__

    assert __version__ == PROJECT["project"]["version"]


def direct_dependencies():
    groups = [PROJECT["project"]["dependencies"], *PROJECT["project"]["optional-dependencies"].values()]
    names = {re.split(r"[\[<>=!~; ]", line)[0].lower() for group in groups for line in group}
    return sorted(names - {"edgetune"})


@pytest.mark.parametrize("name", direct_dependencies())
def test_every_direct_dependency_is_pinned(name):
    pins = re.findall(r"^([\w.-]+)==\S+$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert name in pins


def test_no_index_or_host_is_written_down():
    """Where packages come from is the reader's business."""
    for file in [*ROOT.glob("*.txt"), ROOT / "pyproject.toml", ROOT / "Makefile", ROOT / ".ci" / "run"]:
        assert not re.search(r"index-url|find-links|https?://", file.read_text(encoding="utf-8")), file


def test_the_base_install_has_no_torch():
    assert not [line for line in PROJECT["project"]["dependencies"] if line.startswith("torch")]
    assert importlib.util.find_spec("edgetune_recipes"), "recipes are a package of their own"
