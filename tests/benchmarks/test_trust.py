"""What the cross-checks of `edgetune bench` say of their figures."""

from __future__ import annotations

import ast
import json

import pytest
from benchmarkscripts import BENCHMARKS, script

from edgetune.errors import EdgetuneError

TRUST = BENCHMARKS / "trust"
MACHINE = {"cpu": "x", "features": "y", "usable_cpus": 2, "memory_bytes": None, "system": "z"}


def claim(name, verdict="worse"):
    return {"name": name, "ratio": 0.95, "verdict": verdict}


def turn(ours, theirs, overhead=1.0, number=0):
    rates = {"decode@depth=0": {"edgetune": ours, "tool": theirs}}
    return {"turn": number, "tool": "onnxruntime-genai", "overhead": overhead, "rates": rates, "others_share": 0.25}


@pytest.fixture
def page():
    module = script("trust/run.py")

    def made(**changes):
        result = {
            "machine": MACHINE,
            "beside": [],
            "same": [],
            "planted": {},
            "yardsticks": [],
            "warnings": [],
            **changes,
        }
        return module.page(result)

    return made


@pytest.mark.parametrize("stored", sorted((TRUST / "results").glob("*.json")), ids=lambda path: path.stem)
def test_of_equal_runs_that_were_measured_few_pairs_are_called_different(stored):
    equal_runs = script("trust/equal_runs.py")
    found = json.loads(stored.read_text(encoding="utf-8"))
    pairs = list(equal_runs.judged(found))
    assert len(pairs) == 55
    assert sum(any(one.verdict != "same" for one in pair) for pair in pairs) <= 5, "one in ten"
    slow = [{one.name for one in pair if one.verdict == "worse"} for pair in equal_runs.judged(found, slower=4.0)]
    assert all("decode" in worse for worse in slow), "a quarter of the speed is seen on any machine"
    assert not any("peak_rss" in worse for worse in slow)


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ([claim("decode"), claim("decode_raw"), claim("e2e")], True),
        ([claim("load_warm")], False),
        ([claim("decode_raw"), claim("decode", "better")], False),
    ],
)
def test_a_planted_slowdown_has_to_show_in_both_decode_figures(page, planted, found):
    answer = "yes" if found else "**no**"
    words = f"measured in turns, was found in decode_raw and decode: {answer}."
    assert words in page(planted={"in turns": planted})


def test_how_restless_the_machine_was(page):
    assert "copied memory at 15.0 to 20.0 GB/s, a run's mean" in page(yardsticks=[[19, 21], [], [15.0]])
    assert "is not known" in page(yardsticks=[[], []])


def test_what_is_within_five_percent_and_what_was_not_measured(page):
    text = page(beside=[turn(104.0, 100.0, number=number) for number in range(3)])
    assert "| decode@depth=0 | 104.0 | 100.0 | +4.0% [+4.0%, +4.0%] | yes |" in text
    assert "`apart` is the mean of what the tools were apart within each turn" in text
    assert "Beside llama-bench: not measured." in text
    assert "3 turns of each depth; others used up to 25% of the CPUs meanwhile" in text
    assert "| +6.0% [+6.0%, +6.0%] | **no** |" in page(beside=[turn(106.0, 100.0)] * 3)
    beside = [turn(1.0, 1.0, overhead=cost) for cost in (4.0, 4.1, 3.9)]
    assert "Overhead a token over its raw loop: 4.0 [3.8, 4.2] % (at most 3 %: **no**)" in page(beside=beside)
    beside = [turn(1.0, 1.0, overhead=cost) for cost in (2.0, 2.8, 3.6)]
    assert "2.8 [0.8, 4.8] % (at most 3 %: yes, not certain)" in page(beside=beside)


@pytest.mark.parametrize(
    ("ours", "answer"),
    [
        ((104.0, 96.0, 100.0), "yes, not certain"),
        ((110.0, 104.0, 109.0), "**no**, not certain"),
        ((80.0, 130.0, 130.0), "**no**, not certain"),
        ((110.0, 111.0, 109.0), "**no**"),
    ],
)
def test_whether_the_turns_can_tell(page, ours, answer):
    assert f"] | {answer} |" in page(beside=[turn(one, 100.0) for one in ours])


def test_what_is_measured_without_tools_is_taken_from_the_newest_result_of_such_a_machine(tmp_path, monkeypatch):
    module = script("trust/run.py")
    monkeypatch.setattr(module, "HERE", tmp_path)
    (tmp_path / "results").mkdir()
    for number, cpu in enumerate("xxy"):
        result = {"created": f"2026-01-0{number + 1}", "machine": {"cpu": cpu}, "same": [number], "beside": []}
        (tmp_path / "results" / f"{number}.json").write_text(json.dumps(result))
    assert module._newest_rest({"cpu": "x"}) == {"same": [1], "alone_of": "1.json"}
    with pytest.raises(EdgetuneError, match="no stored result is of a machine like this one"):
        module._newest_rest({"cpu": "z"})


def test_what_all_series_say_together():
    module = script("trust/run.py")
    quiet = [turn(ours, 100.0, number=n) for n, ours in enumerate((101, 103))]
    restless = [turn(ours, 100.0, number=n) for n, ours in enumerate((91, 96))]
    result = {"machine": MACHINE, "beside": restless, "same": [], "planted": {}, "yardsticks": [], "warnings": []}
    alone = module.page(result)
    assert "together" not in alone
    assert "-6.5%" in alone
    text = module.page(result, [{**result, "beside": quiet}, result])
    assert "-6.5%" in text, "the series of the page, still"
    assert "All turns of the 2 series" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| decode@depth=0 beside onnxruntime-genai | 4 |")]
    assert "-2.4% [" in row, "the mean of four turns"
    assert row.endswith("| yes, not certain |")
    assert "1.0 [1.0, 1.0] % (at most 3 %: yes) beside onnxruntime-genai" in text
    assert "beside llama-bench" not in text


def test_the_loop_beside_us_has_no_line_of_ours():
    tree = ast.parse((TRUST / "genai_loop.py").read_text(encoding="utf-8"))
    modules = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    modules += [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert "onnxruntime_genai" in modules
    assert not [module for module in modules if module.startswith("edgetune")]
