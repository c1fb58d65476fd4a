"""What is said before anything is measured."""

from dataclasses import replace

import pytest
from benchreports import report
from clockwork import loop, request

from edgetune.bench.plan import Plan
from edgetune.bench.realtime_section import RealtimeSection
from edgetune.errors import TargetError
from edgetune.realtime.wanted import find_wanted
from edgetune.targets.judging import judge
from edgetune.targets.target import Target


@pytest.fixture
def slo(tmp_path):
    def write(*lines):
        file = tmp_path / "slo.yaml"
        file.write_text("".join(f"- {{{line}}}\n" for line in lines))
        return file

    return write


def problems(file, rate=None, target=None):
    with pytest.raises(TargetError) as caught:
        find_wanted(target, file, rate)
    return " | ".join(caught.value.problems)


def test_nothing_wanted():
    assert find_wanted(None, None).objectives == ()
    with pytest.raises(TargetError, match="a rate needs objectives"):
        find_wanted(None, None, rate=2.0)


def test_target_and_file_together(slo):
    wanted = find_wanted("voice-assistant", slo("metric: peak_rss, statistic: max, at_most: 0.5, unit: GB"))
    assert wanted.name == "voice-assistant and slo.yaml"
    assert [one.metric for one in wanted.objectives] == ["first_clause", "itl", "peak_rss"]
    assert wanted.needs_loop
    assert wanted.requests == 59
    assert find_wanted("conversational", None).requests == 329, "an answer of one token has no gap"


def test_units_are_filled_in_and_a_loop_is_only_run_where_it_is_needed(slo):
    wanted = find_wanted("cpu", slo("metric: load_warm, at_most: 2"))
    assert wanted.objectives[0].text == "load_warm median ≤ 2 s"
    assert not wanted.needs_loop
    assert find_wanted(None, slo("metric: ttft, at_most: 300")).needs_loop


def test_what_a_target_says_of_threads_and_context_is_used_where_the_plan_says_nothing(tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("{name: mine, description: x, kind: host, threads: 3, context: 700}")
    wanted = find_wanted(str(file), None)
    assert wanted.filled_in(Plan()).opening == {**Plan().opening, "decode_threads": 3, "context": 700}
    assert wanted.filled_in(given := Plan(threads=1, contexts=(512,))) == given
    assert find_wanted(None, None).filled_in(Plan()) == Plan()


def test_a_stored_report_answers_only_what_it_was_held_to(slo):
    file = slo("metric: ttft, at_most: 300")
    closed, wanted = find_wanted(None, file), find_wanted(None, file, rate=2.0)
    answered = loop(request(0.1), scenario="open loop", rate=2.0)
    section = RealtimeSection(
        clause_definition="x", prompts=1, prompt_source="x", new_tokens=8, loops=(loop(request(0.1)), answered)
    )
    held = report({}, new_tokens=8).model_copy(
        update={"target": "slo.yaml", "verdicts": judge(wanted.objectives, {}), "realtime": section}
    )
    assert wanted.is_answered_by(held)
    assert not closed.is_answered_by(held), "it was held to a rate"
    assert not replace(wanted, rate=3.0).is_answered_by(held)
    shorter = Target(name="x", description="x", kind="realtime", new_tokens=4)
    assert not replace(wanted, target=shorter).is_answered_by(held)
    assert not wanted.is_answered_by(held.model_copy(update={"realtime": None}))


def test_frames_are_for_what_classifies():
    with pytest.raises(TargetError, match="camera-30fps is for models that classify"):
        find_wanted("camera-30fps", None)
    wanted = find_wanted("camera-30fps", None, classifies=True)
    assert (wanted.rate, wanted.needs_frames, wanted.needs_loop) == (30, True, False)


def test_devices_are_not_judged_by_this_machine():
    with pytest.raises(TargetError, match="raspberry-pi-5 is a device") as caught:
        find_wanted("raspberry-pi-5", None)
    assert caught.value.hint.startswith("edgetune device measure ARTIFACT --over ssh")
    with pytest.raises(TargetError) as caught:
        find_wanted("iphone", None)
    assert "projected and not measured" in caught.value.hint


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("metric: tftt, at_most: 1", "did you mean ttft"),
        ("metric: ttft, at_most: 1, unit: MB", "ttft is measured in ms"),
        ("metric: ttft, at_most: 1, unit: parsecs", "ttft is measured in ms"),
        ("metric: ttft, at_most: 1, statistic: share", "the statistic share is that of deadline_miss"),
        ("metric: deadline_miss, at_most: 0.1", "the statistic share is that of deadline_miss"),
        ("metric: deadline_miss, statistic: share, at_most: 0.1", "no objective says when the first token is due"),
        ("metric: peak_rss, statistic: p95, at_most: 1", "gives no p95 of peak_rss: use median or max"),
        ("metric: decode, statistic: p90, at_least: 1", "gives no p90 of decode: use median"),
        ("metric: decode@depth=512, statistic: p90, at_least: 1", "gives no p90 of decode@depth=512"),
        ("metric: overhead_per_token, statistic: max, at_most: 5", "keeps no max of overhead_per_token"),
        ("metric: itl_raw, statistic: p95, at_most: 5", "gives no p95 of itl_raw: use median"),
        ("metric: decode, statistic: max, at_least: 1", "more decode is better"),
        (
            "metric: ttft, statistic: p95, at_least: 1",
            "less ttft is better, so at_least is a limit in the wrong direction",
        ),
        ("metric: decode, at_most: 100", "more decode is better, so at_most is a limit in the wrong direction"),
        ("metric: ttft_bound, at_most: 500", "edgetune device measure alone measures it"),
        ("metric: frame, statistic: p95, at_most: 33", "only what classifies has it"),
        ("metric: offered_rate, at_least: 1", "give --rate"),
    ],
)
def test_what_cannot_be_measured_is_said_before(slo, line, problem):
    assert problem in problems(slo(line))


def test_all_problems_at_once_and_a_rate_excludes_the_search(slo):
    found = problems(slo("metric: tftt, at_most: 1", "metric: itll, at_most: 1"))
    assert "tftt" in found
    assert "itll" in found
    assert "no --rate is given" in problems(slo("metric: highest_rate, at_least: 1"), rate=2.0)
