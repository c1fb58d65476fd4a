from __future__ import annotations

import pytest

from edgetune.sweep.charts import front_chart, importance_chart
from edgetune.sweep.record import Basis, Importance, Space, Sweep, TrialRecord
from edgetune.sweep.text import to_text

SPACE = Space(methods=("lora",), ranks=(4,), ratios=(2.0,), targets={"all": "auto"}, learning_rate=1e-3, spread=10.0)


def trial(number, loss, weights, origin="sampled", state="complete", reason=None):
    return TrialRecord(
        number=number,
        state=state,
        origin=origin,
        settings={"method.kind": "lora", "method.rank": 4, "train.learning_rate": 1e-3},
        targets="all",
        loss=loss,
        losses={},
        seconds=1.0,
        peak_rss=1,
        trainable_parameters=weights,
        reason=reason,
        folder=None,
    )


@pytest.fixture
def sweep():
    trials = (
        trial(0, 0.5, 4000, "recipe"),
        trial(1, 0.4, 2000),
        trial(2, None, None, state="failed", reason="not enough memory: 9 GB"),
    )
    basis = Basis(recipe_sha256="r", base_sha256="b", data_sha256={}, validation="30 rows", space=SPACE)
    return Sweep(
        recipe="tiny",
        basis=basis,
        limits={"max_steps": 8},
        trials=trials,
        best=1,
        importance=(Importance(setting="rank", share=0.7, low=0.5, high=0.9),),
        importance_missing=None,
        agreement=(),
        created="2026-01-01T00:00:00+00:00",
        edgetune="0",
        versions={},
    )


def test_trials_on_the_front_are_filled_and_the_recipe_is_named(sweep):
    chart = front_chart(sweep)
    series = {one.name: one for one in chart.series}
    assert set(series) == {"on the front", "the others", "recipe"}
    assert (series["on the front"].x, series["on the front"].y) == ((2.0,), (0.4,))
    assert not series["on the front"].hollow
    assert series["recipe"].hollow
    assert len(chart.table.rows) == 2


def test_importance_is_drawn_with_its_interval(sweep):
    chart = importance_chart(sweep)
    assert chart.categories == ("rank",)
    assert (chart.series[0].low, chart.series[0].high) == ((0.5,), (0.9,))


def test_nothing_is_drawn_of_nothing(sweep):
    empty = sweep.model_copy(update={"trials": (), "importance": ()})
    assert front_chart(empty) is None
    assert importance_chart(empty) is None


def test_the_text_says_what_failed_what_won_and_that_it_flatters(sweep):
    text = to_text(sweep)
    assert "3 trials (2 complete, 1 failed), each max_steps 8" in text
    assert "failed: trial 2: not enough memory: 9 GB" in text
    assert "best: trial 1, loss 0.4000; the recipe as it is: 0.5000" in text
    assert "held-out rows were not looked at" in text
