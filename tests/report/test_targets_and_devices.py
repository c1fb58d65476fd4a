"""Sections that exist only where somebody asked: targets, sweeps, devices; and what targets do to the rule."""

from __future__ import annotations

import dataclasses
import json
import re

import pytest
from reportextras import held, swept, verdict, write_device_reports
from reportruns import FOUR, write_report_run

from edgetune.report.benchmark import Benchmark
from edgetune.report.building import build, report_of
from edgetune.report.evidence import read_evidence
from edgetune.report.html import to_html


@pytest.fixture(scope="module")
def evidence(tmp_path_factory):
    return read_evidence(write_report_run(tmp_path_factory.mktemp("targets") / "run", FOUR[:2], rows=60).folder)


def changed(evidence, **benches):
    """The evidence with other benchmarks, by artifact."""
    shipped = tuple(
        dataclasses.replace(one, benches=benches[one.label](one.benches) if one.label in benches else one.benches)
        for one in evidence.shipped
    )
    return dataclasses.replace(evidence, shipped=shipped)


def section(report, name):
    return next(one for one in report.sections if one.id == name)


def why(report):
    return {one.name: one.why for one in report.recommendation.candidates}


def test_a_target_that_is_met_is_in_the_headline(evidence):
    report = report_of(changed(evidence, q8_0=lambda b: (held(b[0], verdict()),)))
    found = report.recommendation
    assert found.artifact == "q8_0"
    assert found.headline.startswith("Ship q8_0: meets voice-assistant, 100")
    assert "first_clause p95 ≤ 300 ms, 88.0 ms (29%) to spare" in found.reason
    assert why(report)["f16"] == "not measured against voice-assistant"
    table = section(report, "targets").tables[0]
    assert [cell.text for cell in table.rows[0]][:4] == ["q8_0", "voice-assistant", "first_clause p95 ≤ 300 ms", "met"]


def test_the_smallest_that_meets_the_target_ships(evidence):
    missed = verdict("missed", 352.0)
    both = changed(evidence, q8_0=lambda b: (held(b[0], missed),), f16=lambda b: (held(b[0], verdict()),))
    report = report_of(both)
    assert report.recommendation.artifact == "f16"
    assert why(report)["q8_0"] == "misses voice-assistant (first_clause p95 ≤ 300 ms, 52.0 ms (17%) too much)"


def test_a_target_that_all_miss(evidence):
    missed = verdict("missed", 352.0)
    both = changed(evidence, q8_0=lambda b: (held(b[0], missed),), f16=lambda b: (held(b[0], missed),))
    found = report_of(both).recommendation
    assert (found.decision, found.headline) == ("do not ship", "Do not ship: no artifact meets its target")


def test_what_cannot_be_judged_is_not_met(evidence):
    opened = verdict("not judged", None)
    both = changed(evidence, q8_0=lambda b: (held(b[0], opened),), f16=lambda b: (held(b[0], opened),))
    found = report_of(both).recommendation
    assert found.decision == "not yet"
    assert "60 samples; p99 needs 299" in found.candidates[0].why
    assert "--target voice-assistant" in found.next


def test_the_newest_verdict_of_a_target_counts(evidence):
    def twice(benches):
        return held(benches[0], verdict("missed", 352.0)), held(benches[0], verdict())

    assert report_of(changed(evidence, q8_0=twice)).recommendation.artifact == "q8_0"


def test_a_lower_limit_says_what_is_too_little(evidence):
    slow = verdict("missed", 8.0, beyond=2.0, at_most=None, at_least=10.0, unit="tokens/s")
    report = report_of(changed(evidence, q8_0=lambda b: (held(b[0], slow),)))
    assert "≥ 10 tokens/s, 2.00 tokens/s (20%) too little" in why(report)["q8_0"]


def test_the_budget_of_a_target_is_drawn(evidence):
    for limit, unit in ((400.0, "MB"), (0.4, "GB")):
        budget = verdict(value=0.8 * limit, limit=limit, metric="peak_rss", statistic="max", unit=unit)
        report = report_of(changed(evidence, q8_0=lambda b, budget=budget: (held(b[0], budget),)))
        memory = section(report, "memory")
        assert [mark.x for mark in memory.charts[0].marks] == [400.0]
        assert "above it: f16" in memory.lead


