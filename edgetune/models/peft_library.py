"""The door to PEFT: imported without its neighbours' chatter."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from edgetune.extras import require

#: PEFT imports bitsandbytes, which warns on processors with AVX-512 BF16 that a kernel from a hub is not installed.
#: That kernel multiplies by packed 4-bit weights in inference, which nothing here does.
_CHATTY = "bitsandbytes.backends.cpu.ops"


def load_peft(needed_for: str) -> ModuleType:
    """Import PEFT.

    Raises:
        MissingExtra: it is not installed.
    """
    logging.getLogger(_CHATTY).setLevel(logging.ERROR)
    return require("peft", extra="train", needed_for=needed_for)


@contextmanager
def renamed_names_allowed() -> Iterator[None]:
    """Around calls in which PEFT asks transformers by names that it has renamed: of no use to who trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield
