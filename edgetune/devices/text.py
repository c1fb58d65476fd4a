"""Device reports and lists for people. Each kind has its own table, and says which it is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from edgetune.devices.device import Device
from edgetune.devices.footprint import Footprint
from edgetune.devices.heat import in_words
from edgetune.devices.memory_fit import Fit
from edgetune.devices.report import Constrained, DeviceReport, DeviceState, Measured, Projected

_PROJECTED = (
    "projected, not measured: seconds a token = t0 + bytes / (efficiency x bandwidth), intervals from published "
    "measurements"
)


def report_text(report: DeviceReport) -> str:
    """A report as plain text."""
    subject = report.subject
    sizes = f"{subject.size_bytes / 1e6:.1f} MB, {subject.bytes_per_token / 1e6:.1f} MB of weights a token"
    lines = [f"{subject.name}  {sizes}  sha256 {subject.sha256[:12]}", f"kind: {report.how}"]
    if report.measured:
        lines += _measured(report.measured)
    if report.constrained:
        lines += _constrained(report.constrained)
    if report.projected:
        lines += _projected(report.projected)
    for figure in report.figures:
        value = "null" if figure.median is None else f"{figure.median:.1f} ± {figure.mad or 0:.1f} {figure.unit}"
        at = f" at depth {figure.depth}" if figure.depth else ""
        lines.append(f"{figure.name + at:<26}{value:>24}  {figure.definition} (median ± MAD, {figure.samples} samples)")
    lines += [f"warning: {warning}" for warning in report.warnings]
    if report.target:
        lines += [f"held to {report.target}", *(f"  {verdict.text}" for verdict in report.verdicts)]
        lines += [] if report.verdicts else ["  no objectives: give some with --slo FILE"]
    return "\n".join(lines)


def _measured(found: Measured) -> Iterator[str]:
    yield f"{found.before.title}  over {found.over}: {found.where}"
    yield f"context: {found.context}"
    yield f"{found.runner}, {found.threads} threads, processor mask {found.mask or 'none'}"
    yield f"before: {_state(found.before)}"
    yield f"after:  {_state(found.after)}"
    if found.watch.peak_rss is not None:
        yield f"memory of the runner: peak RSS {found.watch.peak_rss / 1e6:.0f} MB"


def _state(state: DeviceState) -> str:
    parts = [f"thermal status {in_words(state.thermal_status)}"]
    if state.temperatures_c:
        zone = max(state.temperatures_c, key=lambda name: state.temperatures_c[name])
        parts.append(f"warmest zone {state.temperatures_c[zone]:.0f} °C ({zone})")
    if state.battery_percent is not None:
        power = {True: "plugged in", False: "on battery", None: "power unknown"}[state.on_power]
        parts.append(f"battery {state.battery_percent} %, {power}")
    if state.memory_available is not None:
        parts.append(f"{state.memory_available / 1e6:.0f} MB available")
    if state.clock_khz:
        parts.append(f"clocks {max(state.clock_khz.values()) / 1e6:.2f} GHz at most")
    return ", ".join(parts)


def _constrained(found: Constrained) -> Iterator[str]:
    limits = found.limits
    limited = f"{len(limits.cores)} cores, {limits.memory_bytes / 1e6:.0f} MB by {limits.memory_by}"
    yield f"limits: {limited}; bandwidth not limited"
    yield from (f"not limited: {thing}" for thing in limits.not_limited)
    yield f"verdict: {found.verdict}: {found.reason}"


def _projected(rows: Sequence[Projected]) -> Iterator[str]:
    yield _PROJECTED
    yield f"{'device':<22}{'depth':>7}{'projected tokens/s':>22}{'MB a token':>12}  class"
    for row in rows:
        span = f"{row.low:.3g} to {row.high:.3g}"
        kind = f"{row.device_class}, {row.group}, efficiency {row.efficiency:.2f}"
        yield f"{row.device:<22}{row.depth:>7}{span:>22}{row.bytes_per_token / 1e6:>12.0f}  {kind}"
    for note, names in _noted(rows).items():
        yield f"note ({', '.join(names)}): {note}"


def _noted(rows: Sequence[Projected]) -> dict[str, list[str]]:
    """Note → the devices it is about."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            names = found.setdefault(note, [])
            if row.device not in names:
                names.append(row.device)
    return found


def devices_text(devices: Sequence[Device]) -> str:
    """Devices as a table."""
    lines = [f"{'name':<20}{'SoC':<22}{'class':<17}{'GB/s':>6}{'GB':>5}  {'threads':>7}  title"]
    for one in devices:
        figures = f"{one.bandwidth_gb_s:>6g}{one.memory_gb:>5g}  {one.threads:>7}"
        lines.append(f"{one.name:<20}{one.soc:<22}{one.device_class:<17}{figures}  {one.title}")
    return "\n".join(lines)


def fits_text(model: Footprint, fits: Sequence[Fit], cache_type: str) -> str:
    """The answers of a memory fit as a table."""
    need = fits[0].need
    parts = {"weights": need.weights, f"cache as {cache_type}": need.cache, "compute": need.compute}
    parts |= {"vocabulary": need.vocabulary, "process": need.process}
    shown = ", ".join(f"{name} {size / 1e6:.0f}" for name, size in parts.items())
    lines = [
        f"{model.name}: estimated {(need.total - need.rearranged) / 1e6:.0f} MB at {need.context} tokens ({shown})",
        f"{'device':<22}{'rearranged':>13}{'needed':>11}{'an app may use':>16}{'fits':>6}{'longest context':>17}",
    ]
    for one in fits:
        most = "none" if not one.longest else f"{one.longest}{' (all)' * (one.longest == model.trained_context)}"
        sizes = f"{one.need.rearranged / 1e6:>10.0f} MB{one.need.total / 1e6:>8.0f} MB{one.budget / 1e6:>13.0f} MB"
        lines.append(f"{one.device:<22}{sizes}{'yes' if one.fits else 'no':>6}{most:>17}")
    reasons: dict[str, list[str]] = {}
    for one in fits:
        reasons.setdefault(one.reason, []).append(one.device)
    lines += [f"{', '.join(names)}: {reason}" for reason, names in reasons.items()]
    lines += [f"note: {note}" for note in dict.fromkeys(note for one in fits for note in one.notes)]
    return "\n".join(lines)


def fits_json(model: Footprint, fits: Sequence[Fit]) -> str:
    """The same as JSON."""
    from dataclasses import asdict

    rows = [asdict(one) | {"fits": one.fits, "needed_bytes": one.need.total} for one in fits]
    return json.dumps({"kind": "edgetune-fit", "schema_version": 1, "model": asdict(model), "fits": rows}, indent=2)
