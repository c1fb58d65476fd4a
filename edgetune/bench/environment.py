"""What the machine is, read from the kernel's own files; unknown things are None, not guessed."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from edgetune.bench.company import Company
from edgetune.bench.schema import Environment
from edgetune.bench.yardstick import Yardstick
from edgetune.machine import this_machine
from edgetune.runtimes.threads import allowed_cpus, cgroup_quota

#: Packages whose version moves the figures.
PACKAGES = (
    "edgetune",
    "llama-cpp-python",
    "onnxruntime",
    "onnxruntime-genai",
    "tokenizers",
    "torch",
    "transformers",
    "numpy",
    "jinja2",
)
#: What of them runs a model, by runtime.
_RUNNING = {
    "llama.cpp": ("llama-cpp-python",),
    "onnxruntime": ("onnxruntime",),
    "onnxruntime-genai": ("onnxruntime-genai", "onnxruntime"),
    "torch": ("torch", "transformers"),
}
#: Where the processor's name is, by architecture: x86 in cpuinfo, boards in the device tree.
_CPU_KEYS = ("model name", "Model", "Hardware", "cpu model")
_DEVICE_TREE = Path("/proc/device-tree/model")
_GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def environment(features: str) -> Environment:
    """Describe this machine.

    Args:
        features: the runtime's own list of what it uses of the processor.
    """
    return Environment(
        cpu=_cpu_name(),
        architecture=platform.machine(),
        cpu_features=this_machine().features,
        features=features,
        virtual=_is_virtual(),
        logical_cpus=os.cpu_count() or 1,
        usable_cpus=len(allowed_cpus()),
        cgroup_cpus=cgroup_quota(),
        cgroup_memory_bytes=this_machine().memory_limit,
        governor=_read(_GOVERNOR),
        memory_bytes=_memory(),
        load_average=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )


def is_still(stored: Environment, runtime: str) -> bool:
    """Whether this is the processor that a report is of, with the same edgetune and the same packages of a runtime.

    What a runtime of somebody else needs is not known: of that only the processor and edgetune are compared.
    """
    packages = ("edgetune", *_RUNNING.get(runtime, ()))
    return stored.cpu == _cpu_name() and all(stored.versions.get(name) == _version(name) for name in packages)


def in_company(machine: Environment, company: Company, yardstick: Yardstick) -> Environment:
    """The same with how the machine was while something was measured on it."""
    return machine.model_copy(
        update={
            "steal_share": company.steal(),
            "others_share": company.share(),
            "yardstick": tuple(yardstick.speeds),
        }
    )


def _cpu_name() -> str:
    fields: dict[str, str] = {}
    for line in (_read(Path("/proc/cpuinfo")) or "").splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip(), value.strip())
    named = next((fields[key] for key in _CPU_KEYS if fields.get(key)), None)
    board = (_read(_DEVICE_TREE) or "").strip("\0")
    return ", ".join(part for part in (named, board) if part) or platform.processor() or "unknown"


def _is_virtual() -> bool | None:
    """By the processor's own flag; None where it has no such flag to look for (Arm)."""
    text = _read(Path("/proc/cpuinfo")) or ""
    flags = [line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")]
    return "hypervisor" in flags[0] if flags else None


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not every system has them
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
