"""What is said before anything is measured."""

import pytest

from edgetune.errors import TargetError
from edgetune.realtime.wanted import find_wanted


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
    assert find_wanted("conversational", None).requests == 299


def test_units_are_filled_in_and_a_loop_is_only_run_where_it_is_needed(slo):
    wanted = find_wanted("cpu", slo("metric: load_warm, at_most: 2"))
    assert wanted.objectives[0].text == "load_warm median ≤ 2 s"
    assert not wanted.needs_loop
    assert find_wanted(None, slo("metric: ttft, at_most: 300")).needs_loop


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
        ("metric: peak_rss, statistic: p95, at_most: 1", "a benchmark has one peak_rss"),
        ("metric: frame, statistic: p95, at_most: 33", "measured with a target whose scenario is frames"),
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
