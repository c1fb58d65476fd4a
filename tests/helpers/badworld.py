"""A folder full of sound things, and ways to spoil each of them."""

from __future__ import annotations

import builtins
import errno
import importlib
import io
import json
import resource
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tinygguf import write_tiny_gguf
from tinyruns import ROWS, write_artifact, write_base, write_run

Spoil = Callable[[Path], object]

RECIPE = """\
name: bad
model: {{source: {source}}}
data: {{train: rows.jsonl}}
train: {{max_steps: 2, batch_size: 2, device: cpu, evaluate_every: 1}}
"""


@dataclass(frozen=True)
class Sound:
    """Things that work, made once and copied for each case."""

    base: Path
    run: Path
    artifact: Path
    gguf: Path

    @classmethod
    def make(cls, folder: Path) -> Sound:
        """Make one of each below ``folder``."""
        base = write_base(folder / "base")
        return cls(
            base,
            write_run(folder / "run", base).folder,
            write_artifact(folder / "artifact").path,
            write_tiny_gguf(folder / "sound.gguf"),
        )


class World:
    """The current folder of one case. Methods make a (spoilt) thing in it and return its name."""

    def __init__(self, folder: Path, sound: Sound, patch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.sound = sound
        self._patch = patch
        self.unreadable: set[str] = set()
        self._undo: list[Callable[[], object]] = []
        self.rows()

    def file(self, name: str, content: str | bytes) -> str:
        """A file."""
        (self.folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return name

    def rows(self, *rows: Any, name: str = "rows.jsonl") -> str:
        """JSON Lines; sound rows unless others are given."""
        return self.file(name, "".join(json.dumps(row) + "\n" for row in rows or ROWS))

    def recipe(self, *lines: str, source: str | None = None) -> str:
        """A sound recipe with further or replaced lines."""
        keys = {line.partition(":")[0] for line in lines}
        sound = RECIPE.format(source=source or self.sound.base).splitlines()
        kept = [line for line in sound if line.partition(":")[0] not in keys]
        return self.file("recipe.yaml", "\n".join([*kept, *lines]))

    def model(self, spoil: Spoil | None = None) -> str:
        """A model folder."""
        return self._copy(self.sound.base, "./model", spoil)

    def run(self, spoil: Spoil | None = None, **manifest: Any) -> str:
        """A trained run; ``manifest`` replaces fields of its manifest."""
        name = self._copy(self.sound.run, "run", None)
        edit_json("manifest.json", **manifest)(self.folder / name)
        if spoil:
            spoil(self.folder / name)
        return name

    def artifact(self, spoil: Spoil | None = None) -> str:
        """An artifact folder."""
        return self._copy(self.sound.artifact, "artifact", spoil)

    def gguf(self, spoil: Spoil | None = None, **options: Any) -> str:
        """A bare GGUF file."""
        if options:
            write_tiny_gguf(self.folder / "model.gguf", **options)
            return "model.gguf"
        return self._copy(self.sound.gguf, "model.gguf", spoil)

    def _copy(self, source: Path, name: str, spoil: Spoil | None) -> str:
        (shutil.copytree if source.is_dir() else shutil.copy)(source, self.folder / name)
        if spoil:
            spoil(self.folder / name)
        return name

    def fail(self, target: str, error: BaseException) -> World:
        """Let a function of the machine or of a library fail."""

        def failing(*_args: Any, **_options: Any) -> Any:
            raise error

        return self.replace(target, failing)

    def forbid(self, name: str) -> World:
        """Take away the permission to read a file; root, who runs many a test machine, has it always."""
        real = io.open

        def opened(file: Any, *args: Any, **options: Any) -> Any:
            if Path(str(file)).name == name and "w" not in str(args):
                raise PermissionError(errno.EACCES, "Permission denied", str(file))
            return real(file, *args, **options)

        self._patch.setattr(io, "open", opened)
        self._patch.setattr(builtins, "open", opened)
        self.unreadable.add(name)
        return self

    def limit_file_size(self, size: int) -> World:
        """Let the operating system refuse to write files past ``size`` bytes, as some disks do."""
        former = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, former[1]))
        self._undo.append(lambda: resource.setrlimit(resource.RLIMIT_FSIZE, former))
        return self

    def restore(self) -> None:
        """Give the process back what :meth:`limit_file_size` took."""
        while self._undo:
            self._undo.pop()()

    def tree(self) -> dict[str, bytes | None]:
        """Every file with its content, and temporary folders; but for the cache, which may keep what is whole."""
        found: dict[str, bytes | None] = {}
        for path in self.folder.rglob("*"):
            name = path.relative_to(self.folder).as_posix()
            if name.startswith("out/") and not name.startswith(("out/adapter", "out/model")):
                continue  # a run that broke off keeps what it has, but for results
            if path.is_file() and not name.startswith("cache/"):
                found[name] = None if path.name in self.unreadable else path.read_bytes()
            elif path.name.startswith("."):
                found[name] = None
        return found

    def replace(self, target: str, value: Any) -> World:
        """Put ``value`` in the place of ``module.name``."""
        module, _, name = target.rpartition(".")
        owner, attribute = module, name
        try:
            importlib.import_module(owner)
        except ModuleNotFoundError:
            owner_module, _, kind = module.rpartition(".")
            self._patch.setattr(getattr(importlib.import_module(owner_module), kind), attribute, value)
        else:
            self._patch.setattr(f"{owner}.{attribute}", value)
        return self

    def without(self, *packages: str) -> World:
        """Make packages look as if they were not installed."""
        real_import, real_module = builtins.__import__, importlib.import_module

        def refuse(name: str) -> None:
            if name.partition(".")[0] in packages:
                raise ModuleNotFoundError(f"No module named '{name}'", name=name)

        def blocked_import(name: str, *args: Any, **options: Any) -> Any:
            refuse(name)
            return real_import(name, *args, **options)

        def blocked_module(name: str, package: str | None = None) -> Any:
            refuse(name)
            return real_module(name, package)

        for name in [name for name in sys.modules if name.partition(".")[0] in packages]:
            self._patch.delitem(sys.modules, name)
        self._patch.setattr(builtins, "__import__", blocked_import)
        self._patch.setattr(importlib, "import_module", blocked_module)
        return self

    def setenv(self, name: str, value: str) -> World:
        """Set an environment variable."""
        self._patch.setenv(name, value)
        return self

    def cmd(self, *words: str) -> list[str]:
        """A command line."""
        return list(words)


