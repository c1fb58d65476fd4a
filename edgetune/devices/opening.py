"""From the words of a command line to a transport, devices and a budget."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgetune.devices.device import Device, find_device, shipped_devices
from edgetune.devices.footprint import Footprint
from edgetune.devices.memory_fit import Budget, Fit, fit, fit_within
from edgetune.devices.rearranging import kinds_here
from edgetune.devices.transport import LocalTransport, Over, Transport
from edgetune.errors import DeviceError, WrongUsage


def open_transport(over: Over, serial: str | None, host: str | None, config: Path | None) -> Transport:
    """The way to a device.

    Raises:
        DeviceError: it cannot be reached, or a word is missing or belongs to another way.
    """
    if host and over != "ssh":
        raise DeviceError("--host belongs to --over ssh", hint="edgetune device measure ARTIFACT --over ssh --runner R")
    if serial and over != "adb":
        raise DeviceError(
            "--serial belongs to --over adb", hint="edgetune device measure ARTIFACT --over adb --runner R"
        )
    if over == "adb":
        from edgetune.devices.adb import AdbTransport

        return AdbTransport(serial)
    if over == "ssh":
        from edgetune.devices.ssh import SshTransport

        if not host:
            raise DeviceError("--over ssh needs --host", hint="give --host user@name, or user@name:port")
        return SshTransport(host, config)
    return LocalTransport()


def chosen_devices(names: Sequence[str]) -> tuple[Device, ...]:
    """Those named, else all that ship.

    Raises:
        EdgetuneError: there is no such device.
    """
    return tuple(find_device(name) for name in names) or shipped_devices()


def fit_all(
    model: Footprint, names: Sequence[str], context: int, cache_type: str | None, memory_mb: float | None
) -> list[Fit]:
    """Does it fit: within a budget where one is given, else on each device named, else on all that ship.

    Raises:
        DeviceError: there is no such device.
        WrongUsage: a device and a budget are given.
    """
    if memory_mb is None:
        return [fit(model, device, context, cache_type) for device in chosen_devices(names)]
    if names:
        raise WrongUsage(
            "--memory is a budget in place of a device's, so it does not go with --device",
            hint="edgetune fit ARTIFACT --memory MB, or edgetune fit ARTIFACT --device NAME",
        )
    reason = "given with --memory, on a processor like this machine's"
    return [fit_within(model, Budget("given", int(memory_mb * 1e6), reason, kinds_here()), context, cache_type)]
