"""Devices held to targets: what their figures answer, and what they do not."""

from __future__ import annotations

import pytest

from edgetune.cli import main
from edgetune.devices.device import find_device
from edgetune.devices.holding import held_to, hold
from edgetune.devices.identity import doubts
from edgetune.devices.measuring import Plan, measure
from edgetune.devices.projecting import project_all
from edgetune.devices.report import Constrained, DeviceReport, Limits
from edgetune.devices.transport import LocalTransport
from edgetune.devices.trusting import contradictions
from edgetune.errors import TargetError


@pytest.fixture
def slo(tmp_path):
    def write(*lines):
        path = tmp_path / "slo.yaml"
        path.write_text("".join(f"- {{{line}}}\n" for line in lines))
        return path

    return write


@pytest.fixture
def measured(tiny, runner):
    """64 new tokens in 0.8, 0.805 and 0.81 s, and a peak of 50 MB."""
    report = measure(tiny, LocalTransport(), Plan(runner, threads=1), None)
    watch = report.measured.watch.model_copy(update={"peak_rss": 50_000_000})
    return report.model_copy(update={"measured": report.measured.model_copy(update={"watch": watch})})


def verdicts(report, wanted):
    return {one.objective.metric: one for one in hold(report, wanted).verdicts}


def test_what_the_runner_answers(measured, slo):
    file = slo(
        "metric: decode, at_least: 79, unit: tokens/s",
        "metric: decode_tps, at_least: 100",
        "metric: decode@depth=0, at_least: 79",
        "metric: decode@depth=512, at_least: 1",
        "metric: peak_rss, at_most: 0.04, unit: GB",
        "metric: ttft, at_most: 1000, unit: ms",
        "metric: ttft_bound, at_most: 0.001, unit: ms",
    )
    found = verdicts(measured, held_to(None, file, None))
    assert {name: one.outcome for name, one in found.items()} == {
        "decode": "met",
        "decode_tps": "missed",
        "decode@depth=0": "met",
        "decode@depth=512": "not judged",
        "peak_rss": "missed",
        "ttft": "not judged",
        "ttft_bound": "missed",
    }
    assert found["decode"].value == pytest.approx(64 / 0.805)
    assert "no sampling" in found["decode"].measured_as
    assert found["peak_rss"].beyond == pytest.approx(0.01)
    assert "128 tokens of context" in found["peak_rss"].measured_as
    assert found["ttft"].reason == "not measured by llama-bench"


def test_the_bound_of_ttft_is_the_prompt_alone_and_says_so(measured):
    wanted = held_to("raspberry-pi-5", None, None)
    prefill = next(test for test in measured.measured.tests if test.name == "prefill")
    assert (wanted.prompt, prefill.prompt_tokens) == (128, 128)
    found = verdicts(measured, wanted)["ttft_bound"]
    assert found.value == pytest.approx(1e3 * sorted(prefill.samples_s)[1])
    assert "a lower bound of ttft, without template, tokenisation and sampling" in found.text
    assert "ttft" not in verdicts(measured, wanted), "no target that llama-bench judges asks for what it cannot give"


def test_a_bound_of_another_prompt_is_none(measured):
    short = [
        test.model_copy(update={"prompt_tokens": 64}) if test.name == "prefill" else test
        for test in measured.measured.tests
    ]
    other = measured.model_copy(update={"measured": measured.measured.model_copy(update={"tests": tuple(short)})})
    found = verdicts(other, held_to("raspberry-pi-5", None, None))["ttft_bound"]
    assert found.outcome == "not judged"
    assert found.reason == "prompts of 64 tokens were measured, the target asks for 128: --prompt 128"


def test_without_a_prompt_at_depth_0_it_is_said_which_to_measure(measured):
    deep = tuple(test.model_copy(update={"depth": 2048}) for test in measured.measured.tests)
    other = measured.model_copy(update={"measured": measured.measured.model_copy(update={"tests": deep})})
    found = verdicts(other, held_to("raspberry-pi-5", None, None))["ttft_bound"]
    assert found.reason == "no prompt was measured with nothing held before it: --depth 0"


def test_every_mobile_target_that_is_measured_can_be_met(measured):
    deep = measured.measured.tests[1].model_copy(update={"depth": 2048})
    quick = [test.model_copy(update={"samples_s": (0.01,)}) for test in (*measured.measured.tests, deep)]
    watch = measured.measured.watch
    whole = measured.measured.model_copy(update={"tests": tuple(quick), "watch": watch})
    for name in ("android-flagship", "android-mid-range", "raspberry-pi-4", "raspberry-pi-5"):
        found = verdicts(measured.model_copy(update={"measured": whole}), held_to(name, None, None))
        assert {one.outcome for one in found.values()} == {"met"}, name


