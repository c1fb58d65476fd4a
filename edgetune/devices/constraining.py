"""Running an artifact on this host within the cores and the memory that a device's app would have.

It answers one question honestly: is the memory enough? The speed is this host's: neither the clock nor the memory's
bandwidth is limited, and the report says so. (Linux can throttle the bandwidth of some servers, with resctrl; it
needs root and such a processor, and is not done.)
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from edgetune import __version__, console
from edgetune.artifact import Artifact
from edgetune.bench.pagecache import drop
from edgetune.bench.subjects import artifact_subject
from edgetune.devices.app_memory import app_memory
from edgetune.devices.cgroup import MemoryLimit, memory_limit
from edgetune.devices.device import Device
from edgetune.devices.footprint import read_footprint
from edgetune.devices.llama_bench import Load, figures
from edgetune.devices.measuring import subject_of
from edgetune.devices.report import Constrained, DeviceReport, Limits, MemoryVerdict, Timing
from edgetune.devices.stamp import now
from edgetune.devices.transport import Answer
from edgetune.errors import EdgetuneError, ResourceError
from edgetune.runtimes.pairing import on_base
from edgetune.runtimes.threads import allowed_cpus

_DEFINITIONS = {
    "prefill_tps": "prompt tokens / seconds until their logits are there, on this constrained host",
    "decode_tps": "new tokens / seconds to compute them one by one, on this constrained host",
}
#: More than this share of the files read from storage once it has answered before: weights were dropped for want of
#: memory and read again. So much may be read besides, of libraries.
_REREAD, _LIBRARIES = 0.5, 32_000_000
#: How a process can hold more than its limit, by kind of limit.
_UNCOUNTED = {
    "rlimit": "a resource limit does not count the pages of mapped files, the device does",
    "cgroup": "a control group does not count the pages that others brought in, the device does",
}
_SIGNAL_KILL = -9


@dataclass(frozen=True)
class Run:
    """What the constrained process answered, and how it ended."""

    code: int
    answer: dict[str, Any]
    killed: int


@dataclass(frozen=True)
class Within:
    """Limits, and what is done within them.

    Attributes:
        memory: bytes; default: what an app may use on the device.
        context: tokens; default: the runtime's.
        threads: as many cores are given; default: the device's.
        load: what is timed, at depth 0.
        timeout: most seconds.
    """

    memory: int | None = None
    context: int | None = None
    threads: int | None = None
    load: Load = field(default_factory=lambda: Load(128, 32, (0,), 3))
    timeout: float = 600.0


def constrain(artifact: Artifact, device: Device, within: Within) -> DeviceReport:
    """Run an artifact, in its own runtime, within a device's cores and memory.

    Raises:
        EdgetuneError: the process failed for another reason than memory.
    """
    opened = on_base(artifact)
    about, weights = subject_of(opened, read_footprint(opened)), artifact_subject(opened).weights
    size = within.memory or app_memory(device).bytes
    wanted = within.threads or device.threads
    cores = allowed_cpus()[:wanted]
    job = {
        "artifact": str(artifact.path),
        "threads": len(cores),
        "cores": cores,
        "memory": size,
        "context": within.context,
        "prompt": within.load.prompt,
        "new": within.load.new,
        "repetitions": within.load.repetitions,
    }
    # Pages that others read before would not count against the limit.
    cached = [f"{file.name}: {why}" for file in weights if (why := drop(file))]
    with memory_limit(size) as limit, console.progress(f"Running within {size / 1e6:.0f} MB"):
        found = _run(job, limit, within.timeout)
    verdict, reason = _judge(found, limit, about.size_bytes)
    tests = tuple(Timing.model_validate(test) for test in found.answer.get("tests", ()))
    return DeviceReport(
        how="constrained host",
        created=now(),
        edgetune=__version__,
        subject=about,
        devices=(device,),
        constrained=Constrained(
            limits=Limits(
                cores=tuple(cores),
                memory_bytes=size,
                memory_by=limit.by,
                not_limited=tuple(_not_limited(device, wanted, len(cores), limit)),
            ),
            verdict=verdict,
            reason=reason,
            context=within.context,
            tests=tests,
            peak_rss=found.answer.get("peak_rss"),
            anonymous=found.answer.get("anonymous"),
            read_bytes=found.answer.get("read_bytes"),
        ),
        figures=tuple(figure.model_copy(update={"definition": _DEFINITIONS[figure.name]}) for figure in figures(tests)),
        warnings=(f"the limit may be too lax: {cached[0]}",) if cached else (),
    )


def _run(job: dict[str, Any], limit: MemoryLimit, timeout: float) -> Run:
    words = [sys.executable, "-m", "edgetune.devices.constrained_child"]
    job = job | {"cgroup": str(limit.group) if limit.group else None}
    try:
        done = subprocess.run(  # noqa: S603  # our own module in our own interpreter
            words, input=json.dumps(job), capture_output=True, text=True, timeout=timeout, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"the constrained run took longer than {timeout:g} s: it hardly moved within {limit.bytes / 1e6:.0f} MB",
            hint="edgetune fit says what needs how much; allow more with --timeout",
        ) from error
    lines = done.stdout.strip().splitlines()
    answer = json.loads(lines[-1]) if lines else {}
    run = Run(done.returncode, answer, limit.killed())
    if not answer and run.code != _SIGNAL_KILL and not _is_memory(done.stderr):
        last = Answer(done.returncode, done.stdout, done.stderr).last
        raise EdgetuneError(f"the constrained process failed: {last}", hint="edgetune doctor")
    return run


def _is_memory(text: str) -> bool:
    words = ("memoryerror", "bad_alloc", "out of memory", "memory allocation", "cannot allocate", "failed to allocate")
    return any(word in text.lower() for word in (*words, "unable to allocate"))


def _judge(run: Run, limit: MemoryLimit, size: int) -> tuple[MemoryVerdict, str]:
    """The verdict with its reason.

    Raises:
        EdgetuneError: it failed for another reason than memory.
    """
    megabytes = f"{limit.bytes / 1e6:.0f} MB"
    if run.killed or run.code == _SIGNAL_KILL:
        return "out of memory", f"the kernel ended the process: it needed more than {megabytes} ({limit.by})"
    if error := run.answer.get("error"):
        if not _is_memory(error) and "cannot make a context" not in error:
            raise EdgetuneError(f"the constrained process failed: {error}", hint="edgetune doctor")
        return "would not fit", f"within {megabytes} ({limit.by}): {error}"
    if not run.answer:
        return "would not fit", f"within {megabytes} ({limit.by}) the process could not get its memory"
    read = run.answer.get("read_bytes")
    if read is not None and read > _REREAD * size + _LIBRARIES:
        again = f"{read / 1e6:.0f} MB, of files of {size / 1e6:.0f} MB, after its first answer"
        return "reads weights again and again", f"within {megabytes} weights were dropped and read again: {again}"
    held = run.answer.get("peak_rss")
    if held is not None and held > limit.bytes:
        uncounted = _UNCOUNTED["rlimit" if limit.by == "rlimit" else "cgroup"]
        return "would not fit", f"it held {held / 1e6:.0f} MB, mapped weights counted, of {megabytes}: {uncounted}"
    return "fits", f"ran within {megabytes} ({limit.by}), this package's own Python process included"


def _not_limited(device: Device, wanted: int, cores: int, limit: MemoryLimit) -> Iterator[str]:
    yield f"bandwidth: memory is as fast as this host's; the device has {device.bandwidth_gb_s:g} GB/s in theory"
    yield f"clock and kind of the cores: the device has {device.soc}"
    if cores < wanted:
        yield f"cores: this host gives {cores}, the device would use {wanted}"
    if limit.by == "rlimit":
        yield "memory of mapped files: a resource limit counts what the process allocates, not the pages of its files"
