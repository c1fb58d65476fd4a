"""A folder of our own on a device: made for one measurement, and gone afterwards, whatever happens."""

from __future__ import annotations

import hashlib
import os
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgetune import console
from edgetune.devices.transport import Transport
from edgetune.errors import DeviceError
from edgetune.machine import is_running

#: edgetune-HOST-PROCESS: whose it is can be told, so that leftovers of ended processes are removed and no others.
_NAME = re.compile(r"edgetune-([0-9a-f]{8})-(\d+)")
_PID = "pid"
#: Free space beyond what is copied: output and the runner's own files.
_SPARE_BYTES = 20_000_000


@contextmanager
def room(transport: Transport) -> Iterator[str]:
    """Yield the path of a new folder on the device. What runs in it is ended, and it is removed, on the way out.

    Raises:
        DeviceError: the device cannot be reached, or the folder cannot be made.
    """
    sweep(transport)
    folder = f"{transport.parent}/edgetune-{_host()}-{os.getpid()}"
    made = transport.run(f"rm -rf {folder} && mkdir -m 700 {folder}")
    if made.code != 0:
        raise DeviceError(
            f"cannot make a folder in {transport.parent} on {transport.where}: {made.err.strip()}",
            hint="free some space there, or log in as a user who may write there",
        )
    try:
        yield folder
    finally:
        _leave(transport, folder)


def sweep(transport: Transport) -> list[str]:
    """Remove folders that ended processes of this user on this host left there; what still runs in them is ended.

    Returns:
        Those removed.
    """
    listed = transport.run(f"ls -d {transport.parent}/edgetune-{_host()}-* 2>/dev/null; true").out.split()
    found = []
    for folder in listed:
        match = _NAME.fullmatch(folder.rsplit("/", 1)[-1])
        if match and (int(match[2]) == os.getpid() or not is_running(int(match[2]))):
            _remove(transport, folder)
            found.append(folder)
    return found


def require_space(transport: Transport, files: list[Path]) -> None:
    """Fail before anything is copied when the device has less space than the files need.

    Raises:
        DeviceError: naming both figures.
    """
    needed = sum(file.stat().st_size for file in files) + _SPARE_BYTES
    free = free_bytes(transport)
    if free is not None and free < needed:
        raise DeviceError(
            f"no space left on {transport.where}: {needed / 1e6:.0f} MB are needed in {transport.parent}, "
            f"{free / 1e6:.0f} MB are free",
            hint="free some space on the device, and run the same command again",
        )


def free_bytes(transport: Transport) -> int | None:
    """Free space where our folders are made; None where ``df`` does not say."""
    fields = transport.run(f"df -k {transport.parent} | tail -1").out.split()
    numbers = [int(field) for field in fields if field.isdecimal()]
    return numbers[2] * 1024 if len(numbers) >= 3 else None  # size, used, available


def _leave(transport: Transport, folder: str) -> None:
    """Clean up; where that fails, say so and leave it to the next run: another error may be on its way."""
    try:
        _remove(transport, folder)
    except DeviceError as error:
        console.note(
            f"could not clean up on {transport.where} ({error.message}): {folder} is still there; "
            "the next measurement from here removes it"
        )


def _remove(transport: Transport, folder: str) -> None:
    assert _NAME.fullmatch(folder.rsplit("/", 1)[-1])
    # The runner works in the folder. After a restart of the device its number may be that of a stranger.
    ours = f'[ "$(readlink /proc/$pid/cwd)" = "$(cd {folder} && pwd -P)" ]'
    transport.run(f"{{ pid=$(cat {folder}/{_PID}) && {ours} && kill $pid; }} 2>/dev/null; rm -rf {folder}")


def _host() -> str:
    """This user on this host."""
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    return hashlib.sha256(f"{platform.node()} {user}".encode()).hexdigest()[:8]
