"""Measuring an artifact on a device, or on this host through the same runner."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgetune import __version__, console
from edgetune.artifact import Artifact
from edgetune.bench.statistics import NOISY, median
from edgetune.devices import heat, llama_bench
from edgetune.devices.device import Device
from edgetune.devices.footprint import Footprint, read_footprint
from edgetune.devices.identity import doubts
from edgetune.devices.llama_bench import Load
from edgetune.devices.probing import big_cores, probe
from edgetune.devices.report import DeviceReport, DeviceState, Measured, Subject, Timing
from edgetune.devices.room import require_space, room
from edgetune.devices.stamp import now
from edgetune.devices.transport import Transport
from edgetune.devices.watched_run import put_script, run
from edgetune.errors import ArtifactError, DeviceError
from edgetune.files import sha256_file

_LOW_BATTERY = 20


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        runner: a llama-bench built for the device; libraries beside it go along.
        load: what is timed.
        threads: default: the device's, else as many as big cores.
        timeout: most seconds for the runner.
        held: to a target: what answers must be the device, as far as that can be checked.
    """

    runner: Path
    load: Load = field(default_factory=Load)
    threads: int | None = None
    timeout: float = 900.0
    held: bool = False

    @property
    def files(self) -> list[Path]:
        """The runner and the libraries that lie beside it."""
        return [self.runner, *sorted(file for file in self.runner.parent.glob("*.so*") if file.is_file())]


def measure(artifact: Artifact, transport: Transport, plan: Plan, device: Device | None) -> DeviceReport:
    """Push, pin, run, look, fetch, clean up.

    Raises:
        ArtifactError: not one whole GGUF model.
        TargetError: what answers is another device than the one held to a target.
        DeviceError: the device failed, was unplugged, or the runner did not run; the device is left as it was.
    """
    _require_gguf(artifact)
    if not plan.runner.is_file():
        raise DeviceError(f"no runner at {plan.runner}", hint="give the path of a llama-bench with --runner")
    if not _is_program(plan.runner):
        raise DeviceError(f"{plan.runner} is no program", hint="give a llama-bench built for the device with --runner")
    about = subject_of(artifact, read_footprint(artifact))
    before = probe(transport)
    unsure = doubts(device, before, held=plan.held)
    threads, mask = _cores(before, plan, device)
    files = [*plan.files, artifact.main_file]
    require_space(transport, files)
    with room(transport) as folder:
        _push(transport, files, folder)
        words = llama_bench.arguments(artifact.main_file.name, plan.load, threads)
        command = [f"./{plan.runner.name}", *words]
        put_script(transport, folder, command, mask)
        console.note(f"measuring on {transport.where}: {threads} threads, processor mask {mask or 'none'}")
        with console.progress(f"Measuring on {transport.where}"):
            out, watch = run(transport, folder, plan.timeout)
    after = probe(transport)
    tests, build = llama_bench.parse(out)
    found = Measured(
        over=transport.over,
        where=transport.where,
        context=transport.context,
        runner=build,
        mask=mask,
        threads=threads,
        before=before,
        after=after,
        tests=tuple(tests),
        watch=watch,
    )
    return DeviceReport(
        how="measured on this host" if transport.over == "local" else "measured on a device",
        created=now(),
        edgetune=__version__,
        subject=about,
        devices=(device,) if device else (),
        measured=found,
        figures=tuple(llama_bench.figures(tests)),
        warnings=(*unsure, *_warnings(found)),
    )


def subject_of(artifact: Artifact, model: Footprint) -> Subject:
    """What is measured or projected, with its bytes a token."""
    file = artifact.main_file
    digest = artifact.manifest.sha256.get(artifact.manifest.main_file) if artifact.manifest else None
    return Subject(
        name=artifact.name,
        file=file.name,
        sha256=digest or sha256_file(file),
        size_bytes=artifact.size_bytes,
        precision=artifact.manifest.precision if artifact.manifest else None,
        bytes_per_token=model.read_bytes,
    )


def _require_gguf(artifact: Artifact) -> None:
    if artifact.is_adapter or artifact.main_file.suffix != ".gguf":
        raise ArtifactError(
            f"{artifact.name} is not one whole GGUF model, which is what llama-bench runs",
            hint="edgetune export RUN --format gguf --quant q8_0",
        )


def _cores(state: DeviceState, plan: Plan, device: Device | None) -> tuple[int, str | None]:
    """Threads, and the mask of the cores to pin them to; None where there is one kind of core and nothing to choose."""
    fast = device.big_cores if device and device.big_cores else big_cores(state)
    count = state.cores or len(fast)
    fast = tuple(core for core in fast if core < count)
    threads = plan.threads or min(device.threads if device else len(fast), count)
    if len(fast) == count or not fast or threads > len(fast):
        return threads, None
    return threads, f"{sum(1 << core for core in fast):x}"


def _is_program(file: Path) -> bool:
    """Whether a file begins as programs do: ELF, Mach-O, Windows', or a script that names its interpreter."""
    with file.open("rb") as handle:
        head = handle.read(4)
    return head[:2] in (b"#!", b"MZ") or head in (b"\x7fELF", b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe")


def _push(transport: Transport, files: Sequence[Path], folder: str) -> None:
    total = sum(file.stat().st_size for file in files) / 1e6
    with console.progress(f"Copying to {transport.where}", total, "MB") as bar:
        for file in files:
            transport.push(file, f"{folder}/{file.name}")
            bar.advance(file.stat().st_size / 1e6)
    made = transport.run(f"chmod 700 {folder}/{files[0].name}")
    if made.code != 0:
        raise DeviceError(f"the runner cannot be made executable: {made.err.strip()}", hint="mount it without noexec")


def _warnings(found: Measured) -> Iterator[str]:
    before, after = found.before, found.after
    yield from heat.warnings(before.thermal_status, after.thermal_status)
    if after.battery_percent is not None and after.battery_percent < _LOW_BATTERY:
        yield f"battery at {after.battery_percent} %: many phones save power then"
    yield from _slow_tests(found.tests)
    yield from _slow_clocks(found)
    if found.watch.peak_rss is None:
        yield "the memory of the runner could not be seen"


def _slow_tests(tests: Sequence[Timing]) -> Iterator[str]:
    for test in tests:
        if (slower := llama_bench.slowdown(test)) >= NOISY:
            yield f"{test.name} at depth {test.depth}: the last repetition took {slower:.0%} longer than the first"
        if (spread := llama_bench.spread(test)) >= NOISY:
            yield f"{test.name} at depth {test.depth}: repetitions differ by {spread:.0%}"


def _slow_clocks(found: Measured) -> Iterator[str]:
    """Of the fastest core, the clock it ran at in the middle of all looks, against its highest."""
    highest = found.before.highest_khz
    if not highest or not found.watch.clocks_khz:
        return
    core = max(highest, key=lambda one: highest[one])
    seen = [look[core] for look in found.watch.clocks_khz if core in look]
    if seen and (share := median(seen) / highest[core]) < 1 - NOISY:
        yield f"core {core} ran at {share:.0%} of its highest clock: throttled, or its governor saves power"
