"""Optional dependencies: imported where needed, and missed with one sentence."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread
from types import ModuleType

from edgetune.errors import MissingExtra

# transformers and PEFT import bitsandbytes, which warns on processors with AVX-512 BF16 that a kernel from a hub is not
# installed. That kernel multiplies by packed 4-bit weights in inference, which nothing here does.
logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)


def require(module: str, *, extra: str, needed_for: str) -> ModuleType:
    """Import ``module`` or say which extra brings it.

    Raises:
        MissingExtra: ``module`` itself is absent. An import error *inside* an
            installed module is a real fault and passes through.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name and module.split(".", maxsplit=1)[0] == error.name.split(".")[0]:
            raise MissingExtra(extra, needed_for) from error
        raise


@contextmanager
def imported_meanwhile(*modules: str) -> Iterator[None]:
    """Import what will be needed soon while the body waits for the disk or computes outside of Python.

    The import has ended when this has. One that fails is left to whoever needs the module: it fails there again.
    """

    def work() -> None:
        for module in modules:
            with suppress(Exception):
                importlib.import_module(module)

    thread = Thread(target=work, name="imports")
    thread.start()
    try:
        yield
    finally:
        thread.join()
