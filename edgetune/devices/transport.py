"""The way to a device: a shell there, and files going there. And this host as the nearest device of all."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from edgetune.errors import DeviceError

Over = Literal["adb", "ssh", "local"]
#: Printed after every command with its exit code: without it the connection was cut, whatever the tool says.
_MARK = "edgetune-exit:"


@dataclass(frozen=True)
class Answer:
    """What a command on the device printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def last(self) -> str:
        """Its last words: of its errors, else of what it printed, else its exit code."""
        return (self.err.strip() or self.out.strip() or f"exit code {self.code}").splitlines()[-1]


class Lost(DeviceError):  # noqa: N818  # reads as what happened, as errors.py does
    """The connection ended in the middle; what ran on the device may go on there."""


class Transport(Protocol):
    """A way to one device. ``context`` is printed with every figure: a shell is not an app."""

    over: Over
    context: str
    parent: str
    """Folder on the device in which ours is made."""

    @property
    def where(self) -> str:
        """The device as its user knows it: serial number, host."""
        ...

    def run(self, command: str, timeout: float = 60.0) -> Answer:
        """Run a line of POSIX shell there.

        Raises:
            Lost: the connection ended before the command did.
            DeviceError: it cannot be reached, or did not answer in time.
        """
        ...

    def push(self, file: Path, target: str) -> None:
        """Put a copy of a file there.

        Raises:
            DeviceError: as :meth:`run`, or there is no space.
        """
        ...


def call(command: Sequence[str], timeout: float, what: str) -> Answer:
    """Run a tool of this host, and end it when it takes too long.

    Raises:
        DeviceError: it is not installed, or took longer than ``timeout`` seconds.
    """
    try:
        done = subprocess.run(  # noqa: S603  # the tool's path and our own words
            command, capture_output=True, timeout=timeout, check=False, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError as error:
        raise DeviceError(f"'{command[0]}' is not installed", hint=_install(command[0])) from error
    except PermissionError as error:
        raise DeviceError(f"'{command[0]}' may not be run: {error.strerror}", hint=_install(command[0])) from error
    except subprocess.TimeoutExpired as error:
        raise DeviceError(
            f"{what} did not answer within {timeout:g} s", hint="look at the device, and run the same command again"
        ) from error
    return Answer(done.returncode, *(text.decode("utf-8", errors="replace") for text in (done.stdout, done.stderr)))


def _install(tool: str) -> str:
    packages = {"adb": "adb (Android platform tools)", "ssh": "openssh-client", "scp": "openssh-client"}
    return f"install {packages.get(Path(tool).name, tool)}"


def marked(command: str) -> str:
    """The command, its exit code printed after it."""
    return f"( {command}\n); echo {_MARK}$?"


def unmarked(answer: Answer, lost: str) -> Answer:
    """Take the exit code out of what was printed.

    Raises:
        Lost: it is not there.
    """
    out, found, code = answer.out.rpartition(_MARK)
    if not found or not code.strip().isdecimal():
        reason = Answer(answer.code, "", answer.err).last  # what the command printed until then is none
        raise Lost(f"{lost}: {reason}", hint="connect it, and run the same command again")
    return Answer(int(code), out, answer.err)


class LocalTransport:
    """This host, measured by the same runner and the same scripts as a device."""

    over: Over = "local"
    context = "a process on this host"

    def __init__(self, parent: Path = Path("/var/tmp")) -> None:  # noqa: S108  # not /tmp, which may be memory
        self.parent = str(parent)

    @property
    def where(self) -> str:
        """This host."""
        return "this host"

    def run(self, command: str, timeout: float = 60.0) -> Answer:
        """Run a line of shell."""
        return unmarked(call(["sh", "-c", marked(command)], timeout, "this host"), "the shell ended early")

    def push(self, file: Path, target: str) -> None:
        """Copy a file."""
        try:
            shutil.copy(file, target)
        except OSError as error:
            raise DeviceError(
                f"cannot copy {file} to {target}: {error.strerror}", hint="free some space there"
            ) from error


def quote(words: Sequence[str]) -> str:
    """Words as one line of shell."""
    return " ".join(shlex.quote(word) for word in words)
