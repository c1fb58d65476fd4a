"""Objectives on what the plan does not measure are refused before anything is measured."""

import pytest

from edgetune.bench.objective import Objective, Verdict
from edgetune.bench.plan import Plan
from edgetune.errors import NotJudged, TargetError
from edgetune.realtime import planned
from edgetune.realtime.planned import require_planned
from edgetune.realtime.wanted import Wanted
from edgetune.targets.judging import require_met


def wanted(metric):
    return Wanted("mine", None, (Objective(metric=metric, at_least=1),))


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
    with pytest.raises(TargetError) as caught:
        require_planned(wanted(metric), Plan(depths=(0, 512), batches=(64,), kv_types=("f16", "q8_0")))
    assert problem in caught.value.problems[0]


def test_what_is_planned_is_not():
    plan = Plan(depths=(512,), kv_types=("f16", "q8_0"), sustained=1)
    for metric in ("retention", "decode@depth=512", "memory_kv@kv_type=q8_0", "ttft"):
        require_planned(wanted(metric), plan)


@pytest.mark.parametrize("missing", [None, "no readable counter"])
def test_energy_only_where_it_can_be_read(monkeypatch, missing):
    monkeypatch.setattr(planned, "EnergyMeter", lambda: type("Meter", (), {"missing": missing}))
    if missing is None:
        require_planned(wanted("energy_per_token"), Plan())
        return
    with pytest.raises(TargetError) as caught:
        require_planned(wanted("energy_per_token"), Plan())
    assert "no readable counter" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("metric", "reason", "hint"),
    [
        ("ttft", "30 samples; p99 needs 299", "measure longer with --seconds"),
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
