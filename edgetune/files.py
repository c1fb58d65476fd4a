"""Files that are whole or absent: written beside their target, synced, renamed into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgetune.errors import ResourceError

#: No permission; a file where a folder should be; larger than the file system or a limit allows; a failing disk.
_CANNOT_WRITE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EFBIG,
    errno.EIO,
    errno.ENAMETOOLONG,
)


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it becomes ``target``.

    The temporary may be made a file or a folder by the body. On any error it is
    removed and ``target`` keeps its former content. A folder replaces a former
    folder whole.

    Raises:
        ResourceError: no space, no permission, or a read-only file system.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent)) / target.name
        try:
            yield temporary
            _sync(temporary)
            if target.is_dir() and temporary.is_dir():
                former = temporary.with_name(temporary.name + ".former")
                target.rename(former)
                try:
                    temporary.rename(target)
                except BaseException:
                    former.rename(target)
                    raise
            else:
                temporary.rename(target)
        finally:
            shutil.rmtree(temporary.parent, ignore_errors=True)


def _sync(path: Path) -> None:
    for part in [*path.rglob("*"), path] if path.is_dir() else [path]:
        if part.is_file():
            with part.open("rb") as handle:
                os.fsync(handle.fileno())


def write_text(target: Path, text: str) -> None:
    """Write ``text`` as UTF-8, atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically. NaN is refused: JSON has none."""
    write_text(target, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


@contextmanager
def disk_errors(target: Path) -> Iterator[None]:
    """Turn the operating system's disk and permission errors into a :class:`ResourceError`."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            free = shutil.disk_usage(_existing_parent(target)).free
            raise ResourceError(
                f"disk full while writing {target} ({free / 1e6:.0f} MB free)",
                hint="free some space, or choose another folder with --output",
            ) from error
        if error.errno in _CANNOT_WRITE:
            raise ResourceError(
                f"cannot write {target}: {error.strerror}", hint="choose a folder you may write to with --output"
            ) from error
        raise


def require_disk(folder: Path, needed: int, what: str) -> None:
    """Fail before work starts when ``folder`` has fewer than ``needed`` bytes free.

    Raises:
        ResourceError: naming what needs how much.
    """
    free = shutil.disk_usage(_existing_parent(folder)).free
    if free < needed:
        raise ResourceError(
            f"{what} needs {needed / 1e6:.0f} MB in {folder}, which has {free / 1e6:.0f} MB free",
            hint="free some space, or choose another folder with --output",
        )


def _existing_parent(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def sha256_file(path: Path) -> str:
    """SHA-256 of one file, lower-case hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def sha256_files(folder: Path) -> Mapping[str, str]:
    """SHA-256 of every file below ``folder``, keyed by its relative POSIX path, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in files}


def sha256_text(text: str) -> str:
    """SHA-256 of ``text`` in UTF-8, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()
