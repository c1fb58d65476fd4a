import pytest

from edgetune.bench.definitions import DEFINITIONS
from edgetune.bench.samples import (
    AxisSample,
    DepthSample,
    EnergySample,
    LoadSample,
    MemorySample,
    RawSample,
    RequestSample,
    Sustained,
)
from edgetune.bench.schema import Environment, Settings
from edgetune.bench.summary import Samples, figures, warnings

MEMORY = MemorySample(
    peak_rss=250_000_000, anonymous=1, file_backed=2, pss=3, python_only=4, weights=5_000_000, reasons={"kv": "untold"}
)
SETTINGS = Settings(
    runtime="x", threads=1, prompts=2, prompt_source="x", new_tokens=8, starts=1, depth_prefill=128, depth_decode=32,
    memory_budget_mb=200,
)  # fmt: skip


def request(*token_s, prompt_tokens=40, tokenised_s=0.1, round=0, prompt=0):
    return RequestSample(
        round=round, prompt=prompt, prompt_tokens=prompt_tokens, tokenised_s=tokenised_s, token_s=token_s, finish="stop"
    )


def samples(*requests, warm=(1.0,), cold=(), reason=None, **more):
    return Samples(
        warm=[
            LoadSample(round=n, ready_s=start, first_token_s=start + 1, first_request_s=0.7)
            for n, start in enumerate(warm)
        ],
        cold=[LoadSample(ready_s=start, first_token_s=start + 2) for start in cold],
        cold_reason=reason,
        requests=list(requests),
        memory=[MEMORY],
        **more,
    )


def by_name(found, settings=SETTINGS):
    return {figure.name: figure for figure in figures(found, settings)}


def test_every_figure_follows_its_definition():
    raw = [RawSample(round=0, prompt=0, prompt_tokens=40, prefill_s=0.25, step_s=(0.1, 0.2))]
    found = by_name(
        samples(request(0.5, 0.6, 0.9), request(0.3, 0.5, prompt=1), warm=(1.0, 2.0, 3.0), cold=(4.0, 6.0), raw=raw)
    )
    assert list(found) == list(DEFINITIONS)
    assert all(figure.definition for figure in found.values())
    assert found["load_warm"].median == 2.0
    assert found["load_cold"].median == 5.0
    assert found["first_answer_warm"].median == 3.0
    assert found["first_answer_cold"].median == 7.0
    assert found["first_inference"].median == pytest.approx(200), "of the first round alone, whose prompt came again"
    assert found["ttft"].median == pytest.approx(400)
    assert found["itl"].samples == 3
    assert found["itl"].median == pytest.approx(200)  # 100, 300, 200
    assert found["itl_mean"].median == pytest.approx(200)  # 0.4 s over 2 gaps; 0.2 s over 1
    assert found["decode"].median == pytest.approx(5)
    assert found["prefill"].median == pytest.approx((40 / 0.4 + 40 / 0.2) / 2)
    assert found["e2e"].median == pytest.approx(700)
    assert found["e2e_raw"].median == pytest.approx(550), "prompt 250, then 100 and 200"
    assert found["overhead_e2e"].median == pytest.approx(100 * (900 / 550 - 1))
    assert found["itl_raw"].median == pytest.approx(150)
    assert found["decode_raw"].median == pytest.approx(2 / 0.3)
    assert found["prefill_raw"].median == pytest.approx(160)
    assert found["overhead_per_token"].median == pytest.approx(100 * (200 / 150 - 1))
    assert found["peak_rss"].median == 250
    assert found["memory_weights"].median == 5
    assert found["memory_kv"].reasons == {"median": "untold"}
    assert found["ttft"].percentiles == {"p90": None, "p95": None, "p99": None}
    assert "needs 29" in found["ttft"].reasons["p90"]


def test_a_round_has_one_value_and_three_have_an_interval():
    rounds = [request(0.1 * n, 0.1 * n + 0.1, round=n) for n in (1, 2, 4)]
    found = by_name(samples(*rounds))["ttft"]
    assert found.rounds == pytest.approx((100, 200, 400))
    low, high = found.interval
    assert low == pytest.approx(100)
    assert high == pytest.approx(400)
    two = by_name(samples(*rounds[:2]))["ttft"]
    assert two.interval is None
    assert two.reasons["interval"] == "2 rounds; an interval needs 3"


def test_enough_samples_bring_percentiles():
    found = by_name(samples(request(*[0.1 * (n + 1) for n in range(400)])))
    assert found["itl"].percentiles["p99"] == pytest.approx(100)
    assert set(found["itl"].reasons) == {"interval"}


