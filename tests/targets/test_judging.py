import pytest

from edgetune.bench.objective import Objective
from edgetune.bench.schema import Figure
from edgetune.errors import CheckFailed, NotJudged
from edgetune.targets.judging import Measured, _of_figure, judge, require_met, require_one_met


def objective(**fields):
    return Objective(**{"metric": "ttft", "statistic": "median", "unit": "ms", "at_most": 300, **fields})


def one(found, **fields):
    return judge([objective(**fields)], {"ttft": found})[0]


def samples(*values, unit="ms"):
    return Measured(unit, "closed loop", values=values, samples=len(values))


def test_met_and_missed_by_how_much():
    met = one(samples(100, 200, 900))
    assert (met.outcome, met.value, met.beyond) == ("met", 200, -100)
    assert met.text == "met         ttft median ≤ 300 ms: 200 ms  (3 samples, closed loop)"
    missed = one(samples(352), at_most=300)
    assert missed.text == "missed      ttft median ≤ 300 ms: 352 ms, 52 ms (17%) too much  (1 samples, closed loop)"
    low = one(samples(4.0, unit="tokens/s"), at_most=None, at_least=5.0, unit="tokens/s")
    assert low.text.split(": ")[1].startswith("4 tokens/s, 1 tokens/s (20%) too little")
    assert one(samples(300)).outcome == "met", "the limit itself keeps it"


def test_statistics():
    values = [float(n) for n in range(1, 102)]
    found = samples(*values)
    assert one(found, statistic="max").value == 101
    assert one(found, statistic="p50").value == 51
    assert one(found, statistic="p95").value == 96
    assert one(samples(0, 0, 0, 1), statistic="share").value == 0.25


@pytest.mark.parametrize(("statistic", "needed"), [("p90", 29), ("p95", 59), ("p99", 299)])
def test_too_few_samples_are_no_verdict(statistic, needed):
    few = one(samples(*[1.0] * (needed - 1)), statistic=statistic)
    assert (few.outcome, few.value) == ("not judged", None)
    assert few.reason == f"{needed - 1} samples; {statistic} needs {needed}"
    assert few.text.endswith(few.reason)
    assert one(samples(*[1.0] * needed), statistic=statistic).outcome == "met"


def test_what_was_not_measured_is_no_verdict():
    assert judge([objective()], {})[0].reason == "ttft was not measured"
    assert (
        one(Measured("ms", "x", reasons={"median": "no answer was long enough"})).reason == "no answer was long enough"
    )
    assert one(samples(1.0, unit="MB")).reason == "ttft is measured in MB, not in ms"


def test_units_are_turned():
    found = one(samples(352.0), at_most=0.3, unit="s")
    assert (found.value, found.beyond) == (pytest.approx(0.352), pytest.approx(0.052))
    assert one(samples(352.0), unit=None).objective.unit == "ms"
    assert one(samples(2500.0, unit="MB"), at_most=2, unit="GB").outcome == "missed"


def test_figures_without_their_samples():
    figure = Figure(name="ttft", unit="ms", definition="x", median=5.0, samples=20, percentiles={"p90": None},
                    reasons={"p90": "20 samples; p90 needs 29"})  # fmt: skip
    found = _of_figure(figure, "single stream")
    assert one(found).value == 5.0
    assert one(found, statistic="p90").reason == "20 samples; p90 needs 29"
    assert one(found, statistic="max").reason == "max of it was not kept"
    single = _of_figure(figure.model_copy(update={"samples": 1}), "single stream")
    assert one(single, statistic="max").value == 5.0
    rounds = figure.model_copy(update={"samples": 3, "rounds": (4.0, 9.0, 5.0)})
    assert one(_of_figure(rounds, "single stream"), statistic="max").value == 9.0, "one sample a round"


def test_the_exit_code_says_which():
    met, missed, unjudged = one(samples(1.0)), one(samples(400.0)), one(samples(1.0), statistic="p99")
    require_met([met], "x")
    require_met([], "x")
    with pytest.raises(CheckFailed, match="x misses 1 of 3 objectives") as caught:
        require_met([met, missed, unjudged], "x")
    assert caught.value.problems == (missed.text, unjudged.text)
    assert "100 ms (33%) too much" in caught.value.problems[0]
    with pytest.raises(NotJudged, match="1 of 2 objectives of x cannot be judged") as caught:
        require_met([met, unjudged], "x")
    assert caught.value.exit_code == 15


def test_of_several_artifacts_one_that_meets_everything_is_enough():
    met, missed, unjudged = one(samples(1.0)), one(samples(400.0)), one(samples(1.0), statistic="p99")
    require_one_met({})
    require_one_met({"a": [met], "b": [missed]})
    with pytest.raises(CheckFailed, match="none of 2 artifacts") as caught:
        require_one_met({"a": [met, missed], "b": [unjudged]})
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["a", "b"]
    with pytest.raises(NotJudged):
        require_one_met({"a": [unjudged], "b": [unjudged]})
    with pytest.raises(CheckFailed, match="a misses 1 of 1"):
        require_one_met({"a": [missed]})
