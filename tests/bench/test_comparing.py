"""Comparing two reports: what is a difference, what is refused, what the command ends with."""

import json

import numpy as np
import pytest
from benchreports import NAMES, report, sampled
from clockwork import loop, request

from edgetune.bench.comparing import DRIFT, DRIFT_VIRTUAL, compare, require_no_worse
from edgetune.bench.comparing_text import comparison_json, comparison_text
from edgetune.bench.samples import MemorySample
from edgetune.bench.schema import Environment, Figure
from edgetune.bench.statistics import ratio
from edgetune.bench.summary import Samples, figures
from edgetune.cli import main
from edgetune.errors import CheckFailed, EdgetuneError, NotJudged
from edgetune.realtime.figures import figure_of, measured_of


def drawn(random, *, slower=1.0, drift=0.0, spread=0.01, rounds=5):
    """A run: a drift of its own, and processes that differ; memory does not move."""
    moved = random.normal(0, drift)
    found = {}
    for name, unit in NAMES.items():
        factor = 1 / slower if "tokens" in unit else 1.0 if name in ("peak_rss", "load_warm") else slower
        whole = 0.0 if unit == "MB" else moved
        found[name] = (100 * factor * np.exp(whole + random.normal(0, spread, rounds))).tolist()
    return report(found)


def on_a_virtual_machine(plain):
    return plain.model_copy(update={"environment": plain.environment.model_copy(update={"virtual": True})})


@pytest.mark.parametrize("drift", [0.0, DRIFT / 2, DRIFT])
def test_with_no_more_drift_than_is_assumed_alarms_are_rare_and_five_percent_is_found(drift):
    random = np.random.default_rng(11)
    alarms = found = 0
    for _ in range(100):
        old = drawn(random, drift=drift)
        alarms += any(one.verdict != "same" for one in compare(old, drawn(random, drift=drift)).differences)
        found += bool(compare(old, drawn(random, drift=drift, slower=1.05)).worse())
    assert alarms <= 10, "one in ten at most"
    assert found >= 90


def test_on_a_virtual_machine_runs_move_further_and_more_is_excused():
    random = np.random.default_rng(11)
    alarms = unexcused = 0
    for _ in range(100):
        pair = drawn(random, drift=DRIFT_VIRTUAL), drawn(random, drift=DRIFT_VIRTUAL)
        unexcused += any(one.verdict != "same" for one in compare(*pair).differences)
        alarms += any(one.verdict != "same" for one in compare(*map(on_a_virtual_machine, pair)).differences)
    assert alarms <= 10, "one in ten at most"
    assert unexcused > 50, "by what is assumed of a machine of its own"
    text = comparison_text(compare(*map(on_a_virtual_machine, pair)))
    assert "moves by 3.0% between two times (a standard deviation; as equal runs on a virtual machine did)" in text
    assert "), memory by 0.1%" in text
    slower = drawn(random, slower=1.25)
    assert compare(*map(on_a_virtual_machine, (drawn(random), slower))).worse(), "a quarter is more than that"


def test_memory_does_not_move_with_the_machine(monkeypatch):
    monkeypatch.setitem(NAMES, "energy_per_token", "J")
    old, new = ({"decode": [100, 101, 99], "peak_rss": [size, size + 0.1, size - 0.1]} for size in (300, 303))
    found = compare(*map(on_a_virtual_machine, (report(old), report(new))))
    assert [one.name for one in found.worse()] == ["peak_rss"], "one percent"
    used = (report({"energy_per_token": [size, size + 0.001, size - 0.001]}) for size in (1, 1.01))
    (energy,) = compare(*used).differences
    assert energy.verdict == "same", "a run's energy moves with its time"


