"""Files that are whole or absent: written beside their target, synced, renamed into place."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from edgetune import console
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
#: How safetensors and torch.save say that a file could not be written: neither raises an OSError.
_NOT_WRITTEN = (
    "no space left on device",
    "file too large (os error",
    "pytorchstreamwriter failed writing",
    "basic_ios::clear: iostream error",
)
#: How file systems without locks, or without those on folders, say so.
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EINVAL)
#: ``.NAME.edgetune-RANDOM`` is a folder in which NAME is being written, and ``NAME.former`` waits to be removed.
_TEMPORARY = re.compile(r"\.(.+)\.edgetune-[a-z0-9_]{8}")
_FORMER = ".former"


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; on success it becomes ``target``, and is on the disk.

    The temporary may be made a file or a folder by the body. On any error it is
    removed and ``target`` keeps its former content. A folder replaces a former
    folder whole. What killed processes left in the same place is removed first.

    Raises:
        ResourceError: no space, no permission, or a read-only file system.
    """
    with disk_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        sweep(target.parent)
        with _temporary_folder(target) as folder:
            temporary = folder / target.name
            yield temporary
            sync(temporary)
            if target.is_dir() and temporary.is_dir():
                former = folder / (target.name + _FORMER)
                target.rename(former)
                try:
                    temporary.rename(target)
                except BaseException:
                    former.rename(target)
                    raise
            else:
                temporary.rename(target)
            sync_names(target.parent)


@contextmanager
def _temporary_folder(target: Path) -> Iterator[Path]:
    """A new folder beside ``target``, locked while its owner lives: :func:`sweep` spares it."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{target.name}.edgetune-", dir=target.parent))
        with _locked_folder(folder, shared=True):
            if not folder.exists():  # somebody swept between the two lines above
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


def sweep(folder: Path) -> None:
    """Remove the temporaries that killed processes left in ``folder``; those of living ones stay.

    What had been set aside for a replacement that never came is put back.
    """
    for stale in list(folder.iterdir()):
        match = _TEMPORARY.fullmatch(stale.name)
        if match is None:
            continue
        with _locked_folder(stale, shared=False) as ours:
            former, target = stale / (match[1] + _FORMER), folder / match[1]
            if ours and former.exists() and not target.exists():
                former.rename(target)
            if ours:
                shutil.rmtree(stale, ignore_errors=True)


@contextmanager
def _locked_folder(folder: Path, *, shared: bool) -> Iterator[bool]:
    """Lock a folder itself: shared as its owner, who waits, or alone; yields whether that went."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except (FileNotFoundError, PermissionError):  # gone, or another user's; on Windows every folder
        yield False
        return
    try:
        yield bool(_lock(descriptor, shared=shared, wait=shared))
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, shared: bool = False, wait: bool = False) -> bool | None:
    """Lock an open file or folder until it is closed; None where there are no such locks."""
    if sys.platform == "win32":
        return None
    import fcntl

    how = (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
    try:
        fcntl.flock(descriptor, how)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return True


@contextmanager
def locked(lock: Path, on_busy: Callable[[str], object]) -> Iterator[None]:
    """Hold an advisory lock that ends with the process, however it ends.

    Args:
        lock: the file to lock; made for it, and removed afterwards.
        on_busy: told who holds the lock, if somebody does. Unless this raises, the lock is waited for.

    Raises:
        ResourceError: the file cannot be made.
    """
    with disk_errors(lock):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = _take(lock, on_busy)
    with handle:
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)  # before others can have it: they look whether it is still there


def _take(lock: Path, on_busy: Callable[[str], object]) -> IO[str]:
    while True:
        with ExitStack() as stack:
            handle = stack.enter_context(lock.open("a+", encoding="utf-8"))
            if _lock(handle.fileno()) is False:
                handle.seek(0)
                on_busy(handle.read() or "another process")
                _lock(handle.fileno(), wait=True)
            if _is_still(lock, handle):
                handle.truncate(0)
                handle.write(f"process {os.getpid()} on {platform.node()}")
                handle.flush()
                stack.pop_all()
                return handle


def _is_still(path: Path, handle: IO[str]) -> bool:
    """Whether an open file is the one at ``path``; another holder may have removed it meanwhile."""
    try:
        return os.path.samestat(os.fstat(handle.fileno()), path.stat())
    except FileNotFoundError:
        return False


def sync(path: Path) -> None:
    """Wait until a file, or a folder with everything in it, is on the disk."""
    for part in [*path.rglob("*"), path] if path.is_dir() else [path]:
        if part.is_dir():
            sync_names(part)
        elif part.is_file():
            with part.open("rb") as handle:
                os.fsync(handle.fileno())


def sync_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; without it a power cut can undo a rename."""
    if sys.platform == "win32":  # which opens no folders
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_lines(path: Path) -> list[str]:
    """Lines of a text of which each ends with a newline. Nothing else ends one: rows may hold U+2028 and its like."""
    return path.read_text(encoding="utf-8").split("\n")[:-1]


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
            raise _disk_full(target, "disk full") from error
        if error.errno in _CANNOT_WRITE:
            raise ResourceError(
                f"cannot write {target}: {error.strerror}", hint="choose a folder you may write to with --output"
            ) from error
        raise
    except Exception as error:
        if not_written(error):
            raise _disk_full(target, "disk full, or a limit on the size of files,") from error
        raise


def not_written(error: BaseException) -> bool:
    """Whether this is how torch or safetensors say that the disk is full, or a file may not grow further."""
    text = str(error).lower()
    written = "inline_container.cc" in text and "unexpected pos" in text  # torch's zip writer, after a short write
    return not isinstance(error, ResourceError) and (written or any(words in text for words in _NOT_WRITTEN))


def _disk_full(target: Path, what: str) -> ResourceError:
    free = shutil.disk_usage(_existing_parent(target)).free
    return ResourceError(
        f"{what} while writing {target} ({console.size_text(free)} free)",
        hint="free some space, or choose another folder with --output",
    )


def require_disk(folder: Path, needed: int, what: str) -> None:
    """Fail before work starts when ``folder`` has fewer than ``needed`` bytes free.

    Raises:
        ResourceError: naming what needs how much.
    """
    free = shutil.disk_usage(_existing_parent(folder)).free
    if free < needed:
        raise ResourceError(
            f"{what} needs {console.size_text(needed)} in {folder}, which has {console.size_text(free)} free",
            hint="free some space, or choose another folder with --output",
        )


def _existing_parent(path: Path) -> Path:
    while not path.exists():
        path = path.parent
    return path


def sha256_file(path: Path) -> str:
    """SHA-256 of one file, lower-case hex."""
    digest = hashlib.sha256()
    with path.open("rb") as handle, console.progress(f"Hashing {path.name}", path.stat().st_size / 1e6, "MB") as bar:
        while block := handle.read(1 << 20):
            digest.update(block)
            bar.advance(len(block) / 1e6)
    return digest.hexdigest()


def sha256_files(folder: Path) -> Mapping[str, str]:
    """SHA-256 of every file below ``folder``, keyed by its relative POSIX path, sorted."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256_file(p) for p in files}


def sha256_text(text: str) -> str:
    """SHA-256 of ``text`` in UTF-8, lower-case hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_json(value: Any) -> str:
    """SHA-256 of ``value`` as JSON; the order of keys does not count."""
    return sha256_text(json.dumps(value, sort_keys=True))
