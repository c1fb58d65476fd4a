"""Evidence that a benchmark has only where it was asked for: sweeps, verdicts of a target, reports of devices."""

from __future__ import annotations

import json
from typing import Any

from reportruns import Run

from edgetune.bench import schema
from edgetune.bench.objective import Objective, Outcome, Verdict
from edgetune.bench.realtime_section import RateSearch, RealtimeLoop, RealtimeRequest, RealtimeSection
from edgetune.devices.device import find_device
from edgetune.devices.keeping import FOLDER
from edgetune.devices.llama_bench import figures
from edgetune.devices.report import (
    Constrained,
    DeviceReport,
    DeviceState,
    Limits,
    Measured,
    Projected,
    Subject,
    Timing,
    Watch,
)
from edgetune.report.benchmark import Benchmark


def verdict(
    outcome: Outcome = "met",
    value: float | None = 212.0,
    limit: float = 300.0,
    *,
    beyond: float | None = None,
    **of: Any,
) -> Verdict:
    """One verdict; ``of`` are parts of its objective."""
    if beyond is None and value is not None:
        beyond = value - limit
    plain = {"metric": "first_clause", "statistic": "p95", "at_most": limit, "unit": "ms"}
    return Verdict(
        objective=Objective.model_validate(plain | of),
        outcome=outcome,
        value=value,
        beyond=beyond,
        samples=60,
        measured_as="closed loop",
        reason=None if value is not None else "60 samples; p99 needs 299",
    )


def held(bench: Benchmark, *verdicts: Verdict, target: str = "voice-assistant") -> Benchmark:
    """The same benchmark, held to a target."""
    request = RealtimeRequest(
        prompt=0, scheduled_s=0, started_s=0, tokenised_s=0.001, token_s=(0.2,), clause_s=0.2, clause_tokens=1,
        finished_s=0.2, prompt_tokens=8, finish="stop",
    )  # fmt: skip
    section = RealtimeSection(
        clause_definition="a clause",
        prompts=1,
        prompt_source="held-out rows",
        new_tokens=64,
        loops=(RealtimeLoop(scenario="closed loop", planned=1, requests=(request,)),),
        search=RateSearch(highest_met=2.1, lowest_missed=2.6, predicted=2.3, ended="the next step is within 25 %"),
    )
    return Benchmark(bench.report.model_copy(update={"target": target, "verdicts": verdicts, "realtime": section}))


def swept(bench: Benchmark, scale: float = 1.0) -> Benchmark:
    """The same benchmark with curves over depth and threads, and a cache of another type."""
    figures = [_at("decode", "depth", depth, 135 * scale / (1 + depth / 6000)) for depth in (0, 512, 2048, 4096)]
    figures += [_at("prefill", "depth", depth, 590 * scale / (1 + depth / 9000)) for depth in (0, 512, 2048, 4096)]
    figures += [
        _at("decode", "decode_threads", n, speed * scale) for n, speed in ((1, 96), (2, 140), (3, 131), (4, 118))
    ]
    figures += [_at("prefill", "prefill_threads", n, 240 * n**0.8 * scale) for n in (1, 2, 3, 4)]
    figures += [_at("decode", "kv_type", "q8_0", 128 * scale)]
    report = bench.report
    return Benchmark(report.model_copy(update={"figures": (*report.figures, *figures)}))


def _at(metric: str, axis: str, value: int | str, median: float) -> schema.Figure:
    return schema.Figure(
        name=f"{metric}@{axis}={value}",
        unit="tokens/s",
        definition=f"{metric} in the runtime's own loop",
        median=median,
        mad=median / 100,
        interval=(median * 0.97, median * 1.03),
        samples=5,
    )


def _timing(rate: float, depth: int) -> Timing:
    """64 new tokens at about so many a second, five times."""
    samples = tuple(64 / (rate + off) for off in (-0.8, -0.4, 0.0, 0.4, 0.8))
    return Timing(prompt_tokens=0, new_tokens=64, depth=depth, threads=2, samples_s=samples)


def write_device_reports(run: Run, label: str, speed: float = 20.0) -> None:
    """A measured, a constrained and a projected report of one artifact, as `devices/` of a run keeps them."""
    manifest = json.loads((run.exports_folder / label / "manifest.json").read_text())
    board, phone = find_device("raspberry-pi-5"), find_device("poco-f5")
    common = {
        "created": "2026-01-01T11:00:00+00:00",
        "edgetune": "0.1.0",
        "subject": Subject(
            name=manifest["name"],
            file=manifest["main_file"],
            sha256=manifest["sha256"][manifest["main_file"]],
            size_bytes=1,
            precision=None,
            bytes_per_token=1,
        ),
    }
    tests = (_timing(2.7 * speed, 512), _timing(9 * speed, 0))
    figure, hosts = figures(tests)
    figure = figure.model_copy(update={"definition": "as llama-bench times it"})
    hosts = hosts.model_copy(update={"definition": "on this constrained host"})
    unknown = DeviceState.model_validate(
        dict.fromkeys(DeviceState.model_fields) | {"highest_khz": {}, "clock_khz": {}, "temperatures_c": {}}
    )
    measured = Measured(
        over="ssh", where="pi", context="shell", runner="llama-bench b4000", mask=None, threads=2,
        before=unknown, after=unknown, tests=tests[:1],
        watch=Watch(peak_rss=None, anonymous=None, file_backed=None, clocks_khz=()),
    )  # fmt: skip
    constrained = Constrained(
        limits=Limits(cores=(0, 1), memory_bytes=2 * 10**9, memory_by="cgroup v2", not_limited=("bandwidth",)),
        verdict="fits", reason="peak 335 MB of 2000 MB", tests=tests[1:], peak_rss=335 * 10**6, anonymous=None,
        read_bytes=None,
    )  # fmt: skip
    projected = tuple(
        Projected(
            device=device.name, depth=depth, low=low * speed, middle=middle * speed, high=high * speed,
            device_class=device.device_class, group="big cores alone", efficiency=0.6, bytes_per_token=1.4e8, notes=(),
        )
        for device, low, middle, high in ((board, 2.1, 2.9, 3.9), (phone, 2.4, 3.4, 4.8))
        for depth in (0, 4096)
    )  # fmt: skip
    heat = ("thermal status rose to moderate",)
    reports = {
        "measured": DeviceReport(
            how="measured on a device", devices=(board,), measured=measured, figures=(figure,), warnings=heat, **common
        ),
        "constrained": DeviceReport(
            how="constrained host", devices=(phone,), constrained=constrained, figures=(hosts,), **common
        ),
        "projected": DeviceReport(how="projected", devices=(board, phone), projected=projected, **common),
    }
    (run.folder / FOLDER).mkdir(exist_ok=True)
    for name, report in reports.items():
        report.write(run.folder / FOLDER / f"{label}-{name}.json")
