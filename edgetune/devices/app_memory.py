"""How much of a device's memory an app may use, with the reason. Assumptions, and called so."""

from __future__ import annotations

from dataclasses import dataclass

from edgetune.devices.device import Device

_ANDROID = (
    "an assumption: Android sets native memory no fixed limit, but its low-memory killer ends apps under pressure, and "
    "the system and its services hold about the other half"
)
_IOS = (
    "an assumption: iOS ends an app at about half of the memory (limits that others measured: 50 to 68 % by model, "
    "Stack Overflow question 5887248)"
)
_LINUX = "an assumption: a board that runs one application; a desktop takes more"
_SHARES = {"android": (0.5, _ANDROID), "ios": (0.5, _IOS), "linux": (0.8, _LINUX)}


@dataclass(frozen=True)
class AppMemory:
    """Bytes an app may use, as a share of the device's, and why."""

    bytes: int
    share: float
    reason: str


def app_memory(device: Device) -> AppMemory:
    """What an app may use on a device."""
    share, reason = _SHARES[device.system]
    return AppMemory(int(device.memory_bytes * share), share, reason)