def test_a_later_benchmark_does_not_hide_what_only_an_earlier_one_has(evidence):
    """Curves, sustained decoding, memory and budget come from the newest benchmark that has them, and it is said."""

    def again(benches):
        first = swept(benches[0]).report
        steady = first.figures[0].model_copy(update={"name": "decode_sustained", "median": 101.0})
        settings = first.settings.model_copy(update={"memory_budget_mb": 500.0})
        first = first.model_copy(update={"figures": (*first.figures, steady), "settings": settings})
        later = swept(benches[0]).report
        figures = tuple(figure for figure in later.figures if not (figure.place and figure.place[0] != "depth"))
        later = later.model_copy(update={"created": "2026-02-02T00:00:00+00:00", "memory": (), "figures": figures})
        return Benchmark(first), Benchmark(later)

    report = report_of(changed(evidence, q8_0=again))
    sweeps, latency, memory = (section(report, name) for name in ("sweeps", "latency", "memory"))
    assert [chart.id for chart in sweeps.charts] == [
        "sweep-depth-decode", "sweep-depth-prefill", "sweep-decode-threads-decode", "sweep-prefill-threads-prefill",
    ]  # fmt: skip
    when = "from its benchmark of 2026-01-01T10:50:00+00:00, as the newest has none."
    assert f"q8_0: decode_threads, prefill_threads, kv_type {when}" in sweeps.notes
    assert {row[0].text: row[-1].value for row in latency.tables[0].rows}["decode_sustained"] == 101.0
    assert f"q8_0: decode_sustained {when}" in latency.notes
    assert "q8_0" in memory.charts[0].categories
    assert [mark.x for mark in memory.charts[0].marks] == [500.0]
    assert f"q8_0: memory {when}" in memory.notes
    machines = next(table for table in section(report, "environment").tables if table.id == "machines")
    assert [row[-1].text[:10] for row in machines.rows if "q8_0" in row[0].text] == ["2026-01-01", "2026-02-02"]


def test_memory_is_the_median_of_the_processes(evidence):
    def looked_at(*peaks):
        def change(benches):
            report = benches[0].report
            memory = tuple(report.memory[0].model_copy(update={"peak_rss": int(peak * 1e6)}) for peak in peaks)
            return (Benchmark(report.model_copy(update={"memory": memory})),)

        return change

    both = changed(evidence, q8_0=looked_at(100, 300, 200, 400), f16=looked_at())
    rows = section(report_of(both), "memory").charts[0].table.rows
    assert [(row[0].text, row[1].value) for row in rows] == [("q8_0", 250.0)]
    neither = changed(evidence, q8_0=looked_at(), f16=looked_at())
    assert "memory" not in [one.id for one in report_of(neither).sections]


def test_a_command_names_only_a_target_that_there_is(evidence):
    opened = verdict("not judged", None)
    for target in ("limits.yaml", "voice-assistant and limits.yaml"):
        both = changed(evidence, q8_0=lambda b, target=target: (held(b[0], opened, target=target),))
        found = report_of(both).recommendation
        assert (found.decision, found.next) == ("not yet", None)
        assert f"not measured against {target}" in why(report_of(both))["f16"]


def test_an_artifact_has_one_colour(tmp_path):
    """Also where another one has no place in a chart."""
    run = write_report_run(tmp_path / "run", FOUR[:3], rows=60)
    run.evaluation_file("smart-home-f16").unlink()
    report = build(run.folder)
    colours = {}
    for chart in report.charts:
        for series in chart.series:
            if series.name in ("q8_0", "q4_k_m"):
                colours.setdefault(series.name, set()).add(series.colour)
    assert any(chart.id == "front-size" for chart in report.charts)
    assert colours == {"q8_0": {"c2"}, "q4_k_m": {"c3"}}


def test_the_highest_rate_is_told(evidence):
    tables = section(report_of(changed(evidence, q8_0=lambda b: (held(b[0], verdict()),))), "targets").tables
    assert [cell.value for cell in tables[1].rows[0]][2:4] == [2.1, 2.6]