def test_more_pages_of_libraries_are_no_change_of_the_model():
    def held(peak, programs):
        plain = report({"decode": [100, 101, 99], "peak_rss": [peak, peak + 0.05, peak - 0.05]})
        sizes = {"anonymous": 1, "file_backed": 2, "pss": 3, "python_only": 4}
        memory = MemorySample(peak_rss=5, programs=None if programs is None else round(1e6 * programs), **sizes)
        return on_a_virtual_machine(plain.model_copy(update={"memory": (memory,)}))

    later, first = held(326, 60), held(334, 68)
    found = compare(later, first)
    assert not found.worse()
    assert "interpreter and libraries hold +8.0 MB" in comparison_text(found)
    assert not compare(first, later).worse()
    assert not [one for one in compare(first, later).differences if one.verdict != "same"]
    (worse,) = compare(later, held(342, 68)).worse()
    assert worse.beyond == pytest.approx(8 / 334, rel=0.01), "beyond what libraries account for"
    assert compare(held(326, None), held(334, 68)).worse(), "not known is not excused"


def restless(random, *, drift, slower=1.0):
    """A run on a machine that moves as a whole by ``drift``; a copy of memory beside each round shows most of it."""
    moved = random.normal(0, drift)
    found = {}
    for name, unit in NAMES.items():
        times = 0 if unit == "MB" else 1 if unit in ("s", "ms") else -1
        noise = random.normal(0, 0.3 * drift + 0.005, 5)
        found[name] = (100 * slower**times * np.exp(times * moved + noise)).tolist()
    copied = 20 * np.exp(-moved + random.normal(0, 0.3 * drift + 0.01, 16))
    plain = report(found)
    return plain.model_copy(update={"environment": plain.environment.model_copy(update={"yardstick": tuple(copied)})})


@pytest.mark.parametrize("drift", [0.0, 0.03, 0.09])
def test_a_restless_machine_is_not_taken_for_a_change(drift):
    random = np.random.default_rng(5)
    pairs = [(restless(random, drift=drift), restless(random, drift=drift)) for _ in range(100)]
    alarms = sum(any(one.verdict != "same" for one in compare(*pair).differences) for pair in pairs)
    blind = [(old, new.model_copy(update={"environment": old.environment})) for old, new in pairs]
    unseen = sum(any(one.verdict != "same" for one in compare(*pair).differences) for pair in blind)
    assert alarms <= 10, "one in ten at most"
    assert drift < 0.09 or unseen > 25, "without the copies there would be many"


def test_five_percent_is_found_on_a_machine_that_keeps_still():
    random = np.random.default_rng(5)
    found = [compare(restless(random, drift=0.0), restless(random, drift=0.0, slower=1.05)).worse() for _ in range(100)]
    assert sum(map(bool, found)) >= 90


def test_a_difference_that_the_machine_explains_is_said_to_be_its():
    old = on_machine((20.0, 20.1, 19.9), decode=[100, 101, 99], peak_rss=[300] * 3)
    new = on_machine((15.0, 15.1, 14.9), decode=[80, 81, 79], peak_rss=[400] * 3)
    found = compare(old, new)
    assert {one.name: one.verdict for one in found.differences} == {"decode": "same", "peak_rss": "worse"}
    assert found.moved.value == pytest.approx(0.75, rel=0.01)
    text = comparison_text(found)
    assert "no more than the machine itself moved" in text
    assert "the machine itself, copying memory beside each round: 0.750" in text
    assert found.differences[0].hidden > 0.2, "the model could have got slower, and the machine not"
    assert found.coarse() == [found.differences[0]]
    assert "warning: decode is known to" in text
    assert json.loads(comparison_json(found))["moved"]["value"] == pytest.approx(0.75, rel=0.01)
    turns = compare(
        *(one.model_copy(update={"settings": one.settings.model_copy(update={"session": "s"})}) for one in (old, new))
    )
    assert {one.verdict for one in turns.differences} == {"worse"}, "in turns, the machine moved under both alike"


def on_machine(copied, **rounds):
    plain = report(rounds)
    return plain.model_copy(update={"environment": plain.environment.model_copy(update={"yardstick": copied})})


def test_a_machine_that_got_faster_can_hide_a_slower_model():
    old = on_machine((20.0, 20.1, 19.9), decode=[100, 101, 99])
    found = compare(old, on_machine((25.0, 25.1, 24.9), decode=[100, 101, 99]))
    assert found.differences[0].verdict == "same"
    assert found.differences[0].hidden > 0.2
    assert "warning: decode is known to" in comparison_text(found, 0.03)
    assert "more --rounds" not in comparison_text(found), "of rounds there are enough"


