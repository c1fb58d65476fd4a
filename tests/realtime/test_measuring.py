"""From the command line to verdicts, on a tiny model in its own process."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from benchreports import report
from clockwork import loop, request

from edgetune.artifact import open_artifact
from edgetune.bench import single_stream
from edgetune.bench.plan import Plan
from edgetune.bench.realtime_section import RealtimeSection
from edgetune.bench.schema import BenchReport
from edgetune.bench.subjects import artifact_subject
from edgetune.cli import main
from edgetune.errors import ArtifactError, NotJudged
from edgetune.realtime import measuring
from edgetune.realtime.arrivals import poisson
from edgetune.realtime.plan import Plan as RealtimePlan
from edgetune.realtime.plan import first_seconds
from edgetune.realtime.wanted import find_wanted
from edgetune.targets.judging import require_met


@pytest.fixture
def slo(tmp_path):
    def write(*lines):
        file = tmp_path / "slo.yaml"
        file.write_text("".join(f"- {{{line}}}\n" for line in lines))
        return str(file)

    return write


@pytest.fixture
def bench(tiny, monkeypatch, tmp_path, capsys):
    """Run ``edgetune bench`` quickly: exit code, report (None if none was written), stdout, stderr."""

    def run(*options):
        output = tmp_path / "report.json"
        words = ["bench", str(tiny), "--threads", "1", "--prompts", "2", "--new-tokens", "8", "--output", str(output)]
        words += ["--rounds", "1", "--depths", ""]
        code = main([*words, *options])
        printed = capsys.readouterr()
        return code, BenchReport.read(output), printed.out, printed.err

    return run


def test_objectives_that_are_met(bench, slo):
    file = slo("metric: first_clause, statistic: p90, at_most: 60, unit: s", "metric: peak_rss, at_most: 4, unit: GB")
    code, report, out, _ = bench("--slo", file, "--seconds", "30")
    assert code == 0
    assert [verdict.outcome for verdict in report.verdicts] == ["met", "met"]
    assert report.target == "slo.yaml"
    closed = report.realtime.loops[0]
    assert len(closed.requests) == 30
    for one in closed.requests:
        assert 0 <= one.started_s <= one.tokenised_s <= one.finished_s
        assert list(one.token_s) == sorted(one.token_s)
    search = report.realtime.search
    assert search.highest_met == max(loop.rate for loop in report.realtime.loops[1:])
    assert report.figure("highest_rate").median == search.highest_met
    assert report.figure("first_clause").samples == 30
    assert report.figure("ttft").samples == 2, "what the benchmark itself measured stays"
    assert "met         first_clause p90 ≤ 60 s" in out
    assert "highest rate that meets them" in out
    for name in ("first_clause", "goodput", "deadline_miss"):
        assert report.figure(name).definition in out
    assert BenchReport.model_validate_json(report.model_dump_json()) == report


def test_an_objective_that_is_missed_is_named_with_exit_code_9(bench, slo):
    file = slo("metric: ttft, at_most: 0.000001, unit: ms", "metric: itl, at_most: 10, unit: s")
    code, report, _, err = bench("--slo", file, "--seconds", "30")
    assert code == 9
    assert [verdict.outcome for verdict in report.verdicts] == ["missed", "met"]
    assert "misses 1 of 2 objectives" in err
    assert "ttft median ≤ 1e-06 ms" in err
    assert "too much" in err
    assert report.realtime.search.ended.startswith("the objectives are missed")
    assert len(report.realtime.loops) == 1


def test_an_objective_that_cannot_be_judged_has_an_exit_code_of_its_own(bench, slo):
    file = slo("metric: retention, at_least: 0.9, unit: share")
    assert bench("--slo", file)[0] == 14, "refused, as nothing is sustained"
    code, report, _, err = bench("--slo", file, "--sustained", "0.02")
    assert code == 15
    assert report.realtime is None, "no objective needs a loop"
    assert "cannot be judged" in err


def test_a_rate_that_is_asked_for(bench, slo):
    code, report, out, _ = bench("--slo", slo("metric: e2e, at_most: 60, unit: s"), "--rate", "30", "--seconds", "30")
    assert code == 0
    opened = report.realtime.loops[1]
    assert (opened.scenario, opened.rate, len(opened.requests)) == ("open loop", 30, 30)
    assert report.realtime.search is None
    assert report.figure("offered_rate").median > 0
    assert report.verdicts[0].measured_as == "open loop at 30 requests/s"
    assert "open loop, 30 requests" in out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--target", "camera-30fps"), "camera-30fps is for models that classify"),
        (("--target", "raspberry-pi-5"), "raspberry-pi-5 is a device"),
        (("--target", "voice-asistant"), "did you mean 'voice-assistant'?"),
        (("--slo", "gone.yaml"), "no such list of objectives: gone.yaml"),
        (("--rate", "3"), "a rate needs objectives"),
    ],
)
def test_bad_input_is_said_before_anything_is_measured(bench, monkeypatch, options, message):
    monkeypatch.setattr(single_stream, "measure", lambda job: pytest.fail("it measured"))
    code, report, out, err = bench(*options)
    assert (code, report, out) == (14, None, "")
    assert message in err
    assert "hint: " in err


def test_errors_of_the_measured_process_are_ours(tiny, tmp_path):
    subject = artifact_subject(open_artifact(tiny))
    gone = replace(subject, job={**subject.job, "artifact": str(tmp_path / "gone.gguf")})
    with pytest.raises(ArtifactError, match="no such artifact") as caught:
        measuring.measure_section(gone, find_wanted("voice-assistant", None), Plan(threads=1), 5)
    assert caught.value.hint


def test_the_loops_are_opened_as_the_benchmark_was_asked_to(tiny, monkeypatch):
    """And not with what the runtime told of itself: torch has no setting for most of that."""
    jobs = []
    monkeypatch.setattr(measuring, "_run", lambda job, _: jobs.append(job) or ((loop(request(0.1)),), None))
    subject = artifact_subject(open_artifact(tiny))
    measuring.measure_section(subject, find_wanted("voice-assistant", None), Plan(threads=1), 5)
    opened = {**Plan(threads=1).opening, "prefill_threads": 1}
    assert {name: jobs[0][name] for name in Plan().opening} == opened == subject.opening(Plan(threads=1))
    assert jobs[0]["context"] is None


def test_a_loop_that_was_cut_off_is_not_judged(tiny, slo, monkeypatch):
    """One request of sixty was answered in time: that it was quick does not say that the limit is kept."""
    wanted = find_wanted(None, Path(slo("metric: ttft, at_most: 300")), rate=2.0)
    cut = loop(
        request(0.1, scheduled_s=1.0),
        scenario="open loop",
        rate=2.0,
        planned=60,
        stopped="time was up after 1 requests",
    )
    monkeypatch.setattr(measuring, "_run", lambda *_: ((loop(request(0.1)), cut), None))
    held = measuring.hold(report({}), artifact_subject(open_artifact(tiny)), wanted, Plan(threads=1))
    (verdict,) = held.verdicts
    assert verdict.outcome == "not judged"
    assert "time was up after 1 requests of 60" in verdict.text
    with pytest.raises(NotJudged):
        require_met(held.verdicts, "tiny")


def section(*loops):
    return RealtimeSection(clause_definition="x", prompts=1, prompt_source="x", new_tokens=1, loops=loops)


def test_the_seconds_that_are_needed():
    """By how long answers took, a fifth to spare; at a rate by when requests come, else in the half it has for sure."""
    answers = [request(3.0, scheduled_s=3.0 * index) for index in range(30)]
    cut = loop(*answers, planned=299, stopped="time was up after 30 requests")
    assert measuring.needed_seconds(section(cut)) == 1080
    late = [request(3.0, scheduled_s=4.0 * index + 1) for index in range(30)]
    opened = loop(*late, scenario="open loop", rate=0.25, planned=299, stopped="time was up after 30 requests")
    come = poisson(0.25, 299, seed=0)[-1]
    assert 1190 < come < 1440
    enough = measuring.needed_seconds(section(cut, opened))
    assert enough == math.ceil(1.2 * come / 10) * 10
    assert first_seconds(RealtimePlan((), 299, enough, rate=0.25)) < enough - come - 3, "the last one is answered"
    sooner = opened.model_copy(update={"requests": tuple(late[:3]), "stopped": "time was up after 3 requests"})
    assert measuring.needed_seconds(section(cut, sooner)) == enough, "however early it was cut off"
    faster = opened.model_copy(update={"rate": 1.0})
    assert measuring.needed_seconds(section(cut, faster)) == 2160
    assert measuring.needed_seconds(section(loop(*answers))) is None
    assert measuring.needed_seconds(section(loop(planned=299, stopped="time was up after 0 requests"))) is None


def test_the_seconds_that_are_needed_are_said(bench, slo, monkeypatch):
    cut = loop(request(3.0), planned=299, stopped="time was up after 1 requests")
    monkeypatch.setattr(measuring, "_run", lambda *_: ((cut,), None))
    code, _, _, err = bench("--slo", slo("metric: e2e, statistic: p99, at_most: 9, unit: s"))
    assert code == 15
    assert "about --seconds 1080 would be enough" in " ".join(err.split())


def test_a_busy_machine_is_said():
    section = RealtimeSection(
        clause_definition="x", prompts=1, prompt_source="x", new_tokens=1,
        loops=(loop(request(0.1), request(), planned=5, stopped="time was up after 2 requests"),),
        others_share=0.5, steal_share=0.1,
    )  # fmt: skip
    assert [note if "wanted" in note else note.split(",")[0] for note in measuring.warnings(section)] == [
        "against a clock: others used 50% of the CPUs meanwhile (10% or more)",
        "against a clock: the host took 10% of the CPUs' time for others meanwhile (2% or more)",
        "closed loop: time was up after 2 requests, of 5 wanted: about --seconds 10 would be enough",
        "1 of 2 answers were empty and are in no latency figure",
    ]
    assert json.loads(section.model_dump_json())["others_share"] == 0.5
    assert (
        measuring.warnings(
            section.model_copy(update={"others_share": 0.01, "steal_share": None, "loops": (loop(request(0.1)),)})
        )
        == ()
    )
