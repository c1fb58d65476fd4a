"""The only door to the ``datasets`` library: folders it wrote, and data sets on the hub. No remote code."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from edgetune.console import progress
from edgetune.data.records import Records, keep_cells
from edgetune.data.tables import without_nulls
from edgetune.errors import DataError
from edgetune.extras import require


def is_saved(folder: Path) -> bool:
    """Whether a folder is one that ``save_to_disk`` wrote."""
    return any((folder / name).is_file() for name in ("dataset_info.json", "dataset_dict.json", "state.json"))


def read_folder(folder: Path, source: str, split: str) -> Records:
    """Rows of a folder written by ``Dataset.save_to_disk`` or ``DatasetDict.save_to_disk``.

    Raises:
        DataError: no such data set, a damaged one, or several splits and none chosen.
    """
    if not is_saved(folder):
        raise DataError(
            f"{folder} is a folder, but not one written by save_to_disk",
            hint="give a file inside it, such as FOLDER/train.jsonl; a folder that holds a folder of images for each "
            "class is read where task.kind is image-classification (edgetune data check: --format images)",
        )
    datasets = require("datasets", extra="train", needed_for="reading a datasets folder")
    loaded = _load(source, datasets, lambda: datasets.load_from_disk(str(folder)))
    return _rows(source, loaded, split)


def read_hub(source: str) -> Records:
    """Rows of ``hub:ID``, ``hub:ID@CONFIG`` or either with ``#SPLIT``.

    Raises:
        DataError: unreachable, not found, or several splits and none chosen.
    """
    name, _, split = source.removeprefix("hub:").partition("#")
    identifier, _, config = name.partition("@")
    if not identifier.strip():
        raise DataError(
            f"{source}: no data set named", hint="write hub:OWNER/NAME, for instance hub:HuggingFaceTB/smoltalk"
        )
    datasets = require("datasets", extra="train", needed_for="reading a hub data set")
    return _rows(source, _load(source, datasets, lambda: datasets.load_dataset(identifier, config or None)), split)


def _load(source: str, datasets: ModuleType, load: Callable[[], Any]) -> Any:
    # The library raises its own errors, those of huggingface_hub, pyarrow, fsspec and the operating system.
    known = (datasets.exceptions.DatasetsError, OSError, ValueError, KeyError, TypeError, RuntimeError)
    try:
        return load()
    except known as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        hint = "check the id and the network; a gated data set needs: hf auth login"
        raise DataError(
            f"cannot load {source}: {reason}",
            hint=hint if source.startswith("hub:") else "write the folder again with save_to_disk",
        ) from error


def _rows(source: str, loaded: Any, split: str) -> Records:
    records = Records()
    if isinstance(loaded, dict):
        split = split or ("train" if "train" in loaded else next(iter(loaded)) if len(loaded) == 1 else "")
        if split not in loaded:
            raise DataError(
                f"{source}: no split {split!r}" if split else f"{source}: which split?",
                hint=f"add one of: {', '.join('#' + name for name in loaded)}",
            )
        loaded = loaded[split]
        records.remark = f"split '{split}'"
    loaded, names = _plain(loaded)
    with progress(f"Reading {source}", total=len(loaded), unit="rows") as bar:
        for number, row in enumerate(loaded, start=1):
            keep_cells(f"{source}:{number}", without_nulls(_named(row, names)), records)
            bar.advance()
    return records


def _plain(loaded: Any) -> tuple[Any, dict[str, list[str]]]:
    """The rows with images as their files' bytes; and column → names of the classes that it numbers."""
    datasets = require("datasets", extra="train", needed_for="reading a data set")
    for column, feature in loaded.features.items():
        if isinstance(feature, datasets.Image):
            loaded = loaded.cast_column(column, datasets.Image(decode=False))
    names = {column: f.names for column, f in loaded.features.items() if isinstance(f, datasets.ClassLabel)}
    return loaded, names


def _named(row: dict[str, Any], names: dict[str, list[str]]) -> dict[str, Any]:
    """The row with classes by name; a number without one (-1 is none) stays."""
    known = {column: row[column] for column, of in names.items() if row[column] in range(len(of))}
    return row | {column: names[column][number] for column, number in known.items()}
