"""Objectives on what the plan does not measure are refused before anything is measured."""

import pytest

from edgetune.bench.objective import Objective, Verdict
from edgetune.bench.plan import Plan
from edgetune.errors import NotJudged, TargetError
from edgetune.realtime import planned
from edgetune.realtime.planned import require_planned
from edgetune.realtime.wanted import Wanted
from edgetune.targets.judging import require_met


def problems(metric, plan):
    """Of an objective on one metric."""
    try:
        require_planned(Wanted("mine", None, (Objective(metric=metric, at_least=1),)), plan)
    except TargetError as error:
        return error.problems
    return ()


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("retention", "only with --sustained"),
        ("decode_sustained", "only with --sustained"),
        ("decode@colour=red", "'colour' is nothing that is varied"),
        ("decode@depth", "no depth of ''"),
        ("decode@depth=77", "no depth of '77' is measured: it is tried with 0, 512; --depths"),
        ("decode@batch=64", "no batch of '64' is measured: it is not varied; --batch"),
        ("memory_kv@kv_type=q4_0", "tried with f16, q8_0"),
    ],
)
def test_what_is_not_planned_is_refused(metric, problem):
    (found,) = problems(metric, Plan(depths=(0, 512), batches=(64,), kv_types=("f16", "q8_0")))
    assert problem in found


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        ("retention", {"sustained": 1}),
        ("decode_sustained", {"sustained": 1}),
        ("decode@depth=512", {"depths": (512,)}),
        ("memory_kv@kv_type=q8_0", {"kv_types": ("f16", "q8_0")}),
    ],
)
def test_its_option_plans_it(metric, options):
    assert len(problems(metric, Plan(depths=()))) == 1
    assert problems(metric, Plan(**{"depths": (), **options})) == ()


def test_what_every_plan_measures_needs_no_option():
    assert problems("ttft", Plan(depths=())) == ()


@pytest.mark.parametrize("missing", [None, "no readable counter"])
def test_energy_only_where_it_can_be_read(monkeypatch, missing):
    monkeypatch.setattr(planned, "EnergyMeter", lambda: type("Meter", (), {"missing": missing}))
    said = () if missing is None else (f"energy cannot be read on this machine: {missing}",)
    assert tuple(text.split(": ", 1)[1] for text in problems("energy_per_token", Plan())) == said


@pytest.mark.parametrize(
    ("metric", "reason", "hint"),
    [
        (
            "ttft",
            "30 samples; p99 needs 299",
            "a statistic that needs fewer samples, or, where time was up, more --seconds",
        ),
        ("retention", "20 seconds; two ends of 30 are needed", "--sustained"),
        ("pss", "this system has no /proc to read it from", "longer measuring does not help"),
    ],
)
def test_the_hint_fits_the_reason(metric, reason, hint):
    objective = Objective(metric=metric, at_most=1, unit="ms")
    verdict = Verdict(objective=objective, outcome="not judged", value=None, samples=0, reason=reason)
    with pytest.raises(NotJudged) as caught:
        require_met([verdict], "x")
    assert hint in caught.value.hint
