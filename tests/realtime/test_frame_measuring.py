"""From the command line to verdicts on frames, with a classifier made by hand in its own process."""

from __future__ import annotations

import pytest
from countingclassifier import write_classifier

from edgetune.bench import classifying
from edgetune.bench.reading import read_report
from edgetune.bench.realtime_section import Frame, FrameLoop, FrameSection
from edgetune.cli import main
from edgetune.realtime import frame_measuring
from edgetune.realtime.measuring import without_section
from edgetune.realtime.wanted import find_wanted


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_classifier(tmp_path_factory.mktemp("c") / "fp32").path


@pytest.fixture
def bench(folder, tmp_path, capsys):
    """Run ``edgetune bench`` quickly: exit code, file of the report, stdout, stderr without its line breaks."""

    def run(*options):
        output = tmp_path / "report.json"
        words = ["bench", str(folder), "--threads", "1", "--prompts", "2", "--rounds", "1", "--output", str(output)]
        code = main([*words, *map(str, options)])
        printed = capsys.readouterr()
        return code, output, printed.out, " ".join(printed.err.split())

    return run


def slow_frames(seconds, count=300, rate=30.0):
    """Frames each of which takes so long."""
    frames, free = [], 0.0
    for number in range(count):
        came = number / rate
        if came < free - 1 / rate:
            frames.append(Frame(scheduled_s=came, started_s=None, finished_s=None))
            continue
        began = max(came, free)
        free = began + seconds
        frames.append(Frame(scheduled_s=came, started_s=began, finished_s=free))
    return FrameSection(inputs=2, input_source="x", loop=FrameLoop(rate=rate, frames=tuple(frames)))


def test_a_camera_at_thirty_frames(bench):
    code, output, out, _ = bench("--target", "camera-30fps", "--seconds", "11")
    report = read_report(output)
    assert report.target == "camera-30fps"
    assert [one.objective.metric for one in report.verdicts] == ["frame", "deadline_miss"]
    loop = report.frames.loop
    assert (loop.rate, len(loop.frames)) == (30, 330)
    done = [one for one in loop.frames if one.finished_s is not None]
    assert all(one.scheduled_s <= one.started_s <= one.finished_s for one in done)
    assert report.figure("frame").median == pytest.approx(
        sorted(1e3 * (one.finished_s - one.scheduled_s) for one in done)[len(done) // 2], rel=0.2
    )
    late = sum(one.finished_s is None or one.finished_s - one.scheduled_s > 1 / 30 for one in loop.frames)
    assert report.figure("deadline_miss").median == pytest.approx(late / 330)
    assert report.figure("frames_dropped").median == pytest.approx(1 - len(done) / 330)
    assert report.figure("jitter").median >= 0
    assert code == (0 if all(one.outcome == "met" for one in report.verdicts) else 9), "a busy machine may miss them"
    assert "330 frames, 30 a second (2 inputs in turn" in out
    assert "held to camera-30fps" in out
    assert report.realtime is None


def test_a_slow_model_misses_and_is_told_by_how_much(bench, monkeypatch):
    monkeypatch.setattr(frame_measuring, "measure_frames", lambda *_: slow_frames(0.05))
    code, _, out, err = bench("--target", "camera-30fps")
    assert code == 9
    assert "misses 2 of 2 objectives" in err or "misses 1 of 2 objectives" in err
    assert "deadline_miss share ≤ 0.01 share: 1 share, 0.99 share (9900%) too much" in err
    assert "dropped" in out


def test_objectives_of_ones_own_on_the_benchmark_and_on_frames(bench, tmp_path):
    file = tmp_path / "slo.yaml"
    file.write_text("- {metric: latency, at_most: 10, unit: s}\n- {metric: batch_rate, at_least: 1}\n")
    code, output, _, _ = bench("--slo", file)
    report = read_report(output)
    assert (code, [one.outcome for one in report.verdicts]) == (0, ["met", "met"])
    assert report.frames is None, "no objective needs frames"
    file.write_text("- {metric: frames_done, at_least: 1000}\n")
    code, output, _, err = bench("--slo", file, "--rate", "20", "--seconds", "2")
    assert code == 9
    assert "too little" in err
    assert len(read_report(output).frames.loop.frames) == 40


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("metric: frame, at_most: 33", "give --target camera-30fps, or --rate"),
        ("metric: ttft, at_most: 33", "only what writes text has it"),
        ("metric: latencyy, at_most: 33", "did you mean latency"),
        ("metric: latency, statistic: max, at_most: 33", "a benchmark keeps no max of latency"),
        ("metric: latency@threads=7, at_most: 33", "no threads of '7' is measured"),
    ],
)
def test_what_cannot_be_measured_is_said_before(bench, monkeypatch, tmp_path, line, message):
    monkeypatch.setattr(classifying, "measure", lambda *_: pytest.fail("it measured"))
    file = tmp_path / "slo.yaml"
    file.write_text(f"- {{{line}}}\n")
    code, output, out, err = bench("--slo", file)
    assert (code, out, output.exists()) == (14, "", False)
    assert message in err


def test_a_voice_is_not_for_what_classifies(bench, monkeypatch):
    monkeypatch.setattr(classifying, "measure", lambda *_: pytest.fail("it measured"))
    code, _, _, err = bench("--target", "voice-assistant")
    assert code == 14
    assert "voice-assistant is for models that write text, and this one classifies" in err
    assert "--target camera-30fps" in err


def test_as_many_frames_as_the_percentile_needs_and_no_more_than_there_is_time_for():
    wanted = find_wanted("camera-30fps", None, classifies=True)
    assert wanted.frames(180) == 900
    assert wanted.frames(5) == 150
    slow = find_wanted("camera-30fps", None, 2.0, classifies=True)
    assert slow.frames(1000) == pytest.approx(329, abs=1)


def test_a_stored_report_is_held_again_without_doubling(bench):
    _, output, _, _ = bench("--target", "camera-30fps", "--seconds", "1")
    report = read_report(output)
    wanted = find_wanted("camera-30fps", None, classifies=True)
    assert wanted.is_answered_by(report)
    assert not find_wanted("camera-30fps", None, 15.0, classifies=True).is_answered_by(report)
    plain = without_section(report)
    assert (plain.frames, plain.target, plain.verdicts) == (None, None, ())
    assert not {"frame", "deadline_miss", "jitter"} & {one.name for one in plain.figures}
    assert frame_measuring.warnings(report.frames.model_copy(update={"others_share": 0.5, "steal_share": 0.0})) == (
        "against a clock: others used 50% of the CPUs meanwhile (10% or more)",
    )
