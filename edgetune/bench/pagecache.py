"""Dropping a file from the page cache, and checking that it went."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path

#: Up to this share may stay: the kernel keeps a few pages under it.
TOLERATED = 0.02


def drop(path: Path) -> str | None:
    """Drop a file's pages from the page cache.

    Returns:
        None when they are gone, else why not.
    """
    if not hasattr(os, "posix_fadvise"):
        return "this system has no posix_fadvise"
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)  # pages not yet written out cannot be dropped
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(handle)
    share = resident_share(path)
    if share is None:
        return "this system cannot say what is in the page cache"
    if share > TOLERATED:
        return f"the system kept {share:.0%} of the file in the page cache"
    return None


def resident_share(path: Path) -> float | None:
    """Share of a file's pages that are in the page cache, by mincore(2); None where that is not to be had."""
    size = path.stat().st_size
    if not hasattr(ctypes, "CDLL") or os.name != "posix" or size == 0:
        return None
    mincore = getattr(ctypes.CDLL(None, use_errno=True), "mincore", None)
    if mincore is None:
        return None
    pages = -(-size // mmap.PAGESIZE)
    vector = (ctypes.c_ubyte * pages)()
    with path.open("rb") as handle, mmap.mmap(handle.fileno(), size, flags=mmap.MAP_PRIVATE) as mapped:
        # MAP_PRIVATE and writable only so that ctypes can take the address; nothing is written.
        window = (ctypes.c_ubyte * 1).from_buffer(mapped)
        address = ctypes.addressof(window)
        failed = mincore(ctypes.c_void_p(address), ctypes.c_size_t(size), vector)
        del window
    return None if failed else sum(page & 1 for page in vector) / pages