def remove(name: str) -> Spoil:
    """Delete a file or folder."""

    def spoil(path: Path) -> None:
        target = path / name
        shutil.rmtree(target) if target.is_dir() else target.unlink()

    return spoil


def write(name: str, content: str | bytes) -> Spoil:
    """Replace a file inside."""
    return lambda path: (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def cut(name: str = "", keep: float = 0.5) -> Spoil:
    """Keep only the first part of a file."""

    def spoil(path: Path) -> None:
        target = path / name if name else path
        content = target.read_bytes()
        target.write_bytes(content[: int(len(content) * keep)])

    return spoil


def flip(name: str = "", at: int = -9) -> Spoil:
    """Change one byte of a file."""

    def spoil(path: Path) -> None:
        target = path / name if name else path
        content = bytearray(target.read_bytes())
        content[at] ^= 0xFF
        target.write_bytes(content)

    return spoil


def edit_json(name: str, **changes: Any) -> Spoil:
    """Change fields of a JSON file; None takes a field out."""

    def spoil(path: Path) -> None:
        content = json.loads((path / name).read_text()) | changes
        (path / name).write_text(json.dumps({k: v for k, v in content.items() if k not in changes or v is not None}))

    return spoil


def edit_weights(change: Callable[[dict[str, Any]], object], name: str = "model.safetensors") -> Spoil:
    """Change the tensors of a safetensors file."""

    def spoil(path: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(path / name)
        change(tensors)
        save_file(tensors, path / name, metadata={"format": "pt"})

    return spoil


#: Prepares a case and gives the command line.
Command = Callable[[World], list[str]]
#: Command, exit code, words of the message.
Case = tuple[Command, int, str]