def test_curves_over_depth_and_threads(evidence):
    report = report_of(changed(evidence, q8_0=lambda b: (swept(b[0]),), f16=lambda b: (swept(b[0], 0.5),)))
    found = section(report, "sweeps")
    assert [chart.id for chart in found.charts] == [
        "sweep-depth-decode",
        "sweep-depth-prefill",
        "sweep-decode-threads-decode",
        "sweep-prefill-threads-prefill",
    ]
    assert found.charts[0].series[0].x == (0, 512, 2048, 4096)
    assert "Decoding is fastest on 2 threads (f16, q8_0)." in found.lead
    assert re.search(r"59.4.% is left after 4096 tokens", found.lead)
    assert [cell.text for cell in found.tables[0].rows[0]][1:3] == ["kv_type", "q8_0"]
    figures = next(table for table in section(report, "latency").tables if table.id == "bench-figures")
    assert not [row for row in figures.rows if "@" in row[0].text]


@pytest.fixture(scope="module")
def with_devices(tmp_path_factory):
    run = write_report_run(tmp_path_factory.mktemp("devices") / "run", FOUR[:2], rows=60)
    write_device_reports(run, "q8_0")
    return run


def test_kinds_of_evidence_stay_apart(with_devices):
    found = section(build(with_devices.folder), "devices")
    kinds = {table.id: table.kind for table in found.tables} | {one.table.id: one.table.kind for one in found.charts}
    assert kinds == {
        "devices-measured": "measured",
        "devices-constrained": "constrained",
        "devices-projected-data": "projected",
    }
    projected = found.charts[0]
    assert projected.series
    assert all(one.hollow for one in projected.series)
    assert "rojected" in projected.title
    row = projected.table.rows[0]
    assert (row[3].low, row[3].high) == (42.0, 78.0)
    assert row[3].text == "42.0 to 78.0"
    assert "q8_0: on this host not limited: bandwidth." in found.notes


def of_devices(folder, change):
    """The section where the measured report is another."""
    evidence = read_evidence(folder)
    shipped = tuple(
        dataclasses.replace(one, devices=tuple(change(report) if report.measured else report for report in one.devices))
        for one in evidence.shipped
    )
    return section(report_of(dataclasses.replace(evidence, shipped=shipped)), "devices")


def named(report, **changes):
    """The measured report as it is without --device, from a host with a user's name in it."""
    state = report.measured.before.model_copy(update={"model": "Raspberry Pi 5 Model B", "soc": "bcm2712"})
    measured = report.measured.model_copy(update={"where": "alice@host.lan", "before": state})
    return report.model_copy(update={"devices": (), "measured": measured, **changes})


def test_a_device_without_a_name_is_called_what_it_says_it_is(with_devices):
    found = of_devices(with_devices.folder, named)
    assert {row[1].text for row in found.tables[0].rows} == {"Raspberry Pi 5 Model B, bcm2712"}
    assert "alice" not in found.model_dump_json()


def test_this_host_is_no_device(with_devices):
    def local(report):
        return named(report, how="measured on this host", devices=report.devices)

    found = of_devices(with_devices.folder, local)
    assert {row[1].text for row in found.tables[0].rows} == {"this host"}
    assert found.tables[0].id == "devices-measured-here"
    assert found.lead == "By kind of evidence, never mixed: measured here, constrained, projected."
    assert "alice" not in found.model_dump_json()


def test_this_host_and_a_device_are_in_no_column_together(with_devices):
    evidence = read_evidence(with_devices.folder)
    (one,) = [shipped for shipped in evidence.shipped if shipped.devices]
    (board,) = [report for report in one.devices if report.measured]
    here = board.model_copy(update={"how": "measured on this host"})
    both = dataclasses.replace(one, devices=(board, here))
    found = section(report_of(dataclasses.replace(evidence, shipped=(both,))), "devices")
    assert {table.id: [row[1].text for row in table.rows] for table in found.tables} == {
        "devices-measured": ["Raspberry Pi 5 (8 GB)"],
        "devices-measured-here": ["this host"],
    }
    assert {one.word for one in found.definitions} == {"measured", "measured here", "decode_tps"}


def test_a_figure_keeps_the_definition_of_its_kind(with_devices):
    words = {one.word: one.text for one in section(build(with_devices.folder), "devices").definitions}
    assert words["decode_tps"] == "as llama-bench times it"