def test_a_tail_needs_its_samples(measured, slo):
    found = verdicts(measured, held_to(None, slo("metric: decode, statistic: p95, at_least: 1"), None))
    assert found["decode"].reason == "3 samples; p95 needs 59"


def constrained(tiny, peak, context=2048):
    plain = project_all(tiny, [find_device("raspberry-pi-5")], [0])
    limits = Limits(cores=(0,), memory_bytes=10**8, memory_by="rlimit", not_limited=())
    verdict = "fits" if peak else "out of memory"
    found = Constrained(
        limits=limits,
        verdict=verdict,
        reason="",
        context=context,
        tests=(),
        peak_rss=peak,
        anonymous=None,
        read_bytes=None,
    )
    return plain.model_copy(update={"how": "constrained host", "projected": (), "constrained": found})


def test_this_host_s_speed_is_no_device_s(tiny):
    wanted = held_to("raspberry-pi-5", None, None)
    assert wanted.device == find_device("raspberry-pi-5")
    found = verdicts(constrained(tiny, 10**8), wanted)
    assert {name: one.outcome for name, one in found.items()} == {
        "ttft_bound": "not judged",
        "decode": "not judged",
        "peak_rss": "met",
    }
    assert "its speed is this host's" in found["decode"].reason
    found = verdicts(constrained(tiny, None), wanted)
    assert (found["peak_rss"].outcome, found["peak_rss"].reason) == ("not judged", "no figure: out of memory")


def test_no_budget_is_met_with_a_shorter_context_than_asked_for(tiny, measured):
    wanted = held_to("raspberry-pi-5", None, None)
    assert (wanted.threads, wanted.context) == (2, 2048)
    for report, tokens in ((measured, 128), (constrained(tiny, 10**8, 512), 512), (constrained(tiny, 10**8, None), 0)):
        found = verdicts(report, wanted)["peak_rss"]
        assert (found.outcome, found.value) == ("not judged", None)
        assert found.reason.startswith(f"measured with {tokens} tokens of context, the target asks for 2048 ")
        assert "--depth 2048" in found.reason
    assert verdicts(constrained(tiny, 10**11, 512), wanted)["peak_rss"].outcome == "missed"
    deep = measured.measured.tests[1].model_copy(update={"depth": 2048})
    filled = measured.model_copy(update={"measured": measured.measured.model_copy(update={"tests": (deep,)})})
    assert verdicts(filled, wanted)["peak_rss"].outcome == "met"


def test_onnx_fills_a_cache_only_with_what_was_asked(tiny):
    report = constrained(tiny, 10**8)
    other = report.model_copy(update={"subject": report.subject.model_copy(update={"file": "model.onnx"})})
    assert verdicts(other, held_to("raspberry-pi-5", None, None))["peak_rss"].outcome == "not judged"


def test_a_phone_is_not_another_phone(capsys, phone, tiny, runner):
    """What answers is a Galaxy S22."""
    words = ["device", "measure", tiny.path, "--over", "adb", "--runner", runner, "--device", "poco-f5"]
    assert main([str(word) for word in [*words, "--target", "android-mid-range"]]) == 14
    out, err = capsys.readouterr()
    assert out == ""
    assert "what answers is not poco-f5: it says 'SM-S901B, SM8450', without SM7475" in " ".join(err.split())
    assert not any("push" in call for call in phone.calls())
    assert main([str(word) for word in words]) == 0
    assert "warning: it is not poco-f5: it says 'SM-S901B, SM8450'" in capsys.readouterr().out
    assert main([str(word) for word in [*words[:-1], "galaxy-s22"]]) == 0
    assert "galaxy-s22" not in capsys.readouterr().out, "nothing to warn about"


def test_what_cannot_be_checked_is_said(measured):
    state = measured.measured.before.model_copy(update={"soc": None, "model": "Raspberry Pi 400 Rev 1.0"})
    assert doubts(None, state, held=True) == ()
    assert doubts(find_device("raspberry-pi-4"), state, held=True) == ()
    (said,) = doubts(find_device("orion-o6"), state, held=True)
    assert said == "whether it is orion-o6 was not checked: what such a device says of itself is not known"
    (said,) = doubts(find_device("raspberry-pi-4"), state.model_copy(update={"model": None}), held=True)
    assert "it says neither its model nor its SoC" in said


