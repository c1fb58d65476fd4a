"""The door to PEFT: imported without its neighbours' chatter."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from edgetune.extras import require


def load_peft(needed_for: str) -> ModuleType:
    """Import PEFT.

    Raises:
        MissingExtra: it is not installed.
    """
    return require("peft", extra="train", needed_for=needed_for)


@contextmanager
def renamed_names_allowed() -> Iterator[None]:
    """Around calls in which PEFT asks transformers by names that it has renamed: of no use to who trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
