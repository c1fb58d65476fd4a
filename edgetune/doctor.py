"""What is installed, what this machine can do, and what each missing extra would add.

Works in a broken installation too: what cannot be loaded is reported, not raised.
"""

from __future__ import annotations

import importlib.util
import platform
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib import metadata
from typing import Any, TypeVar

from edgetune import __version__
from edgetune.errors import EdgetuneError
from edgetune.machine import Machine, this_machine

T = TypeVar("T")

_DISTRIBUTION = "edgetune"
_GROUPS = ("edgetune.exporters", "edgetune.runtimes")

#: What an extra is for. Which extras exist, and what they install, comes from the installed metadata.
PURPOSES = {
    "train": "fine-tune models with torch, on this machine's processor or accelerator",
    "gguf": "write GGUF files and run them with llama.cpp",
    "onnx": "run ONNX folders with ONNX Runtime",
    "onnx-export": "write ONNX folders (with train)",
    "eval": "score answers with ROUGE-L and chrF",
    "images": "open images, to train on them and to classify them (train brings it too, through matplotlib)",
    "report": "draw the pictures of edgetune report (train brings them too)",
    "smart-home": "prepare the data of the smart-home recipe",
    "sweep": "choose settings by many trainings (with train)",
    "tensorboard": "write TensorBoard logs while training",
    "all": "everything above",
    "dev": "work on edgetune itself",
}


@dataclass(frozen=True)
class Extra:
    """An optional part of edgetune: what it installs, and which of that is here."""

    name: str
    purpose: str
    installed: dict[str, str]
    missing: tuple[str, ...]

    @property
    def command(self) -> str:
        """What installs it."""
        return f"pip install '{_DISTRIBUTION}[{self.name}]'"


@dataclass(frozen=True)
class Accelerator:
    """A device that torch can train on. Memory in bytes."""

    device: str
    name: str
    memory: int | None


@dataclass(frozen=True)
class Diagnosis:
    """Everything `edgetune doctor` says.

    Attributes:
        plugins: entry-point group → name → "ok", what it lacks, or why it does not load.
        cache_bytes: None when the cache folder does not exist yet.
        notes: what could be better, in words.
        problems: what is broken, in words.
    """

    edgetune: str
    machine: Machine
    extras: tuple[Extra, ...]
    accelerators: tuple[Accelerator, ...]
    plugins: dict[str, dict[str, str]]
    cache_folder: str
    cache_bytes: int | None
    notes: tuple[str, ...]
    problems: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        return asdict(self) | {"extras": [asdict(extra) | {"command": extra.command} for extra in self.extras]}


def examine() -> Diagnosis:
    """Look at the installation and the machine."""
    problems: list[str] = []
    plugins = {group: _plugins(group, problems) for group in _GROUPS}
    nowhere: tuple[str, int | None] = ("unknown", None)
    folder, size = _attempt(_cache, nowhere, "edgetune.models", problems)
    return Diagnosis(
        edgetune=__version__,
        machine=this_machine(),
        extras=_attempt(installed_extras, (), "the metadata of edgetune", problems),
        accelerators=_attempt(_accelerators, (), "torch", problems) if _has("torch") else (),
        plugins=plugins,
        cache_folder=folder,
        cache_bytes=size,
        notes=_attempt(_slow_llama, (), "llama_cpp", problems) if _has("llama_cpp") else (),
        problems=tuple(problems),
    )


def _slow_llama() -> tuple[str, ...]:
    """What is to be said of how llama.cpp was compiled."""
    from edgetune.runtimes.llama_library import broken_amx

    if not broken_amx():
        return ()
    note = "llama.cpp was compiled with AMX, which crashes when some compilers made it, so it stays unused"
    return (f"{note}; docs/guide/install.md says how to compile it without",)


def _attempt(look: Callable[[], T], otherwise: T, what: str, problems: list[str]) -> T:
    """Call ``look``; a broken package can raise anything, so anything becomes a problem in words."""
    try:
        return look()
    except Exception as error:  # noqa: BLE001 - a doctor must outlive every illness
        problems.append(f"{what} does not load: {type(error).__name__}: {error}")
        return otherwise


def installed_extras(distribution: str = _DISTRIBUTION) -> tuple[Extra, ...]:
    """The extras that the installed distribution declares, in its order.

    Raises:
        importlib.metadata.PackageNotFoundError: the distribution is not installed.
    """
    declared = metadata.metadata(distribution).get_all("Provides-Extra") or []
    wanted: dict[str, list[str]] = {extra: [] for extra in declared}
    for line in metadata.requires(distribution) or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)", marker)
        if extra and extra[1] in wanted and _applies(marker):
            wanted[extra[1]].append(requirement.strip())
    return tuple(_extra(name, _packages(name, wanted, distribution)) for name in declared)


def _applies(marker: str) -> bool:
    """Whether the platform part of a marker holds here; other parts are taken to hold."""
    here = {"platform_system": platform.system(), "sys_platform": sys.platform}
    tests = re.findall(r"(platform_system|sys_platform)\s*(==|!=)\s*['\"]([^'\"]+)", marker)
    return all((here[name] == value) == (operator == "==") for name, operator, value in tests)


