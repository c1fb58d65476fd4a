"""Measuring over ssh, against a real sshd on this host with keys and settings of the test."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from fakephone import write_runner

from edgetune.devices.measuring import Plan, measure
from edgetune.devices.ssh import SshTransport
from edgetune.devices.transport import Lost
from edgetune.errors import DeviceError

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
needs_sshd = pytest.mark.skipif(
    SSHD is None or shutil.which("ssh") is None or shutil.which("ssh-keygen") is None,
    reason="openssh-server or openssh-client is not installed",
)


class Server:
    """An sshd on a high port, for this user alone."""

    def __init__(self, folder: Path) -> None:
        folder.chmod(0o700)
        self.folder = folder
        for name in ("host", "other", "user", "stranger"):
            self._key(name)
        (folder / "authorized").write_text((folder / "user.pub").read_text())
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.process = self._start("host")
        self.known("host")
        self.config("user")

    def _key(self, name: str) -> None:
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name)]
        subprocess.run(words, check=True, capture_output=True)

    def _start(self, key: str) -> subprocess.Popen[bytes]:
        settings = self.folder / "sshd_config"
        settings.write_text(
            f"Port {self.port}\nListenAddress 127.0.0.1\nHostKey {self.folder / key}\nPidFile none\nStrictModes no\n"
            f"AuthorizedKeysFile {self.folder / 'authorized'}\nPasswordAuthentication no\nUsePAM no\n"
            "KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # where sshd wants to be locked into, though nothing is in it
        log = (self.folder / "log").open("ab")
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", str(settings)], stderr=log)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert process.poll() is None, (self.folder / "log").read_text()
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return process
            time.sleep(0.05)
        raise AssertionError("sshd does not listen")

    def known(self, key: str | None) -> None:
        """Let the client know this host key, or none."""
        text = f"[127.0.0.1]:{self.port} {(self.folder / f'{key}.pub').read_text()}" if key else ""
        (self.folder / "known_hosts").write_text(text)

    def config(self, key: str) -> Path:
        """The client's settings, with that key."""
        file = self.folder / "ssh_config"
        file.write_text(
            f"Host *\n  IdentityFile {self.folder / key}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.folder / 'known_hosts'}\n  GlobalKnownHostsFile /dev/null\n"
        )
        return file

    def open(self) -> SshTransport:
        return SshTransport(f"127.0.0.1:{self.port}", self.folder / "ssh_config")

    def cut(self) -> None:
        """End every connection, and what runs in it; the server goes on."""
        children = _children(self.process.pid)
        for process in [*children, *(below for one in children for below in _below(one))]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def _children(parent: int) -> list[int]:
    """Processes that it started."""
    stats = [(int(file.parent.name), file) for file in Path("/proc").glob("[0-9]*/stat")]
    found = []
    for process, file in stats:
        with suppress(OSError):
            if int(file.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(process)
    return found


def _below(parent: int) -> list[int]:
    """Those, and all that they started."""
    return [process for child in _children(parent) for process in (child, *_below(child))]


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    server = Server(tmp_path_factory.mktemp("sshd"))
    yield server
    server.stop()


@pytest.fixture
def server(running):
    running.known("host")
    running.config("user")
    return running


@needs_sshd
def test_a_board_is_measured_and_left_as_it_was(server, tiny, tmp_path, monkeypatch):
    runner = write_runner(tmp_path / "runner" / "llama-bench", tmp_path / "runner.log", body="sleep 2")  # to be seen
    monkeypatch.setattr(SshTransport, "parent", str(tmp_path))
    report = measure(tiny, server.open(), Plan(runner), None)
    found = report.measured
    assert report.how == "measured on a device"
    assert (found.over, found.where, found.context) == ("ssh", "127.0.0.1", "ssh session")
    assert found.before.memory_total > 0
    assert found.watch.peak_rss > 100_000
    assert [figure.name for figure in report.figures] == ["prefill_tps", "decode_tps"]
    assert list(tmp_path.glob("edgetune-*")) == []


@needs_sshd
def test_exit_codes_and_quotes_arrive(server):
    transport = server.open()
    assert transport.run('echo "it\'s"; exit 7').code == 7
    assert transport.run("echo \"it's\" '$HOME'").out == "it's $HOME\n"
    assert transport.run("false").code == 1


@needs_sshd
@pytest.mark.parametrize(
    ("known", "key", "message", "hint"),
    [
        (None, "user", "the host key of .* is not known", "fingerprint"),
        ("other", "user", "is not the one that is known here", "ssh-keygen -R"),
        ("host", "stranger", "refuses the login", "ssh-copy-id"),
    ],
)
def test_what_ssh_refuses_is_said(server, known, key, message, hint):
    server.known(known)
    server.config(key)
    with pytest.raises(DeviceError, match=message) as caught:
        server.open()
    assert hint in caught.value.hint


@needs_sshd
def test_a_connection_that_is_cut(server, tiny, tmp_path, monkeypatch):
    """In the middle of a measurement: that is said, and over a new connection the board is left as it was."""
    monkeypatch.setattr(SshTransport, "parent", str(tmp_path))
    runs = tmp_path / "runs"
    slow = write_runner(tmp_path / "slow" / "llama-bench", tmp_path / "slow.log", body=f"touch {runs}; sleep 60")

    def cut():
        while not runs.exists() and not ended.wait(0.05):
            pass
        server.cut()

    ended = threading.Event()
    cutting = threading.Thread(target=cut)
    cutting.start()
    try:
        with pytest.raises(Lost, match=r"connection to 127\.0\.0\.1 was lost"):
            measure(tiny, server.open(), Plan(slow), None)
    finally:
        ended.set()
        cutting.join()
    assert runs.exists(), "it was measuring"
    assert list(tmp_path.glob("edgetune-*")) == []


@needs_sshd
def test_nobody_listens(server):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(DeviceError, match="no SSH server listens there"):
        SshTransport(f"127.0.0.1:{port}", server.folder / "ssh_config")


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "", "$(x)"])
def test_what_is_no_host_is_refused(host):
    with pytest.raises(DeviceError, match="is not a host"):
        SshTransport(host)
