"""Is what answers the device that was named? Compared by what it says of its SoC and its model."""

from __future__ import annotations

from edgetune.devices.device import Device
from edgetune.devices.report import DeviceState
from edgetune.errors import TargetError


def doubts(device: Device | None, state: DeviceState, *, held: bool) -> tuple[str, ...]:
    """What speaks against it, for the report; nothing where it says what the device is known to say.

    Args:
        device: as named; None: nothing was.
        state: what the device that answers says of itself.
        held: to a target, whose verdicts would be those of another device.

    Raises:
        TargetError: it is another device, and held to a target.
    """
    if device is None:
        return ()
    said = ", ".join(filter(None, [state.model, state.soc]))
    unchecked = f"whether it is {device.name} was not checked"
    if not device.reports:
        return (f"{unchecked}: what such a device says of itself is not known",)
    if not said:
        return (f"{unchecked}: it says neither its model nor its SoC",)
    if any(words.casefold() in said.casefold() for words in device.reports):
        return ()
    expected = " or ".join(device.reports)
    if held:
        raise TargetError(
            f"what answers is not {device.name}: it says '{said}', without {expected}",
            hint="name the device it is (edgetune device list) with a target of it, or leave out --target",
        )
    return (f"it is not {device.name}: it says '{said}', without {expected}",)
