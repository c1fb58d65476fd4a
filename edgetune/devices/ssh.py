"""A Raspberry Pi, or any Linux board, through the OpenSSH client."""

from __future__ import annotations

import re
from pathlib import Path

from edgetune.devices.room import free_bytes
from edgetune.devices.transport import Answer, Lost, Over, call, marked, unmarked
from edgetune.errors import DeviceError

#: Not /tmp, which is memory on many systems: the model would count twice.
PARENT = "/var/tmp"  # noqa: S108  # a folder of our own is made in it, with a name that nobody can have taken
#: No questions: a password or an unknown key is an error that says what to do.
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_SECONDS_PER_MB = 1.0
#: ssh's own failures exit so; a command's exit code arrives by other means.
_OWN_FAILURE = 255
#: Words of ssh → what is wrong, what to do. {host} and {port} are filled in.
_CAUSES = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "the host key of {host} is not the one that is known here: another machine answers, or it was set up anew",
        "make sure it is yours, then: ssh-keygen -R {host}",
    ),
    (
        "Host key verification failed",
        "the host key of {host} is not known here",
        "connect once by hand and compare the fingerprint: ssh {host}",
    ),
    (
        "Permission denied",
        "{host} refuses the login: no key of this user is accepted there",
        "ssh-copy-id {host}, then look whether this works without a password: ssh {host} true",
    ),
    ("Could not resolve hostname", "the name {host} is not known", "check --host; an IP address works too"),
    ("Connection refused", "{host} answers, but no SSH server listens there", "switch SSH on there (raspi-config)"),
    ("timed out", "{host} does not answer", "is it on, and in the same network?"),
    ("No route to host", "{host} cannot be reached", "is it on, and in the same network?"),
    ("Network is unreachable", "{host} cannot be reached", "is this host in a network?"),
)


class SshTransport:
    """One host, as ``user@host``, ``user@host:port`` or a name of ssh's own configuration.

    Args:
        host: where.
        config: file with ssh's settings instead of the user's own.

    Raises:
        DeviceError: it cannot be reached, or refuses.
    """

    over: Over = "ssh"
    context = "ssh session"
    parent = PARENT

    def __init__(self, host: str, config: Path | None = None) -> None:
        name, colon, port = host.rpartition(":")
        known_port = bool(colon) and port.isdecimal()
        self._host = name if known_port else host
        if not re.fullmatch(r"[A-Za-z0-9_.@:\[\]%-]+", self._host) or self._host.startswith("-"):
            raise DeviceError(f"'{host}' is not a host", hint="give --host user@name, or user@name:port")
        self._options = [word for option in _OPTIONS for word in ("-o", option)]
        self._options += ["-o", f"Port={port}"] if known_port else []
        self._options += ["-F", str(config)] if config else []
        self.run("true")

    @property
    def where(self) -> str:
        """User and host."""
        return self._host

    def run(self, command: str, timeout: float = 60.0) -> Answer:
        """Run a line of shell there, in ``sh`` whatever the user's own shell is."""
        script = marked(command).replace("'", "'\\''")
        answer = call(["ssh", *self._options, self._host, f"sh -c '{script}'"], timeout, self._host)
        if answer.code == _OWN_FAILURE and (error := self._explain(answer)):
            raise error
        return unmarked(answer, f"the connection to {self._host} was lost")

    def push(self, file: Path, target: str) -> None:
        """Copy a file there."""
        limit = 30 + _SECONDS_PER_MB * file.stat().st_size / 1e6
        words = ["scp", "-q", *self._options, str(file.resolve()), f"{self._host}:{target}"]
        answer = call(words, limit, self._host)
        if answer.code == 0:
            return
        if "No space left" in answer.err or "Failure" in answer.err:
            free = free_bytes(self)
            room = "" if free is None else f", which has {free / 1e6:.0f} MB free"
            raise DeviceError(
                f"cannot write {file.name} ({file.stat().st_size / 1e6:.0f} MB) on {self._host}{room}",
                hint="free some space there, and run the same command again",
            )
        raise self._explain(answer) or Lost(
            f"cannot copy {file.name} to {self._host}: {answer.last}",
            hint="connect it, and run the same command again",
        )

    def _explain(self, answer: Answer) -> DeviceError | None:
        for words, problem, hint in _CAUSES:
            if words in answer.err:
                host = self._host
                return DeviceError(problem.format(host=host), hint=hint.format(host=host), problems=[answer.last])
        return None