def test_the_tolerance_is_of_what_the_machine_does_not_explain():
    old = on_machine((20.0, 20.1, 19.9), decode=[100, 100.5, 99.5])
    found = compare(old, on_machine((19.0, 19.1, 18.9), decode=[85, 85.5, 84.5]))
    assert found.differences[0].ratio.value == pytest.approx(0.85, abs=0.01)
    assert 0.08 < found.differences[0].beyond < 0.11
    assert found.worse(0.05)
    assert found.worse(0.12) == []
    assert "beyond the machine" in comparison_text(found)


def test_a_run_without_copies_of_memory_is_said():
    found = compare(report({"decode": [100, 101, 99]}), on_machine((20.0, 20.1, 19.9), decode=[100, 101, 99]))
    assert found.moved is None
    assert "how far the machine itself moved is not known" in comparison_text(found)


@pytest.mark.parametrize("copied", [(0, 0, 0), (-1, 1, 1), (float("inf"), 1, 1), (float("nan"), 1, 1)])
def test_copies_that_took_no_time_are_no_report(copied):
    from pydantic import ValidationError

    with pytest.raises(ValidationError, match="yardstick"):
        Environment.model_validate(report({}).environment.model_dump() | {"yardstick": copied})


def test_figures_that_are_parts_of_others_are_named():
    found = compare(sampled([100, 101, 99]), sampled([100, 101, 99]))
    assert found.left_out["itl_mean"] == "a part of others, a difference of two, or of a single process or start"
    assert "itl_mean" in comparison_text(found)


def test_which_way_and_by_how_much():
    old = report({"decode": [100, 101, 99, 100, 100.5], "ttft": [50, 51, 49, 50, 50], "peak_rss": [300, 300, 300]})
    new = report({"decode": [80, 81, 79, 80, 80.5], "ttft": [25, 25.5, 24.5, 25, 25], "peak_rss": [300, 300, 300]})
    found = compare(old, new)
    verdicts = {one.name: one.verdict for one in found.differences}
    assert verdicts == {"decode": "worse", "ttft": "better", "peak_rss": "same"}
    for one in found.differences:
        assert one.new / one.old == pytest.approx(one.ratio.value), "the columns say what is compared"
    worse = found.differences[0].ratio
    assert worse.value == pytest.approx(0.8, rel=0.01)
    assert worse.low < 0.8 < worse.high < 0.85
    assert [one.name for one in found.worse(0.1)] == ["decode"]
    assert found.worse(0.25) == []


def test_one_percent_is_claimed_only_of_runs_measured_in_turns():
    old, new = [100, 104, 98, 101, 97], [101.0, 105.05, 98.98, 102.02, 97.97]
    apart = compare(report({"decode": old}), report({"decode": new}))
    assert "moves by 0.6% between two times (a standard deviation; assumed, not measured)" in comparison_text(apart)
    turns = compare(report({"decode": old}, session="s"), report({"decode": new}, session="s"))
    assert "assumed" not in comparison_text(turns)
    assert apart.differences[0].verdict == "same"
    assert turns.paired
    assert turns.differences[0].verdict == "better"


def test_rounds_of_different_moments_are_not_paired():
    """A round without answers leaves its place to the next one: the third of one run would meet the other's fourth."""
    speeds = [100.0, 104.0, 98.0, 101.0, 97.0, 103.0]

    def without(place):
        whole = sampled(speeds).model_copy(update={"settings": report({}, session="s").settings})
        requests = tuple(
            one.model_copy(update={"token_s": ()}) if one.round == place else one for one in whole.requests
        )
        return whole.model_copy(
            update={"requests": requests, "figures": figures(Samples(requests=list(requests)), whole.settings)}
        )

    same = compare(without(2), without(2))
    assert {one.ratio.low for one in same.differences} == {1.0}, "the very same rounds"
    assert not any("one by one" in note for note in same.notes)
    other = compare(without(1), without(4))
    assert [len(one.rounds) for one in (without(1).figure("decode"), without(4).figure("decode"))] == [5, 5]
    decode = next(one for one in other.differences if one.name == "decode")
    assert decode.ratio == ratio(
        without(1).figure("decode").rounds, without(4).figure("decode").rounds,
        paired=False, confidence=1 - 0.05 / len(other.differences), drift=DRIFT,
    )  # fmt: skip
    assert "rounds are not compared one by one: some have no answers in one run only" in other.notes


