"""A device as data: what the measured, constrained and projected figures need to know of it."""

from __future__ import annotations

import difflib
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edgetune.errors import DeviceError
from edgetune.yamlfile import explain, read_yaml

SHIPPED = "devices.yaml"
DeviceClass = Literal[
    "a72-no-dotprod",
    "a76-dotprod",
    "a78-dotprod",
    "x1c-dotprod",
    "a720-many-core",
    "arm-i8mm",
    "x86-avx2",
    "npu-hexagon",
    "gpu-apple",
]


class Device(BaseModel):
    """One device. Bandwidth is the theoretical one of its memory, bus width times transfers a second."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    title: str
    """For people: ``Raspberry Pi 5 (8 GB)``."""
    system: Literal["android", "ios", "linux"]
    soc: str
    device_class: DeviceClass
    """Devices of a class use their bandwidth alike: see ``edgetune.devices.projection``."""
    bandwidth_gb_s: Annotated[float, Field(gt=0)]
    memory_gb: Annotated[float, Field(gt=0)]
    cores: Annotated[int, Field(ge=1)]
    big_cores: tuple[Annotated[int, Field(ge=0)], ...]
    """Indices of the fast cores, as ``taskset`` counts them; empty: found on the device by their highest frequency."""
    threads: Annotated[int, Field(ge=1)]
    """For decoding: those of published measurements, else as many as big cores."""
    reports: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    """What it says of its SoC (``ro.soc.model``) or model: one of these is in it; empty: not known, so not checked."""
    sources: Annotated[tuple[str, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _cores_exist(self) -> Self:
        if any(core >= self.cores for core in self.big_cores) or len(set(self.big_cores)) != len(self.big_cores):
            raise ValueError(f"big_cores names each of the cores 0 to {self.cores - 1} once at most")
        return self

    @property
    def memory_bytes(self) -> int:
        """Of the whole device; memory is sold in powers of two."""
        return int(self.memory_gb * 2**30)


class _DeviceFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    devices: tuple[Device, ...]


@cache
def shipped_devices() -> tuple[Device, ...]:
    """The devices that come with edgetune, by name."""
    text = (resources.files("edgetune.devices") / SHIPPED).read_text(encoding="utf-8")
    return tuple(sorted(_DeviceFile.model_validate(yaml.safe_load(text)).devices, key=lambda device: device.name))


def find_device(name: str) -> Device:
    """The shipped device of that name, or the one that a YAML file describes.

    Args:
        name: ``raspberry-pi-5``, or the path of a ``.yaml`` file with the fields of :class:`Device`.

    Raises:
        DeviceError: there is none, or the file is invalid.
    """
    if name.endswith((".yaml", ".yml")):
        return _read(Path(name))
    known = {device.name: device for device in shipped_devices()}
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        guess = f"; did you mean '{near[0]}'?" if near else ""
        raise DeviceError(f"no device called '{name}'{guess}", hint="edgetune device list")
    return known[name]


def _read(path: Path) -> Device:
    values = read_yaml(path, "device", DeviceError, hint="edgetune device list")
    shown = "edgetune device list --json shows the fields"
    if not isinstance(values, dict):
        raise DeviceError(f"{path} does not describe a device: it holds no keys such as name and soc", hint=shown)
    try:
        return Device.model_validate(values)
    except ValidationError as error:
        problems = [explain(one, Device.model_fields, "device") for one in error.errors()]
        raise DeviceError(f"{path} does not describe a device", hint=shown, problems=problems) from error
