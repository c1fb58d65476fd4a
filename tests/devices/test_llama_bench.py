"""What the runner and a device's tools print, and what is read out of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fakephone import BATTERY, MEMINFO, THERMAL, llama_bench_rows

from edgetune.devices import llama_bench, probing
from edgetune.devices.watched_run import watched
from edgetune.errors import DeviceError

REAL = Path(__file__).parent / "llama-bench.json"


def test_what_a_real_llama_bench_printed():
    """Written by llama-bench of llama.cpp 0c1e570 on a Linux host: -p 16 -n 4 -r 3 -d 0,64 -o json."""
    tests, build = llama_bench.parse(REAL.read_text())
    rows = json.loads(REAL.read_text())
    assert [(test.name, test.depth) for test in tests] == [
        ("prefill", 0),
        ("decode", 0),
        ("prefill", 64),
        ("decode", 64),
    ]
    assert build.startswith("llama-bench 0c1e570")
    for test, row in zip(tests, rows, strict=True):
        speeds = [(test.prompt_tokens + test.new_tokens) / sample for sample in test.samples_s]
        assert speeds == pytest.approx(row["samples_ts"], rel=1e-4)
        assert sum(speeds) / len(speeds) == pytest.approx(row["avg_ts"], rel=1e-4)


def test_rows_of_both_are_no_figure():
    both = [llama_bench_rows()[0] | {"n_gen": 64}]
    tests, _ = llama_bench.parse(json.dumps(both))
    assert tests[0].name == "prefill and decode"
    assert llama_bench.figures(tests) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "[1]", '[{"n_prompt": 1}]', "| model | t/s |"])
def test_other_output_is_refused(text):
    with pytest.raises(DeviceError, match="printed no results"):
        llama_bench.parse(text)


def test_samples_that_cannot_be():
    for samples in ([], [0], [-5]):
        with pytest.raises(DeviceError):
            llama_bench.parse(json.dumps(llama_bench_rows(samples_ns=samples)))


def state(**parts):
    sections = {"memory": MEMINFO} | parts
    return probing.parse("\n".join(f"== edgetune {name}\n{text}" for name, text in sections.items()))


def test_a_board_without_android():
    found = state(
        model="Raspberry Pi 5 Model B Rev 1.0",
        throttled="throttled=0x50005",
        zones="cpu-thermal 63200",
        clock="/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq 2400000",
        governor="ondemand",
        cores="4",
        cpu="Features\t: fp asimd asimdhp asimddp",
    )
    assert found.thermal_status == "throttled=0x50005"
    assert found.temperatures_c == {"cpu-thermal": 63.2}
    assert found.clock_khz == {0: 2400000}
    assert (found.governor, found.cores, found.features) == ("ondemand", 4, "asimddp asimdhp")
    assert (found.battery_percent, found.on_power) == (None, None)
    assert state(throttled="throttled=0x0").thermal_status == "none"
    assert state().thermal_status is None, "not known is not none"


def test_android_s_words():
    found = state(thermal=THERMAL.format(status=2), battery=BATTERY.format(level=7))
    assert (found.thermal_status, found.battery_percent, found.on_power) == ("moderate", 7, True)


def test_what_is_no_shell_of_linux():
    with pytest.raises(DeviceError, match="no /proc/meminfo"):
        probing.parse("something else")


@pytest.mark.parametrize(
    ("clocks", "cores"),
    [
        ([1800, 1800, 2400, 2400, 2400, 3000], (2, 3, 4, 5)),
        ([2400, 2400, 2400, 2400], (0, 1, 2, 3)),
        ([], (0, 1, 2, 3)),
    ],
)
def test_big_cores_by_their_clock(clocks, cores):
    lines = [f"/sys/devices/system/cpu/cpu{core}/cpufreq/cpuinfo_max_freq {clock}" for core, clock in enumerate(clocks)]
    assert probing.big_cores(state(highest="\n".join(lines), cores="4")) == cores


def test_looks_at_memory_and_clocks():
    path = "/sys/devices/system/cpu/cpu0/cpufreq/scaling_cur_freq"
    first = f"VmHWM:\t 100 kB\nRssAnon:\t 40 kB\nclock {path} 5\nlook\n"
    second = f"VmHWM:\t 300 kB\nRssAnon:\t 20 kB\nclock {path} 7\nlook\n"
    found = watched(first + second)
    assert (found.peak_rss, found.anonymous, found.file_backed) == (300 * 1024, 40 * 1024, None)
    assert found.clocks_khz == ({0: 5}, {0: 7})
