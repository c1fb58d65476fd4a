"""A stored benchmark that does not follow from its own samples is refused, wherever it is read."""

from __future__ import annotations

import json

import pytest
from benchreports import sampled
from clockwork import loop, request
from reportruns import FOUR, write_report_run

from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import Frame, FrameLoop, FrameSection, RateSearch, RealtimeSection
from edgetune.cli import main
from edgetune.errors import EdgetuneError
from edgetune.realtime.measuring import judged, with_parts
from edgetune.realtime.trusting import contradictions, derived, read_trusted
from edgetune.report.building import build

OBJECTIVES = [
    Objective(metric="first_clause", statistic="p90", at_most=300, unit="ms"),
    Objective(metric="decode", at_least=50, unit="tokens/s"),
    Objective(metric="highest_rate", at_least=1, unit="requests/s"),
]


@pytest.fixture(scope="module")
def held():
    """A report held to objectives, each figure and verdict from its samples."""
    section = RealtimeSection(
        clause_definition="x", prompts=1, prompt_source="x", new_tokens=8,
        loops=(loop(*[request(0.1, 0.2, scheduled_s=0.2 * n) for n in range(30)]),),
        search=RateSearch(highest_met=2.0, lowest_missed=None, predicted=2.0, ended="x"),
    )  # fmt: skip
    whole = with_parts(sampled([100, 101, 99]), section, None, OBJECTIVES)
    return whole.model_copy(update={"target": "mine", "verdicts": judged(whole, OBJECTIVES)})


def stored(report, path, change=lambda record: None):
    record = json.loads(report.model_dump_json())
    change(record)
    path.write_text(json.dumps(record))
    return path


def figure(record, name):
    return next(one for one in record["figures"] if one["name"] == name)


def test_what_follows_from_its_samples_is_read(held, tmp_path):
    assert [one.outcome for one in held.verdicts] == ["met", "met", "met"]
    assert read_trusted(stored(held, tmp_path / "r.json")) == held
    assert derived(held) == held


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda r: figure(r, "decode").update(median=200.0), "decode: median 200 is stored, its samples give 100"),
        (lambda r: figure(r, "decode").update(rounds=[200.0, 202.0, 198.0]), "decode: round 0 200 is stored"),
        (lambda r: figure(r, "decode").update(rounds=[]), "decode: number of rounds 0 is stored, its samples give 3"),
        (lambda r: figure(r, "ttft").update(interval=[1.0, 2.0]), "ttft: lower end of the interval 1 is stored"),
        (lambda r: figure(r, "ttft").update(samples=99), "ttft: samples 99 is stored, its samples say 9"),
        (lambda r: figure(r, "decode").update(better="lower"), "decode: better lower is stored"),
        (lambda r: figure(r, "itl").update(percentiles={"p90": 1.0, "p95": None, "p99": None}), "itl: p90 1 is stored"),
        (lambda r: figure(r, "first_clause").update(median=1.0), "first_clause: median 1 is stored"),
        (lambda r: figure(r, "e2e").update(name="e3e"), "e3e: no sample is of it"),
        (lambda r: r["requests"][0].update(token_s=[0.05, 0.06]), "itl"),
        (lambda r: r["requests"].clear(), "ttft: samples 9 is stored, its samples say 0"),
        (lambda r: r["verdicts"][1].update(outcome="missed"), "decode median ≥ 50 tokens/s: missed (100) is stored"),
        (lambda r: r["verdicts"][0].update(value=1.0), "first_clause p90 ≤ 300 ms: met (1) is stored"),
        (lambda r: r["verdicts"][0]["objective"].update(at_most=1.0), "its samples say missed"),
    ],
)  # fmt: skip
def test_what_was_changed_is_named(held, tmp_path, change, words):
    with pytest.raises(EdgetuneError, match="contradicts itself") as caught:
        read_trusted(stored(held, tmp_path / "r.json", change))
    assert words in " | ".join(caught.value.problems)
    assert "edgetune bench" in caught.value.hint


def test_frames_too(tmp_path):
    frames = tuple(Frame(scheduled_s=n / 10, started_s=n / 10, finished_s=n / 10 + 0.01) for n in range(5))
    source = FrameSection(inputs=1, input_source="x", loop=FrameLoop(rate=10, frames=frames))
    objectives = [Objective(metric="frame", at_most=20, unit="ms")]
    whole = with_parts(sampled([100, 101, 99]), None, source, objectives)
    whole = whole.model_copy(update={"target": "mine", "verdicts": judged(whole, objectives)})
    assert contradictions(whole) == []
    late = stored(whole, tmp_path / "r.json", lambda r: r["frames"]["loop"]["frames"][2].update(finished_s=0.9))
    with pytest.raises(EdgetuneError) as caught:
        read_trusted(late)
    assert any(problem.startswith("jitter") for problem in caught.value.problems)


def test_compare_refuses_it(held, tmp_path, capsys):
    good = stored(held, tmp_path / "good.json")
    bad = stored(held, tmp_path / "bad.json", lambda r: figure(r, "decode").update(median=500.0))
    assert main(["compare", str(good), str(bad)]) == EdgetuneError.exit_code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "contradicts itself" in captured.err
    assert main(["compare", str(good), str(good)]) == 0


def test_the_report_leaves_it_out_and_says_so(tmp_path):
    run = write_report_run(tmp_path / "run", FOUR[1:2], rows=60)
    (file,) = (run.folder / "bench").glob("*.json")
    assert contradictions(_read(file)) == []
    record = json.loads(file.read_text())
    figure(record, "ttft")["median"] = 1.0
    file.write_text(json.dumps(record))
    report = build(run.folder)
    assert any("it contradicts its own samples: ttft: median 1 is stored" in note for note in report.warnings)
    assert "latency" not in [section.id for section in report.sections]


def _read(file):
    from edgetune.bench.reading import read_report

    return read_report(file)
