"""Files inside installed packages: weights and rows that come without a hub."""

from __future__ import annotations

import importlib.util
from pathlib import Path


def package_folders(package: str) -> tuple[Path, ...]:
    """Where an installed package lies, without running its code; empty where it is not installed.

    >>> [folder.name for folder in package_folders("edgetune")], package_folders("no_such_package")
    (['edgetune'], ())
    """
    spec = importlib.util.find_spec(package)
    return tuple(Path(root) for root in (spec.submodule_search_locations or ())) if spec else ()
