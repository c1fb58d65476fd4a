"""Measuring over adb, against a scripted adb: real shell, real output of tools, every way to fail."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakephone import HIGHEST, SERIAL, llama_bench_rows, write_runner

from edgetune.devices.adb import AdbTransport, choose
from edgetune.devices.device import find_device
from edgetune.devices.llama_bench import Load
from edgetune.devices.measuring import Plan, measure
from edgetune.devices.report import DeviceReport
from edgetune.devices.room import _host, sweep
from edgetune.devices.transport import LocalTransport
from edgetune.errors import ArtifactError, DeviceError

REPOSITORY = Path(__file__).parent.parent.parent


def test_a_phone_is_measured_and_left_as_it_was(phone, tiny, tmp_path):
    runner = write_runner(tmp_path / "runner" / "llama-bench", tmp_path / "runner.log", body="sleep 2")  # to be seen
    report = measure(tiny, AdbTransport(), Plan(runner, Load(depths=(0, 256))), None)
    found = report.measured
    assert report.how == "measured on a device"
    assert (found.where, found.over) == (SERIAL, "adb")
    assert "adb shell" in found.context
    assert "an app may be slower" in found.context
    assert found.before.soc == "SM8450"
    assert found.before.thermal_status == "none"
    assert (found.before.battery_percent, found.before.battery_c, found.before.on_power) == (83, 31.2, True)
    assert found.before.memory_available == 3112344 * 1024
    assert found.before.highest_khz == dict(enumerate(HIGHEST))
    assert (found.mask, found.threads) == ("f0", 4)
    assert (phone.folder / "mask").read_text().strip() == "f0", "taskset got the mask"
    assert found.watch.peak_rss > 100_000
    assert found.watch.clocks_khz[0][7] == HIGHEST[7]
    assert (tmp_path / "runner.log").read_text().split() == (
        ["-m", "model.gguf", "-p", "128", "-n", "64", "-r", "5", "-t", "4", "-ngl", "0", "-o", "json", "-d", "0,256"]
    )
    assert phone.leftovers() == []
    assert [(figure.name, round(figure.median, 1)) for figure in report.figures] == [
        ("prefill_tps", 250.0),
        ("decode_tps", 79.5),
    ]
    assert report.warnings == ()


def test_the_device_named_decides_cores_and_threads(phone, tiny, runner):
    report = measure(tiny, AdbTransport(SERIAL), Plan(runner), find_device("galaxy-s24"))
    assert (report.measured.mask, report.measured.threads) == ("fc", 4)
    assert [device.name for device in report.devices] == ["galaxy-s24"]


def test_the_report_survives_storage(phone, tiny, runner, tmp_path):
    report = measure(tiny, AdbTransport(), Plan(runner), None)
    report.write(tmp_path / "report.json")
    assert DeviceReport.read(tmp_path / "report.json") == report
    with pytest.raises(ArtifactError, match="cannot read"):
        DeviceReport.read(tmp_path / "none.json")
    (tmp_path / "report.json").write_text("{}")
    with pytest.raises(ArtifactError, match="no device report"):
        DeviceReport.read(tmp_path / "report.json")


def test_an_old_adb_that_loses_exit_codes(phone, tiny, runner):
    phone.save(old=True)
    assert measure(tiny, AdbTransport(), Plan(runner), None).figures
    assert phone.leftovers() == []


def test_libraries_beside_the_runner_go_along(phone, tiny, runner):
    (runner.parent / "libggml.so").write_text("x")
    measure(tiny, AdbTransport(), Plan(runner), None)
    assert any("push" in call and call.endswith("/libggml.so") for call in phone.calls())


@pytest.mark.parametrize(
    ("devices", "message", "hint"),
    [
        ([], "no Android device is connected", "adb devices"),
        ([[SERIAL, "offline"]], "is offline", "unplug it"),
        ([[SERIAL, "unauthorized"]], "is unauthorized", "Allow USB debugging"),
        ([[SERIAL, "no permissions (missing udev rules?); see [http://x]"]], "is no permissions", "udev"),
        ([[SERIAL, "recovery"]], "is recovery", "adb reboot"),
        ([[SERIAL, "device"], ["emulator-5554", "device"]], "2 devices are connected", "--serial"),
    ],
)
def test_devices_that_cannot_be_used(phone, devices, message, hint):
    phone.save(devices=devices)
    with pytest.raises(DeviceError, match=message) as caught:
        AdbTransport()
    assert hint in caught.value.hint
    assert caught.value.exit_code == 13


def test_a_serial_that_is_not_there(phone):
    with pytest.raises(DeviceError, match=f"no device 'X1' is connected; connected: {SERIAL}"):
        AdbTransport("X1")


def test_one_of_several_is_chosen():
    assert choose([("a", "device"), ("b", "offline")], "a") == "a"


def test_adb_is_not_installed(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="'adb' is not installed") as caught:
        AdbTransport()
    assert "platform tools" in caught.value.hint


def test_no_space_is_said_before_anything_is_copied(phone, tiny, runner):
    phone.save(free_kb=1000)
    with pytest.raises(DeviceError, match=r"no space left on .*1 MB are free"):
        measure(tiny, AdbTransport(), Plan(runner), None)
    assert not [call for call in phone.calls() if " push " in call]


@pytest.mark.parametrize(
    ("words", "message"),
    [("couldn't create file: No space left on device", "no space left"), ("Permission denied", "cannot copy")],
)
def test_a_push_that_fails_leaves_nothing(phone, tiny, runner, words, message):
    phone.save(push_fails=words)
    with pytest.raises(DeviceError, match=message):
        measure(tiny, AdbTransport(), Plan(runner), None)
    assert phone.leftovers() == []


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("kill -9 $$", r"killed \(signal 9\): the device ran out of memory"),
        ("kill -4 $$", "an instruction that this processor does not have"),
        ("kill -11 $$", "crashed"),
        ("echo 'main: error: failed to load model' >&2; exit 1", "exit code 1.: main: error: failed to load model"),
        ("echo 'ggml_aligned_malloc: failed to allocate 900.00 MB' >&2; exit 1", "could not get its memory"),
        ("echo './llama-bench: not found' >&2; exit 127", "or a library it needs, is not there"),
        ("echo 'cannot execute: Exec format error' >&2; exit 126", "cannot be started there: .*Exec format"),
        ("echo nonsense; exit 0", "printed no results: nonsense"),
    ],
)
def test_a_runner_that_fails_leaves_nothing(phone, tiny, tmp_path, body, message):
    bad = write_runner(tmp_path / "r" / "llama-bench", tmp_path / "log", body=body)
    with pytest.raises(DeviceError, match=message) as caught:
        measure(tiny, AdbTransport(), Plan(bad), None)
    assert caught.value.hint
    assert phone.leftovers() == []


def test_heat_is_told(phone, tiny, tmp_path):
    phone.save(thermal=[1, 3], level=12)
    slow = llama_bench_rows(samples_ns=[800000000, 900000000, 1000000000])
    hot = write_runner(tmp_path / "r" / "llama-bench", tmp_path / "log", rows=slow)
    clock = phone.root / "sys/devices/system/cpu/cpu7/cpufreq/scaling_cur_freq"
    clock.write_text("1500000\n")
    warnings = " | ".join(measure(tiny, AdbTransport(), Plan(hot), None).warnings)
    for words in ("already warm", "throttled: thermal status severe", "battery at 12 %", "took 25% longer", "50% of"):
        assert words in warnings


@pytest.mark.parametrize("moment", ["mkdir", "model.gguf", "measure.sh", "edgetune file"])
def test_unplugged_in_the_middle(phone, tiny, runner, capsys, moment):
    phone.save(dies_at=moment)
    with pytest.raises(DeviceError, match=r"not found") as caught:
        measure(tiny, AdbTransport(), Plan(runner), None)
    assert "run the same command again" in caught.value.hint
    if moment != "mkdir":
        assert "is still there; the next measurement from here removes it" in capsys.readouterr().err
    (phone.folder / "unplugged").unlink(missing_ok=True)
    phone.save(dies_at="")
    assert measure(tiny, AdbTransport(), Plan(runner), None).figures, "and again"
    assert phone.leftovers() == [], "what the first left is gone too"


def test_a_device_that_does_not_answer(phone, tiny, runner):
    phone.save(hangs_at="measure.sh")
    with pytest.raises(DeviceError, match="did not answer within 1 s"):
        measure(tiny, AdbTransport(), Plan(runner, timeout=1.0), None)


def test_only_leftovers_of_ended_processes_of_ours_are_swept(phone):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    names = [f"edgetune-{_host()}-{ended.pid}", f"edgetune-{_host()}-{os.getppid()}", f"edgetune-00000000-{ended.pid}"]
    for name in [*names, "edgetune-keep", "mine"]:
        (phone.tmp / name).mkdir()
    assert [Path(path).name for path in sweep(AdbTransport())] == names[:1]
    assert phone.leftovers() == sorted([*names[1:], "edgetune-keep", "mine"])


def test_only_what_runs_in_a_leftover_is_ended(tmp_path):
    """The number of a runner that ended long ago may be that of another process now."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "linked").symlink_to(tmp_path / "real", target_is_directory=True)
    leftover = tmp_path / "real" / f"edgetune-{_host()}-{ended.pid}"
    for where, ends in ((tmp_path, False), (leftover, True)):
        leftover.mkdir(parents=True)
        with subprocess.Popen(["sleep", "60"], cwd=where) as process:
            (leftover / "pid").write_text(f"{process.pid}\n")
            sweep(LocalTransport(tmp_path / "linked"))
            assert not leftover.exists()
            if not ends:
                assert process.poll() is None
                process.terminate()
            assert process.wait(10) == -signal.SIGTERM


def test_ctrl_c_ends_the_runner_and_cleans_up(phone, tiny, tmp_path):
    slow = write_runner(
        tmp_path / "r" / "llama-bench", tmp_path / "log", body=f"echo $$ > {tmp_path}/pid; exec sleep 60"
    )
    # A test run in the background inherits that Ctrl-C is ignored; a user's shell does not do that.
    start = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler)"
    start += "; from edgetune.cli import main; sys.exit(main(sys.argv[1:]))"
    words = [
        sys.executable,
        "-c",
        start,
        "device",
        "measure",
        str(tiny.path),
        "--over",
        "adb",
        "--runner",
        str(slow),
    ]
    child = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < deadline
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    errors = child.communicate(timeout=60)[1]
    assert child.returncode == 130, errors
    assert phone.leftovers() == []
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_what_cannot_be_run_is_refused(phone, tiny, tmp_path):
    with pytest.raises(DeviceError, match="no runner at"):
        measure(tiny, AdbTransport(), Plan(tmp_path / "none"), None)