def test_what_is_missing_says_why():
    energy = [EnergySample(round=0, joules=None, tokens=3, reason="no counter")]
    found = by_name(samples(request(0.2), request(), reason="no posix_fadvise", energy=energy))
    assert found["load_cold"].median is None
    assert found["load_cold"].reasons == {"median": "no posix_fadvise"}
    assert found["itl"].reasons == {"median": "no answer was long enough"}
    assert found["energy_per_token"].reasons == {"median": "no counter"}
    for name in ("itl_raw", "e2e_raw", "overhead_e2e"):
        assert "no loop of its own" in found[name].reasons["median"]
    assert found["ttft"].samples == 1


def test_energy_is_a_token():
    energy = [EnergySample(round=0, joules=6.0, tokens=3)]
    assert by_name(samples(request(0.2), energy=energy))["energy_per_token"].median == 2


def test_depths_and_settings_have_figures_of_their_own():
    depths = [
        DepthSample(round=n, depth=512, prefill_tokens=128, prefill_s=0.5, step_s=(0.1, 0.1, 0.4)) for n in (0, 1)
    ]
    axes = [
        AxisSample(round=0, depth=64, prefill_tokens=128, prefill_s=1.0, step_s=(0.1,), axis="kv_type", value="q8_0",
                   peak_rss=2_000_000, kv=None)
    ]  # fmt: skip
    found = by_name(samples(request(0.2), depths=depths, axes=axes))
    assert found["prefill@depth=512"].median == 256
    assert found["decode@depth=512"].median == pytest.approx(5), "1 / mean gap: a stall counts"
    assert "after 512 tokens" in found["decode@depth=512"].definition
    assert found["decode@kv_type=q8_0"].median == 10
    assert found["peak_rss@kv_type=q8_0"].median == 2
    assert found["memory_kv@kv_type=q8_0"].reasons["median"] == "the runtime does not say"
    assert found["decode@depth=512"].metric == "decode"
    assert found["decode@depth=512"].place == ("depth", "512")
    assert found["ttft"].place is None


@pytest.mark.parametrize(("minutes", "short"), [(5, False), (1, True)])
def test_retention_is_the_end_over_the_beginning_and_says_its_length(minutes, short):
    run = Sustained(minutes=minutes, tokens=(10,) * 60 * minutes + (7,) * 30, joules=None, reason="x")
    found = by_name(samples(request(0.2), sustained=run))["retention"]
    assert found.median == pytest.approx(70)
    assert found.better == "higher"
    assert ("shorter than" in found.definition) == short


def test_warnings():
    machine = Environment(
        cpu="x", architecture="x", features="", virtual=False,
        logical_cpus=4, usable_cpus=4, cgroup_cpus=None, governor=None,
        memory_bytes=1, load_average=2.5, system="x", versions={},
    )  # fmt: skip
    noisy = [request(0.5, 0.6), request(1.0, 1.1), request(2.0, 2.1), request()]

    def told(found, machine=machine):
        return warnings(machine, SETTINGS, figures(found, SETTINGS), found.requests)

    notes = told(samples(*noisy))
    assert notes[0] == "the machine was busy: load 2.5 on 4 CPUs before the first start"
    assert any(note.startswith("ttft is noisy") for note in notes)
    assert "1 of 4 answers were empty and are in no latency figure" in notes
    assert notes[-1] == "peak_rss is 50 MB above the budget of 200 MB"
    many = SETTINGS.model_copy(update={"threads": 9})
    assert "9 threads on 4 CPUs: their waiting for one another is timed too" in warnings(machine, many, (), ())
    assert not any("threads on" in note for note in notes)
    virtual = machine.model_copy(update={"virtual": True})
    cold = samples(*noisy, cold=(1.0,))
    assert any("load_cold is a lower bound" in note for note in told(cold, virtual))
    assert not any("lower bound" in note for note in told(cold))
    company = machine.model_copy(update={"steal_share": 0.03, "others_share": 0.2, "load_average": 0.0})
    assert any("the host took 3%" in note for note in told(cold, company))
    assert any("others used 20%" in note for note in told(cold, company))
    restless = company.model_copy(update={"yardstick": (20.0, 18.0, 22.0, 18.0)})
    assert any("restless: MAD of copying memory is 5% (5% or more)" in note for note in told(cold, restless))
    assert not any("restless" in note for note in told(cold, machine.model_copy(update={"yardstick": (20.0, 10.0)})))
    calm = samples(*[request(0.5, 0.6)] * 4)
    quiet = machine.model_copy(update={"load_average": 0.1, "steal_share": 0.0, "others_share": 0.01})
    assert (
        warnings(quiet, SETTINGS.model_copy(update={"memory_budget_mb": None}), figures(calm, SETTINGS), calm.requests)
        == ()
    )