def test_of_two_projections_the_newer_counts(with_devices):
    path = with_devices.folder / "devices" / "q8_0-projected.json"
    former = json.loads(path.read_text())
    newer = former | {"created": "2026-01-02T11:00:00+00:00", "projected": former["projected"][:1]}
    newer["projected"] = [newer["projected"][0] | {"low": 1.0, "middle": 2.0, "high": 3.0}]
    other = path.with_name("a-newer.json")
    other.write_text(json.dumps(newer))
    rows = section(build(with_devices.folder), "devices").charts[0].table.rows
    other.unlink()
    assert len(rows) == len(former["projected"])
    assert [row[3].text for row in rows[:2]] == ["1.00 to 3.00", "42.0 to 78.0"]


def test_what_a_device_misses_is_not_recommended(with_devices):
    """And what was not measured there is not known; what its runner cannot judge stands in nobody's way."""
    evidence = read_evidence(with_devices.folder)
    decode = {"metric": "decode", "statistic": "median", "at_most": None, "at_least": 60.0, "unit": "tokens/s"}
    opened = verdict("not judged", None)

    def recommend(*verdicts):
        shipped = tuple(
            dataclasses.replace(
                one,
                devices=tuple(
                    report.model_copy(update={"target": "raspberry-pi-5", "verdicts": verdicts})
                    for report in one.devices
                    if report.measured
                ),
            )
            for one in evidence.shipped
        )
        return report_of(dataclasses.replace(evidence, shipped=shipped))

    missed = recommend(verdict("missed", 54.0, beyond=6.0, **decode), opened)
    where = "raspberry-pi-5 on Raspberry Pi 5 (8 GB)"
    assert why(missed)["q8_0"] == f"misses {where} (decode median ≥ 60 tokens/s, 6.00 tokens/s (10%) too little)"
    assert why(missed)["f16"] == f"not held to {where}"
    assert missed.recommendation.decision == "not yet"
    notes = section(missed, "devices").notes
    assert f"q8_0: {where}: first_clause p95 ≤ 300 ms: not judged, 60 samples; p99 needs 299." in notes
    met = recommend(verdict("met", 66.0, beyond=-6.0, **decode), opened)
    assert met.recommendation.artifact == "q8_0"


def test_projected_is_said_wherever_it_is_shown(with_devices):
    page = to_html(build(with_devices.folder))
    assert '<span class="badge warn">projected</span>' in page
    assert '<span class="badge warn">constrained</span>' in page


def test_a_damaged_device_report_is_told(with_devices):
    path = with_devices.folder / "devices" / "other.json"
    path.write_text(json.dumps({"kind": "something"}))
    warnings = build(with_devices.folder).warnings
    path.unlink()
    assert warnings == ("devices/other.json is left out: it is damaged or no device report",)


def test_what_was_asked_once_is_not_missing_any_more(evidence):
    def what(found):
        return {one.command.partition(" RUN")[0]: one.what for one in report_of(found).missing}

    assert set(what(evidence)) == {"edgetune bench", "edgetune device project"}
    told = [one.what for one in report_of(changed(evidence, q8_0=lambda b: (held(b[0], verdict()),))).missing]
    assert not any("held to a target" in one for one in told)
    told = [one.what for one in report_of(changed(evidence, q8_0=lambda b: (swept(b[0]),))).missing]
    assert not any("threads" in one for one in told)
    assert any("held to a target" in one for one in told)


def test_what_is_to_be_measured_is_held_to_what_the_others_were(evidence):
    plain = changed(evidence, f16=lambda _: ())
    (told,) = [one.command for one in report_of(plain).missing if "exports/f16" in one.command]
    assert told == "edgetune bench RUN/exports/f16 --output RUN/bench/smart-home-f16.json"
    targeted = changed(plain, q8_0=lambda b: (held(b[0], verdict()),))
    (told,) = [one.command for one in report_of(targeted).missing if "exports/f16" in one.command]
    target = "--target voice-assistant"
    assert told == f"edgetune bench RUN/exports/f16 {target} --output RUN/bench/smart-home-f16.json"


def test_a_device_report_is_no_missing_one(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[:2], rows=60)
    assert any("device" in one.command for one in build(run.folder).missing)
    write_device_reports(run, "q8_0")
    assert not any("device" in one.command for one in build(run.folder).missing)
