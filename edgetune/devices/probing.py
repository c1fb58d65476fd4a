"""The state of a device in one call: what it is, how warm, how full, how fast its clocks run."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgetune.devices.report import DeviceState
from edgetune.devices.transport import Transport
from edgetune.errors import DeviceError

_CPU = "/sys/devices/system/cpu"
#: Section → shell. What a system does not have prints nothing.
_SECTIONS = {
    "soc": "getprop ro.soc.model; getprop ro.board.platform",
    "model": "getprop ro.product.model; tr -d '\\0' < /proc/device-tree/model; echo",
    "system": "getprop ro.build.version.release; uname -srm",
    "cpu": "grep -m1 '^model name' /proc/cpuinfo; grep -m1 -E '^(Features|flags)' /proc/cpuinfo",
    "cores": f"ls -d {_CPU}/cpu[0-9]* | wc -l",
    "highest": f"for f in {_CPU}/cpu[0-9]*/cpufreq/cpuinfo_max_freq; do echo $f $(cat $f); done",
    "clock": f"for f in {_CPU}/cpu[0-9]*/cpufreq/scaling_cur_freq; do echo $f $(cat $f); done",
    "governor": f"cat {_CPU}/cpu0/cpufreq/scaling_governor",
    "memory": "cat /proc/meminfo",
    "thermal": "dumpsys thermalservice",
    "zones": "for z in /sys/class/thermal/thermal_zone*; do echo $(cat $z/type) $(cat $z/temp); done",
    "throttled": "vcgencmd get_throttled",
    "battery": "dumpsys battery",
}
_MARK = "== edgetune "
#: Android's thermal statuses, by number.
THERMAL = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")


def probe(transport: Transport) -> DeviceState:
    """Ask the device for its state.

    Raises:
        DeviceError: it cannot be reached, or has no /proc.
    """
    lines = [f"echo '{_MARK}{name}'; {{ {command}; }} 2>/dev/null" for name, command in _SECTIONS.items()]
    return parse(transport.run("\n".join(lines), timeout=60.0).out)


def parse(text: str) -> DeviceState:
    """The state from what the shell printed.

    Raises:
        DeviceError: nothing in it is what a Linux kernel says.
    """
    parts: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line.startswith(_MARK):
            parts[line.removeprefix(_MARK).strip()] = []
        elif parts and line.strip():
            parts[next(reversed(parts))].append(line.strip())
    memory = _keyed(parts.get("memory", ()))
    if "MemTotal" not in memory:
        raise DeviceError("the device has no /proc/meminfo: it is no Linux or Android shell", hint="adb shell")
    battery = _keyed(parts.get("battery", ()))
    return DeviceState(
        soc=_first(parts.get("soc")),
        model=_first(parts.get("model")),
        system=", ".join(parts.get("system", ())) or None,
        cpu=_cpu(parts.get("cpu", ())),
        features=_features(parts.get("cpu", ())),
        cores=int(_first(parts.get("cores")) or 0) or None,
        highest_khz=_clocks(parts.get("highest", ())),
        clock_khz=_clocks(parts.get("clock", ())),
        governor=_first(parts.get("governor")),
        memory_total=_kilobytes(memory.get("MemTotal")),
        memory_available=_kilobytes(memory.get("MemAvailable")),
        thermal_status=_thermal(parts.get("thermal", ()), parts.get("throttled", ())),
        temperatures_c=_zones(parts.get("zones", ())),
        battery_percent=_whole(battery.get("level")),
        battery_c=_tenths(battery.get("temperature")),
        on_power=_on_power(battery),
    )


def big_cores(state: DeviceState) -> tuple[int, ...]:
    """The fast cores: all whose highest clock is above that of the slowest kind; all where there is one kind."""
    clocks = state.highest_khz
    if not clocks:
        return tuple(range(state.cores or 1))
    slowest = min(clocks.values())
    fast = tuple(sorted(core for core, clock in clocks.items() if clock > slowest))
    return fast or tuple(sorted(clocks))


def _first(lines: list[str] | None) -> str | None:
    return lines[0] if lines else None


def _keyed(lines: list[str] | tuple[()]) -> Mapping[str, str]:
    """``key: value`` lines."""
    return {key.strip(): value.strip() for key, found, value in (line.partition(":") for line in lines) if found}


def _cpu(lines: list[str] | tuple[()]) -> str | None:
    return _keyed(lines).get("model name")


def _features(lines: list[str] | tuple[()]) -> str | None:
    """Of the processor's features, those that decide how fast a small model runs."""
    keyed = _keyed(lines)
    words = (keyed.get("Features") or keyed.get("flags") or "").split()
    known = ("asimddp", "i8mm", "bf16", "sve", "sve2", "asimdhp", "avx2", "avx512f", "avx512_vnni", "avx_vnni")
    return " ".join(word for word in known if word in words) or None


def _clocks(lines: list[str] | tuple[()]) -> dict[int, int]:
    """Core → kHz from ``…/cpu3/cpufreq/… 2400000``."""
    found = (re.fullmatch(r"\S*/cpu(\d+)/\S+ (\d+)", line) for line in lines)
    return {int(match[1]): int(match[2]) for match in found if match}


def _kilobytes(value: str | None) -> int | None:
    return int(value.split()[0]) * 1024 if value else None


def _whole(value: str | None) -> int | None:
    return int(value) if value and value.lstrip("-").isdecimal() else None


def _tenths(value: str | None) -> float | None:
    whole = _whole(value)
    return None if whole is None else whole / 10


def _on_power(battery: Mapping[str, str]) -> bool | None:
    found = [value == "true" for key, value in battery.items() if key.endswith(" powered")]
    return any(found) if found else None


def _thermal(thermal: list[str] | tuple[()], throttled: list[str] | tuple[()]) -> str | None:
    """Android's word, or a Raspberry Pi's: ``throttled=0x0`` is none; other bits are given as they are."""
    for line in thermal:
        if match := re.fullmatch(r"Thermal Status: (\d+)", line):
            number = int(match[1])
            return THERMAL[number] if number < len(THERMAL) else str(number)
    for line in throttled:
        if match := re.fullmatch(r"throttled=(0x[0-9a-fA-F]+)", line):
            return "none" if int(match[1], 16) == 0 else f"throttled={match[1]}"
    return None


def _zones(lines: list[str] | tuple[()]) -> dict[str, float]:
    """Zone → °C; kernels give thousandths, some phones whole degrees. What is neither, such as tenths, is left out."""
    found = {}
    for line in lines:
        name, _, value = line.rpartition(" ")
        if name and value.lstrip("-").isdecimal():
            number = int(value)
            found[name] = number / 1000 if abs(number) >= 1000 else float(number)
    return {name: value for name, value in found.items() if 0 < value < 150}
