"""Documents say what is: generated files are fresh, commands and links exist, code imports."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
from pathlib import Path

import click
import pytest

from edgetune.cli import edgetune
from edgetune.run import Run

ROOT = Path(__file__).parent.parent
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "benchmarks").rglob("*.md"))]
GUIDES = [page for page in PAGES if page.parent.name != "reference"]


def generator():
    spec = importlib.util.spec_from_file_location("generate_docs", ROOT / "tools" / "generate_docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("path", generator().generated(), ids=lambda path: path.name)
def test_generated_files_are_fresh(path):
    assert path.read_text(encoding="utf-8") == generator().generated()[path](), "run: make docs"


def test_check_finds_a_stale_file(tmp_path, monkeypatch, capsys):
    module = generator()
    stale = tmp_path / "cli.md"
    stale.write_text("old")
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "generated", lambda: {stale: lambda: "new"})
    monkeypatch.setattr(sys, "argv", ["generate_docs.py", "--check"])
    assert module.main() == 1
    assert "out of date: cli.md" in capsys.readouterr().err
    assert stale.read_text() == "old"
    monkeypatch.setattr(sys, "argv", ["generate_docs.py"])
    assert module.main() == 0
    assert stale.read_text() == "new"


def check_command(words: list[str]) -> None:
    """Raise click's own error unless the command and all its options exist."""
    command, context = edgetune, click.Context(edgetune, info_name="edgetune", **edgetune.context_settings)
    parser = command.make_parser(context)
    _, words, _ = parser.parse_args(list(words))
    while isinstance(command, click.Group) and words:
        name, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_parser(context).parse_args(list(words))


def shell_lines(text: str) -> list[str]:
    """Commands in fenced shell blocks, continued lines joined."""
    blocks = re.findall(r"^```(?:bash|sh|console|shell)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.removeprefix("$ ").split(" #")[0].strip() for line in lines]


def commands_in(page: Path) -> list[list[str]]:
    text = page.read_text(encoding="utf-8")
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
    found = []
    for line in [*shell_lines(text), *spans]:
        words = (
            [word for word in shlex.split(line) if not re.fullmatch(r"[A-Z_]+=\S*", word)] if "edgetune" in line else []
        )
        if words and words[0] in ("edgetune", ".venv/bin/edgetune"):
            found.append(words[1:])
        elif "-m" in words and words[words.index("-m") + 1 :][:1] == ["edgetune"]:
            found.append(words[words.index("-m") + 2 :])
    return found


COMMANDS = [(page, words) for page in GUIDES for words in commands_in(page)]


def test_there_are_commands_in_the_readme():
    assert [words for page, words in COMMANDS if page.name == "README.md"]


@pytest.mark.parametrize(("page", "words"), COMMANDS, ids=lambda value: getattr(value, "name", None) or " ".join(value))
def test_commands_exist(page, words):
    try:
        check_command(words)
    except click.ClickException as error:
        pytest.fail(f"{page.name}: edgetune {' '.join(words)}: {error.format_message()}")


@pytest.mark.parametrize("words", [["nope"], ["train", "--nope"], ["recipes", "nope"], ["--nope"]])
def test_the_check_itself_can_fail(words):
    with pytest.raises(click.ClickException):
        check_command(words)


def hints() -> list[tuple[str, str]]:
    """Hints in the source that begin with a command, what is filled in written as X."""
    found = []
    for file in [*(ROOT / "edgetune").rglob("*.py"), *(ROOT / "exporters").rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "hint":
                parts = node.value.values if isinstance(node.value, ast.JoinedStr) else [node.value]
                text = "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in parts)
                if text.startswith("edgetune "):
                    found.append((file.name, re.split(r"[,;(…]", text)[0]))
    return found


@pytest.mark.parametrize(("file", "hint"), sorted({*hints(), ("run.py", Run(Path("X")).resume_command)}))
def test_commands_in_hints_exist(file, hint):
    try:
        check_command(hint.split()[1:])
    except click.ClickException as error:
        pytest.fail(f"{file}: {hint}: {error.format_message()}")


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            path, _, anchor = target.partition("#")
            file = page.parent / path if path else page
            assert file.exists(), f"{target}: no such file"
            assert not anchor or anchor in anchors(file), f"{target}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_python_imports_what_exists(page):
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        tree = ast.parse(block)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("edgetune"):
                module = importlib.import_module(str(node.module))
                assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []
            is_call = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
            if is_call and node.value.id == "edgetune":
                assert hasattr(importlib.import_module("edgetune"), node.attr), f"edgetune.{node.attr}"


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert set(named) <= targets