def test_a_target_s_threads_are_the_runner_s(phone, tiny, runner, tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("{name: mine, description: x, kind: mobile, transport: adb, threads: 3}")
    words = ["device", "measure", tiny.path, "--over", "adb", "--runner", runner, "--target", target]
    assert main([str(word) for word in words]) == 0
    assert " -t 3 " in (tmp_path / "runner.log").read_text()
    assert main([str(word) for word in [*words, "--threads", "2"]]) == 0
    assert " -t 2 " in (tmp_path / "runner.log").read_text()


def test_a_target_s_threads_and_context_are_the_constrained_run_s(tiny, tmp_path):
    target = tmp_path / "mine.yaml"
    target.write_text("{name: mine, description: x, kind: mobile, transport: adb, threads: 1, context: 256}")
    words = ["device", "constrain", tiny.path, "--device", "poco-f5", "--memory", "1000", "--target", target]
    assert main([str(word) for word in [*words, "--output", tmp_path / "r.json"]]) == 0
    found = DeviceReport.read(tmp_path / "r.json").constrained
    assert (found.context, len(found.limits.cores)) == (256, 1)


def test_memory_that_is_not_enough_ends_with_nine(tiny, capsys):
    words = ["device", "constrain", tiny.path, "--device", "poco-f5", "--memory", "60"]
    assert main([str(word) for word in words]) == 9
    out, err = capsys.readouterr()
    assert "60 MB" in out
    assert "edgetune fit says what needs how much" in err


def test_nothing_asked_nothing_changed(measured):
    assert hold(measured, held_to(None, None, None)) is measured


def test_a_report_that_contradicts_its_samples_is_told(measured, slo):
    report = hold(measured, held_to(None, slo("metric: decode, at_least: 79", "metric: ttft, at_most: 1"), None))
    assert contradictions(report) == []
    figure = report.figures[-1].model_copy(update={"median": 500.0})
    (said,) = contradictions(report.model_copy(update={"figures": (figure,)}))
    assert "decode_tps: median 500 is stored, its samples give 79.5" in said
    gone = report.figures[0].model_copy(update={"depth": 77})
    assert contradictions(report.model_copy(update={"figures": (gone,)})) == [f"{gone.name}: no sample is of it"]
    better = report.verdicts[0].model_copy(update={"value": 200.0})
    (said,) = contradictions(report.model_copy(update={"verdicts": (better,)}))
    assert "decode median ≥ 79: met (200) is stored" in said or "met (200) is stored" in said


def test_verdicts_survive_storage(measured, slo, tmp_path):
    report = hold(measured, held_to(None, slo("metric: decode, at_least: 79"), None))
    report.write(tmp_path / "r.json")
    assert DeviceReport.read(tmp_path / "r.json") == report


@pytest.mark.parametrize(
    ("target", "device", "over", "message"),
    [
        ("voice-assistant", None, "adb", "is about the machine that edgetune bench runs on"),
        ("raspberry-pi-5", None, "local", "what this machine measures says nothing about it"),
        ("raspberry-pi-5", "poco-f5", "ssh", "about the device raspberry-pi-5, not about poco-f5"),
        ("raspberry-pi-6", None, "ssh", "no target called 'raspberry-pi-6'"),
        ("iphone", None, "adb", "iphone cannot be measured from here"),
        (None, "iphone-17-pro", "adb", "iphone-17-pro cannot be measured from here"),
        ("iphone", None, None, "iphone cannot be measured from here"),
        ("raspberry-pi-5", None, "adb", "is measured over ssh, and what answers over adb is another device"),
        ("android-flagship", None, "ssh", "is measured over adb"),
    ],
)
def test_a_target_about_something_else(target, device, over, message):
    with pytest.raises(TargetError, match=message) as caught:
        held_to(target, None, device, over=over)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("metric: decode, at_least: 79, unit: tokens/s", 0, "met         decode median ≥ 79 tokens/s"),
        ("metric: decode, at_least: 100, unit: tokens/s", 9, "missed      decode median ≥ 100 tokens/s"),
        ("metric: ttft, at_most: 100, unit: ms", 15, "not judged  ttft median ≤ 100 ms: not measured by llama-bench"),
    ],
)
def test_the_command_says_and_ends_so(capsys, tiny, runner, slo, line, code, said):
    words = ["device", "measure", tiny.path, "--over", "local", "--runner", runner, "--threads", "1"]
    assert main([str(word) for word in [*words, "--slo", slo(line)]]) == code
    out, err = capsys.readouterr()
    assert "held to slo.yaml" in out
    assert said in out
    assert "--seconds" not in err


def test_what_is_hinted_at_for_an_iphone_works(capsys, tiny):
    with pytest.raises(TargetError) as caught:
        held_to("iphone", None, None, over="adb")
    assert caught.value.hint == "edgetune device project ARTIFACT --device iphone-17-pro"
    assert main(["device", "project", str(tiny.path), "--device", "iphone-17-pro"]) == 0
    out = capsys.readouterr().out
    assert "kind: projected" in out
    assert "one published measurement of this class: the interval is assumed" in out


@pytest.mark.parametrize("target", ["cpu", "iphone", "raspberry-pi-5"])
def test_a_wrong_target_is_said_before_anything_is_measured(capsys, phone, tiny, runner, target):
    words = ["device", "measure", tiny.path, "--over", "adb", "--runner", runner, "--target", target]
    assert main([str(word) for word in words]) == 14
    assert phone.calls() == []
    assert "hint:" in capsys.readouterr().err