def test_what_cannot_be_compared_is_named():
    found = compare(report({"decode": [1, 2], "ttft": [1, 1, 1]}), report({"decode": [1, 1, 1], "e2e": [1, 1, 1]}))
    assert found.left_out == {
        "decode": "the old run has 2 rounds; 3 are needed",
        "e2e": "the old run has no such figure",
        "ttft": "the new run has no such figure",
    }
    assert found.differences == ()


def test_reports_that_were_held_to_a_target_are_compared_by_what_has_rounds():
    def held(rates):
        against = figure_of("goodput", measured_of(loop(request(0.1, 0.2)), [])["goodput"])
        sustained = against.model_copy(update={"name": "decode_sustained"})
        plain = report({"decode": rates})
        return plain.model_copy(update={"figures": (*plain.figures, against, sustained)})

    found = compare(held([100, 101, 99]), held([50, 51, 49]))
    assert [one.name for one in found.worse()] == ["decode"]
    assert found.left_out == {
        "goodput": "measured against a clock in one process: there are no rounds to compare",
        "decode_sustained": "a part of others, a difference of two, or of a single process or start",
    }
    plain = report({"decode": [100, 101, 99]})
    assert set(compare(held([100, 101, 99]), plain).left_out) == {"goodput", "decode_sustained"}
    assert set(compare(plain, held([100, 101, 99])).left_out) == {"goodput", "decode_sustained"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"threads": 1}, "setting threads: 2 and 1"),
        ({"prompts_sha256": "1"}, "prompts_sha256"),
        ({"new_tokens": 9}, "8 and 9"),
    ],
)
def test_unlike_settings_are_refused(change, words):
    rounds = {"decode": [1.0, 1.0, 1.0]}
    with pytest.raises(EdgetuneError, match="cannot be compared") as caught:
        compare(report(rounds), report(rounds, **change))
    assert words in caught.value.problems[0]


def test_another_processor_or_definition_is_refused():
    old = report({"decode": [1.0, 1.0, 1.0]})
    machine = old.environment.model_copy(update={"cpu": "y"})
    other = old.model_copy(
        update={"figures": (old.figures[0].model_copy(update={"definition": "z"}),), "environment": machine}
    )
    with pytest.raises(EdgetuneError) as caught:
        compare(old, other)
    assert [problem.partition(":")[0] for problem in caught.value.problems] == ["machine cpu", "definition of decode"]


