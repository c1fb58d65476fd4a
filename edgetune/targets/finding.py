"""Which target a name means: a file, the project's own, the user's own, or one that comes with edgetune."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from edgetune import console
from edgetune.errors import TargetError
from edgetune.targets.reading import read_target
from edgetune.targets.target import Target


@dataclass(frozen=True)
class Found:
    """A target's file, and whose it is: ``edgetune``, ``project`` or ``user``."""

    name: str
    file: Path
    owner: str


def find_target(name: str) -> Target:
    """The target that ``name`` means.

    A path (with a separator, or ending in .yaml or .yml) is that file. A name is looked for in ``./targets``, then in
    ``~/.config/edgetune/targets``, then among those that come with edgetune; a file of one's own that has the name
    of one that comes with edgetune is refused, so that a published name means one thing.

    Raises:
        TargetError: none of that name (the nearest are offered), a clash, or the file is invalid.
    """
    if is_path(name):
        return read_target(Path(name).expanduser())
    found = [one for one in all_targets() if one.name == name]
    if not found:
        raise _unknown(name)
    _refuse_clash(found)
    return read_target(found[0].file)


def all_targets() -> list[Found]:
    """Every target by name; where two have one name, the one that wins comes first."""
    return sorted([*_own(), *_shipped()], key=lambda one: one.name)


def is_path(name: str) -> bool:
    """Whether it has a separator or an ending, and so means a file.

    >>> [is_path(name) for name in ("cpu", "./cpu", "cpu.yaml", "pi-2.1")]
    [False, True, True, False]
    """
    return Path(name).name != name or name.startswith("./") or Path(name).suffix in (".yaml", ".yml")


def readable_targets() -> Iterator[tuple[Found, Target]]:
    """Every target that can be read; of the user's own that cannot be, it is said why on stderr."""
    for one in all_targets():
        try:
            yield one, read_target(one.file)
        except TargetError as error:
            console.note("\n  ".join([f"left out: {error.message}", *error.problems]))


def target_names() -> list[str]:
    """Names of all targets, sorted."""
    return sorted({one.name for one in all_targets()})


def own_folders() -> dict[str, Path]:
    """Where users keep their own: owner → folder, the one that wins first."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return {"project": Path("targets"), "user": config / "edgetune" / "targets"}


def _own() -> Iterator[Found]:
    for owner, folder in own_folders().items():
        for file in sorted(folder.glob("*.yaml")) if folder.is_dir() else []:
            yield Found(file.stem, file, owner)


def _shipped() -> Iterator[Found]:
    root = Path(str(resources.files("edgetune.targets"))) / "profiles"
    for file in sorted(root.glob("*.yaml")):
        yield Found(file.stem, file, "edgetune")


def _refuse_clash(found: list[Found]) -> None:
    if len(found) > 1 and found[-1].owner == "edgetune":
        raise TargetError(
            f"{found[0].file} has the name of a target that comes with edgetune: {found[0].name}",
            hint=f"rename it, or give its path: --target {found[0].file}",
        )


def _unknown(name: str) -> TargetError:
    near = difflib.get_close_matches(name, target_names(), n=3, cutoff=0.5)
    guess = f"; did you mean {' or '.join(repr(one) for one in near)}?" if near else ""
    return TargetError(f"no target called '{name}'{guess}", hint="edgetune targets list")
