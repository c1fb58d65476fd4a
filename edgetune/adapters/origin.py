"""What an adapter was trained over, in its own folder: PEFT stores nothing of it, and the folder may travel alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from edgetune.errors import ModelError
from edgetune.run import TrainedAgainst
from edgetune.stored import Stored, read_stored, write_stored

FILE = "edgetune_adapter.json"


class AdapterOrigin(Stored):
    """Beside ``adapter_config.json``; PEFT and transformers read past it."""

    schema_version: Literal[1] = 1
    edgetune: str
    base: str
    """As the recipe named it, without folders of the machine."""
    base_sha256: str
    """Over the base's weight files; of the GGUF file where it came from one."""
    trained_against: TrainedAgainst
    quantised_modules: tuple[str, ...] = ()
    """With nf4: the linear layers that were rounded."""
    quantised_from: str = "float32"
    """The type that they were rounded from."""
    system: str | None = None
    """The system prompt that it was trained with."""


def write_origin(folder: Path, origin: AdapterOrigin) -> None:
    """Store it with the adapter in ``folder``."""
    write_stored(folder / FILE, origin)


def read_origin(folder: Path) -> AdapterOrigin | None:
    """What the adapter in ``folder`` was trained over; None: it does not say.

    Raises:
        ModelError: it is damaged, or of a later edgetune.
    """
    file = folder / FILE
    if not file.is_file():
        return None
    return read_stored(
        file, AdapterOrigin, "what edgetune stores with adapters", hint="copy it again", error=ModelError
    )