def test_the_command_ends_with_nine_when_something_got_worse(tmp_path, capsys):
    for name, rate in (("old", 100.0), ("new", 90.0)):
        sampled([rate, rate + 0.1, rate - 0.1]).write(tmp_path / f"{name}.json")
    words = ["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]
    assert main(words) == 9
    captured = capsys.readouterr()
    assert "0.900" in captured.out
    assert "worse than a in itl, decode, e2e" in captured.err
    assert main([*words, "--tolerance", "0.2", "--json"]) == 0
    differences = {one["name"]: one["verdict"] for one in json.loads(capsys.readouterr().out)["differences"]}
    assert differences["decode"] == "worse"
    assert main([words[0], *words[:0:-1]]) == 0, "the other way round it got better"


def test_a_comparison_of_nothing_does_not_pass(tmp_path, capsys):
    for name in ("old", "new"):
        sampled([100.0, 100.1]).write(tmp_path / f"{name}.json")
    assert main(["compare", str(tmp_path / "old.json"), str(tmp_path / "new.json")]) == 15
    captured = capsys.readouterr()
    assert "not compared: ttft, itl, decode, prefill, e2e: the old run has 2 rounds; 3 are needed" in captured.out
    assert "a cannot be said to be no worse than a" in captured.err
    assert "the old run has 2 rounds; 3 are needed" in captured.err
    assert "itl_mean" not in captured.err, "no comparison is made by it"


def test_two_runs_without_a_figure_in_common_do_not_pass():
    with pytest.raises(NotJudged) as caught:
        require_no_worse(compare(report({}), report({})), 0.0)
    assert caught.value.problems == ("figures: the two runs have none in common",)


def test_an_artifact_that_lost_what_users_feel_does_not_pass():
    """One that stops at once has no tokens to be slow with."""
    old = report({"ttft": [50, 51, 49], "decode": [100, 101, 99], "peak_rss": [300, 300, 300]})
    new = report({"ttft": [50, 51, 49], "peak_rss": [300, 300, 300]})
    silent = Figure(
        name="decode", unit="tokens/s", definition="decode", better="higher", median=None, samples=0,
        reasons={"median": "no answer was long enough"},
    )  # fmt: skip
    for one in (new, new.model_copy(update={"figures": (*new.figures, silent)})):
        with pytest.raises(NotJudged) as caught:
            require_no_worse(compare(old, one), 0.0)
        assert [problem.partition(":")[0] for problem in caught.value.problems] == ["decode"]
        require_no_worse(compare(one, old), 0.0)  # what is new was not lost
    slower = report({"ttft": [80, 81, 79], "peak_rss": [300, 300, 300]})
    with pytest.raises(CheckFailed, match="worse than a in ttft"):
        require_no_worse(compare(old, slower), 0.0)


def test_a_tolerance_that_is_finer_than_a_figure_is_known_does_not_pass():
    wild = {"decode": [80, 100, 125], "ttft": [50, 51, 49]}
    found = compare(report(wild), report(wild))
    require_no_worse(found, 0.0)  # a warning
    with pytest.raises(NotJudged) as caught:
        require_no_worse(found, 0.1)
    assert caught.value.problems[0].startswith("decode: known to ±")
    require_no_worse(compare(report(wild), report(wild | {"decode": [800, 1000, 1250]})), 0.1)  # it got better at least


def test_what_is_not_told_apart_says_what_could_hide():
    wild = compare(report({"decode": [80, 100, 125]}), report({"decode": [83, 99, 120]}))
    one = wild.differences[0]
    assert one.verdict == "same"
    assert one.hidden == pytest.approx(max(one.ratio.high - 1, 1 - one.ratio.low))
    assert f"not told apart (differences up to ±{one.hidden:.1%} could hide)" in comparison_text(wild)
    assert "no real difference" not in comparison_text(wild)
    stored = json.loads(comparison_json(wild))
    assert stored["differences"][0]["hidden"] == one.hidden
    assert "decode is known to" in stored["warnings"][0]


def test_rounds_that_lie_worlds_apart_say_nothing():
    found = compare(report({"decode": [1, 100, 3]}), report({"decode": [100, 0.01, 40]}))
    assert found.differences[0].hidden > 1000
    text = comparison_text(found)
    assert ", …] not told apart: the rounds lie too far apart to say anything" in text


def test_equal_runs_are_said_to_be_equal():
    rounds = {"decode": [100, 101, 99], "ttft": [50, 51, 49]}
    text = comparison_text(compare(report(rounds, session="s"), report(rounds, session="s")))
    assert text.count("the same in every round") == 2
    assert "warning" not in text


def test_a_wide_interval_is_warned_of_where_it_matters():
    rounds = {"decode": [98, 100, 102, 99, 101], "e2e": [50, 100, 200, 70, 150]}
    found = compare(report(rounds), report(rounds))
    assert 0.01 < found.differences[0].width < 0.05
    assert found.coarse() == [], "e2e is not what is warned of"
    assert [one.name for one in found.coarse(0.01)] == ["decode"]
    assert "warning: decode" in comparison_text(found, 0.01)
