import pytest
from clockwork import loop, request

from edgetune.bench.objective import Objective
from edgetune.bench.realtime_section import RateSearch, RealtimeSection
from edgetune.bench.verdicts_text import search_lines
from edgetune.realtime.figures import DEFINITIONS, figure_of, is_good, measured_of, measured_of_section
from edgetune.targets.judging import judge

FIRST = Objective(metric="first_clause", statistic="p95", at_most=300, unit="ms")
GAP = Objective(metric="itl", statistic="p95", at_most=60, unit="ms")


def test_every_metric_follows_its_definition():
    requests = [request(0.2, 0.25, 0.35, scheduled_s=0.5, end=0.4), request(0.1, 0.13, started_s=0.02, scheduled_s=1.0)]
    found = measured_of(loop(*requests, scenario="open loop", rate=2.0), [FIRST, GAP])
    values = {name: pytest.approx(list(one.values)) for name, one in found.items()}
    assert values["ttft"] == [200, 100]
    assert values["first_clause"] == [200, 100]
    assert values["e2e"] == [350, 130]
    assert values["wait"] == [0, 20]
    assert values["itl"] == [50, 100, 30]
    assert values["itl_mean"] == [75, 30]
    assert values["jitter"] == [20]  # gaps 30, 50, 100: distances 20, 0, 50
    assert values["offered_rate"] == [2 / 1.0]
    assert values["achieved_rate"] == [2 / 1.13]
    assert values["goodput"] == [1 / 1.13]  # the mean gap of the first is 75 ms
    assert found["ttft"].how == "open loop at 2 requests/s"
    assert set(found) <= set(DEFINITIONS)
    assert "offered_rate" not in measured_of(loop(*requests), [])


def test_tokens_are_due_as_speech_uses_them_up():
    """The clause by 300 ms, then one token each 60 ms; a late one is caught up with by earlier ones that were quick."""
    quick_then_stalled = request(0.1, 0.2, 0.21, 0.40, 0.49, clause_tokens=2)  # due .30 .30 .36 .42 .48
    assert list(measured_of(loop(quick_then_stalled), [FIRST, GAP])["deadline_miss"].values) == [0, 0, 0, 0, 1]
    first_only = measured_of(loop(request(0.1, 0.9, clause_tokens=1)), [FIRST])["deadline_miss"]
    assert list(first_only.values) == [0], "without a limit on gaps only the clause is due"
    assert measured_of(loop(quick_then_stalled), [GAP])["deadline_miss"].samples == 0
    token = Objective(metric="ttft", at_most=0.15, unit="s")
    assert list(measured_of(loop(request(0.2, 0.22)), [token, GAP])["deadline_miss"].values) == [1, 1]


def test_an_answer_without_a_word_keeps_no_promise():
    assert not is_good(request(), [FIRST])
    assert is_good(request(0.2), [FIRST, GAP]), "one token has no gap to be judged"
    assert is_good(request(0.2), [Objective(metric="decode", at_least=5)])


def test_requests_without_an_answer_are_later_than_all_others():
    answered, empty = request(0.2), request()
    most, half = [empty] * 29 + [answered], [answered] * 29 + [empty]
    first = [Objective(metric="ttft", statistic=name, at_most=300, unit="ms") for name in ("median", "max", "p90")]
    outcomes = [[one.outcome for one in judge(first, measured_of(loop(*some), first))] for some in (most, half)]
    assert outcomes == [["not judged"] * 3, ["met", "not judged", "met"]]
    (median, *_) = judge(first, measured_of(loop(*most), first))
    assert median.reason == "29 of 30 requests had no answer"


@pytest.mark.parametrize(
    ("met", "missed", "asked", "outcome"),
    [(2.0, 2.1, 2.0, "met"), (2.0, 2.1, 2.1, "missed"), (2.0, 2.1, 2.05, "not judged"), (2.0, None, 9.0, "not judged")],
)
def test_a_rate_is_missed_only_where_one_as_low_missed(met, missed, asked, outcome):
    section = RealtimeSection(
        clause_definition="x", prompts=1, prompt_source="x", new_tokens=8, loops=(loop(request(0.1)),),
        search=RateSearch(highest_met=met, lowest_missed=missed, predicted=2.0, ended="no time left"),
    )  # fmt: skip
    objective = Objective(metric="highest_rate", at_least=asked, unit="requests/s")
    (found,) = judge([objective], measured_of_section(section, []))
    assert found.outcome == outcome
    if outcome == "not judged":
        assert found.reason.endswith("none was measured: no time left")


def test_figures_of_the_report():
    found = measured_of(loop(*[request(0.1, 0.2)] * 30), [FIRST, GAP])
    shown = figure_of("ttft", found["ttft"])
    assert (shown.median, shown.samples, shown.percentiles["p90"]) == (100, 30, pytest.approx(100))
    assert shown.interval is None, "samples of one process say nothing about the next one"
    assert shown.reasons == {
        "p95": "30 samples; p95 needs 59",
        "p99": "30 samples; p99 needs 299",
        "interval": "1 round; an interval needs 3",
    }
    goodput = figure_of("goodput", found["goodput"])
    assert (goodput.better, shown.better) == ("higher", "lower")
    late = figure_of("deadline_miss", found["deadline_miss"])
    assert (late.median, late.percentiles) == (0.0 + sum(found["deadline_miss"].values) / 60, {})
    none = figure_of("itl", measured_of(loop(request(0.1)), [])["itl"])
    assert (none.median, none.reasons) == (None, {"median": "no answer was long enough"})


def test_a_loop_that_was_cut_off_has_no_values_but_a_reason():
    """Those that were answered are the ones that waited least: what they say would be coordinated omission again."""
    cut = loop(
        request(0.1, 0.2, scheduled_s=1.0),
        scenario="open loop",
        rate=5.0,
        planned=59,
        stopped="time was up after 1 requests",
    )
    found = measured_of(cut, [FIRST, GAP])
    assert found.keys() == measured_of(cut.model_copy(update={"stopped": None}), [FIRST, GAP]).keys()
    for one in found.values():
        assert (one.samples, one.values) == (0, ())
        assert one.reasons["median"].startswith("time was up after 1 requests of 59")
    assert measured_of(loop(request(0.1), stopped="x", planned=9), [])["ttft"].samples == 1, "a closed loop omits none"


def test_the_rate_that_was_asked_for_is_judged_else_one_at_a_time():
    closed, opened = loop(request(0.1)), loop(request(0.2), scenario="open loop", rate=1.0)
    parts = {"clause_definition": "x", "prompts": 1, "prompt_source": "x", "new_tokens": 1, "loops": (closed, opened)}
    assert RealtimeSection(**parts).judged is opened
    search = RateSearch(highest_met=None, lowest_missed=1.0, predicted=1.0, ended="x")
    section = RealtimeSection(**parts, search=search)
    assert section.judged is closed
    missed = "no rate that was measured meets the objectives"
    assert measured_of_section(section, [])["highest_rate"].reasons["median"] == missed
    assert search_lines(search, section.no_rate)[0] == f"{missed}; lowest that misses: 1"


def test_a_search_that_measured_no_rate_does_not_say_that_rates_missed():
    search = RateSearch(highest_met=None, lowest_missed=None, predicted=0.05, ended="no time left")
    section = RealtimeSection(
        clause_definition="x", prompts=1, prompt_source="x", new_tokens=1, loops=(loop(request(0.1)),), search=search
    )
    assert measured_of_section(section, [])["highest_rate"].reasons["median"] == "no rate was measured"
    assert search_lines(search, section.no_rate) == ["no rate was measured", "search ended: no time left"]