def _packages(extra: str, wanted: Mapping[str, Iterable[str]], distribution: str) -> list[str]:
    """Names of the packages of an extra; one that is made of other extras (``all``) gathers theirs."""
    names: dict[str, None] = {}
    for requirement in wanted[extra]:
        name, inner = re.match(r"([\w.-]+)\s*(?:\[([^\]]*)\])?", requirement).groups()  # type: ignore[union-attr]
        if name != distribution:
            names[name] = None
        for other in inner.split(",") if name == distribution and inner else ():
            names.update(dict.fromkeys(_packages(other.strip(), wanted, distribution)))
    return list(names)


def _extra(name: str, packages: Iterable[str]) -> Extra:
    versions = {package: _version(package) for package in packages}
    return Extra(
        name=name,
        purpose=PURPOSES.get(name, ""),
        installed={package: version for package, version in versions.items() if version},
        missing=tuple(package for package, version in versions.items() if not version),
    )


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _plugins(group: str, problems: list[str]) -> dict[str, str]:
    """Every plug-in of a group, loaded once to see whether it can be."""
    states = {}
    for point in sorted(metadata.entry_points(group=group), key=lambda point: point.name):
        before = len(problems)
        what = f"{group.split('.')[1].rstrip('s')} '{point.name}'"
        state = _attempt(partial(_state, point), "", what, problems)
        states[point.name] = state if len(problems) == before else problems[-1]
    return states


def _state(point: metadata.EntryPoint) -> str:
    """``ok``, or what a plug-in that loads cannot work without."""
    from edgetune.exporters import NeedsMore

    plugin = point.load()
    if not (isinstance(plugin, type) and issubclass(plugin, NeedsMore)):
        return "ok"
    try:
        plugin().require_ready()
    except EdgetuneError as error:
        return f"{error.message} ({error.hint})" if error.hint else error.message
    return "ok"


def _has(package: str) -> bool:
    """Whether ``package`` can be found, without importing it."""
    return importlib.util.find_spec(package) is not None


def _accelerators() -> tuple[Accelerator, ...]:
    """Devices beside the processor that the installed torch can use."""
    import torch

    found = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        found.append(Accelerator(f"cuda:{index}", properties.name, properties.total_memory))
    if torch.backends.mps.is_available():
        found.append(Accelerator("mps", "Apple GPU", None))
    if torch.xpu.is_available():
        found += [Accelerator(f"xpu:{i}", torch.xpu.get_device_name(i), None) for i in range(torch.xpu.device_count())]
    return tuple(found)


def _cache() -> tuple[str, int | None]:
    """The cache folder and its size."""
    from edgetune.models import cache_folder

    folder = cache_folder()
    if not folder.is_dir():
        return str(folder), None
    return str(folder), sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def to_text(diagnosis: Diagnosis) -> str:
    """The diagnosis for people."""
    lines = [*_machine_lines(diagnosis), "", "Extras"]
    for extra in diagnosis.extras:
        lines += _extra_lines(extra)
    for group, states in diagnosis.plugins.items():
        lines += ["", group.split(".")[1].capitalize()]
        lines += [f"  {name}: {state}" for name, state in states.items()] or ["  none"]
    lines += [line for note in diagnosis.notes for line in ("", f"note: {note}")]
    return "\n".join(lines)


def _machine_lines(diagnosis: Diagnosis) -> list[str]:
    machine = diagnosis.machine
    quota = f", quota {machine.quota:g}" if machine.quota else ""
    limit = f", limited to {_gb(machine.memory_limit)}" if machine.memory_limit else ""
    devices = [f"{a.device} ({a.name}{f', {_gb(a.memory)}' if a.memory else ''})" for a in diagnosis.accelerators]
    return [
        f"edgetune     {diagnosis.edgetune}",
        f"Python       {machine.python}",
        f"system       {machine.system}",
        f"processor    {machine.processor} ({machine.architecture})",
        f"features     {', '.join(machine.features) or 'none known'}",
        f"cores        {machine.cores}, usable {machine.usable_cores}{quota}; runtimes get {machine.threads} threads",
        f"memory       {_gb(machine.memory_total)}, available {_gb(machine.memory_available)}{limit}",
        f"disk         {_gb(machine.disk_free)} free here",
        f"accelerators {', '.join(devices) or 'none that torch can use'}",
        f"cache        {diagnosis.cache_folder}: {_gb(diagnosis.cache_bytes) if diagnosis.cache_bytes else 'empty'}",
    ]


def _extra_lines(extra: Extra) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in extra.installed.items())
    if not extra.missing:
        return [f"  {extra.name}: installed ({versions})"]
    lines = [f"  {extra.name}: not complete, lacks {', '.join(extra.missing)}", f"    would add: {extra.purpose}"]
    return [*lines, f"    {extra.command}"]


def _gb(size: int | None) -> str:
    return "unknown" if size is None else f"{size / 1e9:.1f} GB"
