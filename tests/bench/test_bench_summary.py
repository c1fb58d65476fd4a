import pytest

from edgetune.bench.schema import Environment, Loads, LoadSample, MemorySample, RequestSample
from edgetune.bench.summary import DEFINITIONS, figures, warnings

MEMORY = MemorySample(peak_rss=250_000_000, anonymous=1, file_backed=2, pss=3, python_only=4)


def request(*token_s, prompt_tokens=40, tokenised_s=0.1):
    return RequestSample(prompt_tokens=prompt_tokens, tokenised_s=tokenised_s, token_s=token_s, finish="stop")


def loads(*warm, cold=(), reason=None):
    return Loads(
        warm=[LoadSample(ready_s=start, first_token_s=start + 1) for start in warm],
        cold=[LoadSample(ready_s=start, first_token_s=start + 2) for start in cold],
        cold_reason=reason,
    )


def by_name(found):
    return {figure.name: figure for figure in found}


def test_every_figure_follows_its_definition():
    found = by_name(figures(loads(1.0, 2.0, 3.0, cold=(4.0, 6.0)), [request(0.5, 0.6, 0.9), request(0.3, 0.5)], MEMORY))
    assert list(found) == list(DEFINITIONS)
    assert all(figure.definition for figure in found.values())
    assert found["load_warm"].median == 2.0
    assert found["load_cold"].median == 5.0
    assert found["first_answer_warm"].median == 3.0
    assert found["first_answer_cold"].median == 7.0
    assert found["ttft"].median == pytest.approx(400)
    assert found["itl"].samples == 3
    assert found["itl"].median == pytest.approx(200)  # 100, 300, 200
    assert found["itl_mean"].median == pytest.approx(200)  # 0.4 s over 2 gaps; 0.2 s over 1
    assert found["decode"].median == pytest.approx(5)
    assert found["prefill"].median == pytest.approx((40 / 0.4 + 40 / 0.2) / 2)
    assert found["peak_rss"].median == 250
    assert found["ttft"].percentiles == {"p90": None, "p95": None, "p99": None}
    assert "needs 29" in found["ttft"].reasons["p90"]


def test_enough_samples_bring_percentiles():
    found = by_name(figures(loads(1.0), [request(*[0.1 * (n + 1) for n in range(400)])], MEMORY))
    assert found["itl"].percentiles["p99"] == pytest.approx(100)
    assert found["itl"].reasons == {}


def test_what_is_missing_says_why():
    found = by_name(figures(loads(1.0, reason="no posix_fadvise"), [request(0.2), request()], MEMORY))
    assert found["load_cold"].median is None
    assert found["load_cold"].reasons == {"median": "no posix_fadvise"}
    assert found["itl"].reasons == {"median": "no answer was long enough"}
    assert found["ttft"].samples == 1


def test_warnings():
    machine = Environment(
        cpu="x", architecture="x", features="", virtual=False,
        logical_cpus=4, usable_cpus=4, cgroup_cpus=None, governor=None,
        memory_bytes=1, load_average=2.5, system="x", versions={},
    )  # fmt: skip
    noisy = [request(0.5, 0.6), request(1.0, 1.1), request(2.0, 2.1), request()]
    notes = warnings(machine, figures(loads(1.0), noisy, MEMORY), noisy)
    assert notes[0] == "the machine was busy: load 2.5 on 4 CPUs before the first start"
    assert any(note.startswith("ttft is noisy") for note in notes)
    assert notes[-1] == "1 of 4 prompts got an empty answer and are in no latency figure"
    virtual = machine.model_copy(update={"virtual": True})
    cold = figures(loads(1.0, cold=(1.0,)), noisy, MEMORY)
    assert any("load_cold is a lower bound" in note for note in warnings(virtual, cold, noisy))
    assert not any("lower bound" in note for note in warnings(machine, cold, noisy))
    calm = [request(0.5, 0.6)] * 4
    quiet = machine.model_copy(update={"load_average": 0.1})
    assert warnings(quiet, figures(loads(1.0), calm, MEMORY), calm) == ()
