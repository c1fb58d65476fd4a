"""Rows of images: where each lies and the name of its class; and the copies that a run keeps of them.

A source is a folder that holds a folder of images for each class, a file with a column of paths, or a data set with a
column of images. Every image is opened before anything is trained.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgetune import console, files
from edgetune.data.conversation import Conversation
from edgetune.data.datasets_door import is_saved
from edgetune.data.reading import LoadedRows, locate, read_records, to_rows
from edgetune.data.records import Records
from edgetune.errors import DataError
from edgetune.images.opening import open_image

#: Of files that are looked at in a folder of images; others are told.
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
#: Left in folders by file managers.
_LITTER = ("thumbs.db", "desktop.ini")
#: What the keys are called unless somebody says otherwise.
COLUMNS = {"image": "image", "label": "label"}
#: Folder of a run's images, beside its rows.
IMAGES = "images"


def load_images(source: str, columns: Mapping[str, str], scratch: Path, records: Records | None = None) -> LoadedRows:
    """Rows of images and labels, each with the absolute path of its image, which was opened whole.

    Args:
        source: folder, file or data set, see :func:`edgetune.data.reading.load_rows`.
        columns: ``image`` and ``label`` → what the source calls them.
        scratch: folder for images that have no file of their own.
        records: as for :func:`edgetune.data.reading.load_rows`.

    Raises:
        DataError: the source is missing or of an unknown kind; what is wrong with a row is in ``problems``.
    """
    path, _ = locate(source)
    if path.is_dir() and not is_saved(path):
        records, base, columns = _of_folder(path, source), path, COLUMNS  # its own, whatever files are to have
    else:
        records, base = records or read_records(source), path.parent if path.is_file() else Path.cwd()
    _open_all(records, columns["image"], base.resolve(), scratch, source)
    return to_rows(source, records, "images", columns)


def _of_folder(folder: Path, source: str) -> Records:
    """A folder whose folders are classes.

    Raises:
        DataError: it has no such folders.
    """
    classes = sorted(part for part in folder.iterdir() if part.is_dir() and not part.name.startswith("."))
    if not classes:
        raise DataError(
            f"{source} holds no folders: expected one for each class, with its images",
            hint="put the images into folders named as their classes, or give a CSV file with columns image and label",
        )
    records = Records(remark=f"{len(classes)} folders, one for each class")
    for one in classes:
        inside = sorted(file for file in one.rglob("*") if file.is_file() and not _is_litter(file))
        images = [file for file in inside if file.suffix.lower() in SUFFIXES]
        if not images:
            records.warn(str(one), "holds no images, so there is no such class")
        for file in images:
            records.rows.append((str(file), {"image": str(file.resolve()), "label": one.name}))
        for other in (file for file in inside if file not in set(images)):
            records.warn(str(other), f"is not taken for an image: its name ends in none of {', '.join(SUFFIXES)}")
    return records


def _is_litter(file: Path) -> bool:
    return file.name.startswith(".") or file.name.lower() in _LITTER


def _open_all(records: Records, column: str, base: Path, scratch: Path, source: str) -> None:
    """Put an absolute path into each row; rows whose image cannot be opened are errors."""
    kept: list[tuple[str, dict[str, Any]]] = []
    with console.progress(f"Opening the images of {source}", total=len(records.rows), unit="images") as bar:
        for where, row in records.rows:
            try:
                kept.append((where, _opened(where, row, column, base, scratch)))
            except DataError as error:
                records.error(where, error.message)
            bar.advance()
    records.rows[:] = kept


def _opened(where: str, row: dict[str, Any], column: str, base: Path, scratch: Path) -> dict[str, Any]:
    """The row with an absolute path. What is no path at all stays: the format tells.

    Raises:
        DataError: there is no such image, or it cannot be opened.
    """
    written = row.get(column)
    place = _place(written, base, scratch)
    if not isinstance(place, str) or not place.strip():
        return row
    open_image(Path(place), "it" if not isinstance(written, str) or where.endswith(Path(written).name) else written)
    return {**row, column: place}


def _place(value: Any, base: Path, scratch: Path) -> Any:
    """The absolute path of an image that a row names or holds."""
    if isinstance(value, Mapping) and isinstance(value.get("bytes"), bytes):
        suffix = Path(str(value.get("path") or "")).suffix or ".png"
        file = scratch / f"{hashlib.sha256(value['bytes']).hexdigest()}{suffix}"
        with files.disk_errors(file):
            scratch.mkdir(parents=True, exist_ok=True)
            file.write_bytes(value["bytes"])
        return str(file)
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        value = value["path"]
    return str(base / Path(value).expanduser()) if isinstance(value, str) and value.strip() else value


class Album:
    """The images of a run, named by their content, so that the same image has one name wherever it lay."""

    def __init__(self) -> None:
        self._places: dict[str, Path] = {}
        self._names: dict[str, str] = {}

    def named(self, rows: Iterable[Conversation]) -> tuple[Conversation, ...]:
        """The rows with ``images/HASH.png`` in place of where their images lie."""
        return tuple(_with_image(row, self._name(Path(str(row.messages[0]["content"])))) for row in rows)

    def _name(self, path: Path) -> str:
        found = Path(content_name(path))
        # The first ending it is met with: cat.jpg in one folder and cat.jpeg in another are one image.
        name = self._names.setdefault(found.stem, f"{IMAGES}/{found.name}")
        self._places.setdefault(name, path)
        return name

    def write(self, folder: Path, rows: Iterable[Conversation]) -> None:
        """Copy the images of some rows into ``folder``, where their names say.

        Raises:
            ResourceError: no room.
        """
        wanted = sorted({str(row.messages[0]["content"]) for row in rows})
        needed = sum(self._places[name].stat().st_size for name in wanted)
        files.require_disk(folder, needed, "the run's copy of its images")
        with (
            files.atomic_path(folder / IMAGES) as temporary,
            console.progress("Copying images", total=len(wanted), unit="images") as bar,
        ):
            temporary.mkdir()
            for name in wanted:
                shutil.copyfile(self._places[name], temporary / Path(name).name)
                bar.advance()


def content_name(path: Path) -> str:
    """Name of an image's copy: the beginning of its SHA-256, and its own ending."""
    return f"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}{path.suffix.lower()}"


def placed(rows: Sequence[Conversation], folder: Path) -> tuple[Conversation, ...]:
    """A run's own rows with the absolute paths of their images.

    Args:
        rows: as :meth:`Album.named` leaves them.
        folder: that their file lies in.
    """
    return tuple(_with_image(row, str(folder / str(row.messages[0]["content"]))) for row in rows)


def changed_images(folder: Path) -> list[str]:
    """Images of a run that are no longer what its rows name."""
    found = sorted((folder / IMAGES).glob("*"))
    return [f"{path}: changed since the run was prepared" for path in found if path.name != content_name(path)]


def _with_image(row: Conversation, place: str) -> Conversation:
    image, *rest = row.messages
    return replace(row, messages=({**image, "content": place}, *rest))
