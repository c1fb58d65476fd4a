"""The commands: each kind in its own words."""

from __future__ import annotations

import json
import shutil

import pytest

from edgetune.artifact import Artifact
from edgetune.cli import main
from edgetune.devices.device import find_device, shipped_devices
from edgetune.devices.keeping import keep
from edgetune.devices.measuring import Plan, measure
from edgetune.devices.projecting import project_all
from edgetune.devices.report import Constrained, DeviceReport, Limits
from edgetune.devices.transport import LocalTransport


def run(capsys, *words):
    code = main([str(word) for word in words])
    return code, *capsys.readouterr()


def test_devices_are_listed(capsys):
    code, out, _ = run(capsys, "device", "list")
    assert code == 0
    assert "raspberry-pi-5" in out
    rows = json.loads(run(capsys, "device", "list", "--json")[1])
    assert rows[0]["sources"]


def test_projected_is_said_in_every_form(capsys, tiny, tmp_path):
    words = ["device", "project", tiny.path, "--device", "raspberry-pi-5", "--depth", "0", "--depth", "256"]
    code, out, _ = run(capsys, *words, "--output", tmp_path / "p.json")
    assert code == 0
    assert "kind: projected" in out
    assert "projected tokens/s" in out
    assert "a76-dotprod" in out
    stored = json.loads((tmp_path / "p.json").read_text())
    assert (stored["kind"], stored["how"]) == ("edgetune-device-report", "projected")
    assert [row["depth"] for row in stored["projected"]] == [0, 256]
    assert stored["measured"] is None
    assert str(tiny.path.parent) not in json.dumps(stored)


@pytest.fixture
def exported(tiny, tmp_path):
    """A run, and an export in it."""
    run = tmp_path / "run"
    exports = run / "exports"
    exports.mkdir(parents=True)
    shutil.copy2(tiny.path, exports / "q8_0.gguf")
    for name in ("manifest.json", "recipe.yaml"):
        (run / name).touch()
    return run, Artifact(exports / "q8_0.gguf", None)


def test_a_runs_export_keeps_its_reports_with_the_run(exported, tiny):
    run, artifact = exported
    report = project_all(artifact, [find_device("raspberry-pi-5")], [0])
    kept = keep(report, artifact)
    assert kept.parent == run / "devices"
    assert kept.name.startswith("q8_0.gguf-projected-")
    assert DeviceReport.read(kept) == report
    assert keep(report, artifact) == kept, "in place of the last"
    assert keep(report, tiny) is None, "it does not lie in a run"


def test_each_device_has_a_file_of_its_own(exported, runner):
    """Without --device too, and where the list of devices is long."""
    _, artifact = exported
    devices = shipped_devices()
    reports = [project_all(artifact, some, [0]) for some in (devices, devices[:-1])]
    here = measure(artifact, LocalTransport(), Plan(runner, threads=1), None)
    places = ("R5CT20ABCDE", "R5CT20ABCDF")
    reports += [here.model_copy(update={"measured": here.measured.model_copy(update={"where": one})}) for one in places]
    names = [keep(report, artifact).name for report in reports]
    assert len(set(names)) == 4
    assert not [name for name in names if "R5CT" in name.upper()]


def test_another_question_does_not_replace_an_answer(exported, runner):
    _, artifact = exported
    device = find_device("raspberry-pi-5")
    reports = [project_all(artifact, [device], depths) for depths in ([0], [512], [0, 512])]
    here = measure(artifact, LocalTransport(), Plan(runner, threads=1), device)
    deep = here.measured.tests[0].model_copy(update={"depth": 2048})
    reports += [here, here.model_copy(update={"target": "raspberry-pi-5"})]
    reports += [
        here.model_copy(update={"measured": here.measured.model_copy(update=change)})
        for change in ({"tests": (deep,)}, {"threads": 4})
    ]
    limits = Limits(cores=(0,), memory_bytes=10**9, memory_by="rlimit", not_limited=())
    within = Constrained(
        limits=limits, verdict="fits", reason="x", context=512, tests=(), peak_rss=1, anonymous=1, read_bytes=1
    )
    less = limits.model_copy(update={"memory_bytes": 5 * 10**8})
    reports += [
        here.model_copy(update={"how": "constrained host", "measured": None, "constrained": one})
        for one in (within, within.model_copy(update={"context": 8192}), within.model_copy(update={"limits": less}))
    ]
    assert len({keep(report, artifact).name for report in reports}) == len(reports)


def test_fit_answers_for_each_device(capsys, tiny):
    code, out, _ = run(capsys, "fit", tiny.path, "--context", 512, "--device", "raspberry-pi-4")
    assert code == 0
    assert "raspberry-pi-4" in out
    assert "512 (all)" in out
    assert "assumption" in out
    answer = json.loads(run(capsys, "fit", tiny.path, "--memory", 10, "--json")[1])
    assert [(row["fits"], row["longest"]) for row in answer["fits"]] == [(False, 0)]


def test_a_budget_takes_no_device(capsys, tiny):
    code, out, err = run(capsys, "fit", tiny.path, "--device", "raspberry-pi-4", "--memory", 400)
    assert (code, out) == (2, "")
    assert "does not go with --device" in err
    assert "hint:" in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", ":1:8: not valid YAML"),
        ("- a list", "does not describe a device: it holds no keys"),
        ("name: mine", "does not describe a device"),
    ],
)
def test_a_device_file_that_is_wrong_says_where(capsys, tiny, tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    code, _, err = run(capsys, "device", "project", tiny.path, "--device", tmp_path / "mine.yaml")
    assert code == 13
    said = " ".join(err.split())
    assert message in said.replace("mine.yaml :", "mine.yaml:")
    assert "while parsing" not in said


def test_measured_on_this_host(capsys, tiny, runner):
    code, out, err = run(capsys, "device", "measure", tiny.path, "--over", "local", "--runner", runner, "--threads", 1)
    assert code == 0, err
    assert "kind: measured on this host" in out
    assert "context: a process on this host" in out
    assert "decode_tps" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--over", "ssh"], "--over ssh needs --host"),
        (["--over", "local", "--host", "pi@x"], "--host belongs to --over ssh"),
        (["--over", "local", "--serial", "x"], "--serial belongs to --over adb"),
        (["--over", "local", "--device", "nope"], "no device called 'nope'"),
    ],
)
def test_words_that_do_not_go_together(capsys, tiny, runner, words, message):
    code, _, err = run(capsys, "device", "measure", tiny.path, "--runner", runner, *words)
    assert code == 13
    assert message in err
    assert "hint:" in err


def test_a_depth_that_the_model_was_not_built_for_is_not_projected(capsys, tiny):
    code, _, err = run(capsys, "device", "project", tiny.path, "--depth", 100, "--depth", 600)
    assert code == 8
    assert "was built for 512 tokens, so no depth of 600 is projected" in err


def test_what_is_no_program_is_not_run(capsys, tiny, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\n")
    code, _, err = run(capsys, "device", "measure", tiny.path, "--over", "local", "--runner", tmp_path / "mine.yaml")
    assert code == 13
    assert "mine.yaml is no program" in err


def test_keys_of_a_device_are_explained(capsys, tiny, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: mine\nsystem: linux\nsok: x\n")
    code, _, err = run(capsys, "device", "project", tiny.path, "--device", tmp_path / "mine.yaml")
    assert code == 13
    assert "sok: unknown key; did you mean 'soc'?" in err
    assert "soc: required, but missing" in err
