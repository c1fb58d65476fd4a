"""Android devices through the ``adb`` tool."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from edgetune.devices.transport import Answer, Over, call, marked, unmarked
from edgetune.errors import DeviceError

PARENT = "/data/local/tmp"
#: What `adb devices` says of a device that cannot be used → what to do.
_STATES = {
    "unauthorized": "unlock the phone and confirm 'Allow USB debugging', then run the same command again",
    "authorizing": "wait a moment, confirm 'Allow USB debugging' on the phone, then run the same command again",
    "offline": "unplug it and plug it in again; if that does not help: adb kill-server",
    "recovery": "start Android on it: adb reboot",
    "sideload": "start Android on it: adb reboot",
    "bootloader": "start Android on it: fastboot reboot",
    "no permissions": "let your user read USB devices (udev rules, group plugdev), then: adb kill-server",
}
_CONNECT = "switch on USB debugging in the phone's developer options, plug it in, and look at: adb devices"
#: Seconds for each megabyte that is pushed, at least: USB 2 on a poor cable.
_SECONDS_PER_MB = 0.5


class AdbTransport:
    """One Android device.

    Args:
        serial: its serial number; default: the only one that is connected.

    Raises:
        DeviceError: adb is missing, or there is no such device, several, or one that cannot be used.
    """

    over: Over = "adb"
    context = "adb shell (an app may be slower than what a shell starts)"
    parent = PARENT

    def __init__(self, serial: str | None = None) -> None:
        self._adb = shutil.which("adb") or "adb"
        self._serial = choose(list(self._devices()), serial)

    @property
    def where(self) -> str:
        """The serial number."""
        return self._serial

    def _devices(self) -> Iterator[tuple[str, str]]:
        answer = call([self._adb, "devices"], 30.0, "adb")  # the first call starts adb's server
        if answer.code != 0:
            raise DeviceError(f"adb does not work: {answer.last}", hint="adb kill-server")
        lines = answer.out.partition("List of devices attached")[2].splitlines()
        for line in lines:
            serial, _, state = line.strip().partition("\t")
            if state:
                yield serial, next((known for known in _STATES if state.startswith(known)), state)

    def run(self, command: str, timeout: float = 60.0) -> Answer:
        """Run a line of shell on the device; its exit code is printed there, since old adb loses it."""
        words = [self._adb, "-s", self._serial, "shell", marked(command)]
        answer = call(words, timeout, f"the device {self._serial}")
        return unmarked(_without_carriage_returns(answer), f"the connection to {self._serial} was lost")

    def push(self, file: Path, target: str) -> None:
        """Copy a file to the device."""
        limit = 30 + _SECONDS_PER_MB * file.stat().st_size / 1e6
        answer = call([self._adb, "-s", self._serial, "push", str(file), target], limit, f"the device {self._serial}")
        words = answer.err + answer.out
        if answer.code == 0:
            return
        if "No space left" in words:
            raise DeviceError(
                f"no space left on {self._serial} for {file.name} ({file.stat().st_size / 1e6:.0f} MB)",
                hint="free some space on the device, and run the same command again",
            )
        raise DeviceError(
            f"cannot copy {file.name} to {self._serial}: {answer.last}",
            hint="connect it, and run the same command again",
        )


def choose(devices: list[tuple[str, str]], serial: str | None) -> str:
    """The serial number of the device to use.

    Args:
        devices: serial number and state of those that are connected.
        serial: the one wanted, if any.

    Raises:
        DeviceError: none, several, or one that cannot be used.
    """
    states = dict(devices)
    if serial is None and len(states) > 1:
        found = [f"{name} ({state})" for name, state in devices]
        raise DeviceError(f"{len(states)} devices are connected", hint=f"choose one with --serial: {', '.join(found)}")
    name = serial or next(iter(states), None)
    if name is None:
        raise DeviceError("no Android device is connected", hint=_CONNECT)
    if name not in states:
        others = f"; connected: {', '.join(states)}" if states else ""
        raise DeviceError(f"no device '{name}' is connected{others}", hint=_CONNECT)
    if states[name] != "device":
        raise DeviceError(
            f"the device {name} is {states[name]}", hint=_STATES.get(states[name], f"adb -s {name} get-state")
        )
    return name


def _without_carriage_returns(answer: Answer) -> Answer:
    """Old devices end lines as terminals do."""
    return Answer(answer.code, answer.out.replace("\r\n", "\n"), answer.err)
