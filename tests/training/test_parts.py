"""The small parts: devices, time, batch sizes, checkpoints, records, energy, the picture, signals."""

from __future__ import annotations

import json
import math
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from edgetune.energy import EnergyMeter
from edgetune.errors import DataError, RecipeError, ResourceError, TrainingError
from edgetune.recipe import TrainSettings
from edgetune.training import checkpoints, devices, memory, metrics_file, stopping
from edgetune.training.assembling import Steps
from edgetune.training.batch_size import BatchSize
from edgetune.training.finishing import _peaks
from edgetune.training.plots import plot_losses
from edgetune.training.recorder import _of_all
from edgetune.training.schedule import Clock, learning_rate_factor, schedule


def present(monkeypatch, *names):
    monkeypatch.setattr(devices, "_is_present", lambda name: name in {*names, "cpu"})


def test_the_fastest_device_is_taken_and_the_reason_given(monkeypatch):
    present(monkeypatch, "cuda", "mps")
    assert str(devices.choose_device("auto")) == "cuda (the fastest present)"
    present(monkeypatch, "mps")
    assert str(devices.choose_device("auto")) == "mps (no cuda or xpu found)"
    present(monkeypatch)
    assert str(devices.choose_device("auto")) == "cpu (no cuda or xpu or mps found)"
    assert str(devices.choose_device("cpu")) == "cpu (as asked)"
    with pytest.raises(ResourceError, match="no cuda device on this machine; present: cpu"):
        devices.choose_device("cuda")


@pytest.mark.parametrize(("capability", "expected"), [((8, 0), "bfloat16"), ((7, 5), "float32")])
def test_bfloat16_where_the_gpu_has_it(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Some GPU")
    choice = devices.choose_dtype("auto", "cuda")
    assert choice.value == expected
    assert "Some GPU" in choice.reason
    if expected == "float32":
        with pytest.raises(RecipeError, match="Some GPU does not multiply bfloat16"):
            devices.choose_dtype("bfloat16", "cuda")


@pytest.mark.parametrize(("features", "expected"), [(("AMX BF16",), "bfloat16"), ((), "float32")])
def test_bfloat16_where_the_cpu_has_it(monkeypatch, features, expected):
    monkeypatch.setattr("edgetune.machine.this_machine", lambda: SimpleNamespace(features=features))
    monkeypatch.setattr(devices.platform, "system", lambda: "Linux")
    assert devices.choose_dtype("auto", "cpu").value == expected
    assert devices.choose_dtype("bfloat16", "cpu").value == "bfloat16"
    assert devices.choose_dtype("float32", "cpu").reason == "as asked"


def test_mps_is_float32_and_xpu_bfloat16():
    assert devices.choose_dtype("auto", "mps").value == "float32"
    assert devices.choose_dtype("auto", "xpu").value == "bfloat16"


def test_schedules():
    assert learning_rate_factor(0.05, 0.1, "linear") == pytest.approx(0.5)
    assert learning_rate_factor(0.55, 0.1, "linear") == pytest.approx(0.5)
    assert learning_rate_factor(1.0, 0.1, "linear") == pytest.approx(0)
    assert learning_rate_factor(0.9, 0.1, "constant") == 1
    assert learning_rate_factor(0.0, 0.0, "cosine") == 1
    assert learning_rate_factor(2.0, 0.1, "cosine") == pytest.approx(0)
    factor = schedule(10, 0.0, "cosine", Clock(None))
    rates = [factor(step) for step in range(10)]
    assert rates == sorted(rates, reverse=True)
    assert all(0 < rate < 1 for rate in rates)


def test_the_rate_follows_the_clock_where_it_runs_ahead():
    clock = Clock(100.0)
    factor = schedule(10, 0.0, "linear", clock)
    clock.tick(10.0)
    assert factor(4) == pytest.approx(0.55)  # the steps are ahead
    clock.tick(90.0)
    assert factor(4) == pytest.approx(0.1)
    assert clock.share == pytest.approx(0.9)


def test_the_clock_goes_on_after_an_interruption():
    clock = Clock(60.0)
    clock.start(45.0)
    assert 45 <= clock.elapsed < 50
    assert clock.share == 0.75
    unlimited = Clock(None)
    unlimited.tick(1e9)
    assert unlimited.share == 0


def test_training_time_stands_still_aside(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    clock = Clock(None)
    clock.start(spent=50.0, idle=20.0)
    now[0] += 5
    assert (clock.elapsed, clock.trained) == (55, 35)
    with clock.aside():
        now[0] += 7
        assert (clock.elapsed, clock.trained) == (62, 35)
    now[0] += 1
    assert (clock.elapsed, clock.trained) == (63, 36)


def test_batch_sizes():
    assert BatchSize.of(16, None, 100, 1) == BatchSize(16, 1, 16)
    assert BatchSize.of(16, None, 100, 2) == BatchSize(8, 1, 16)
    assert BatchSize.of(16, 2, 100, 2) == BatchSize(2, 4, 16)
    assert BatchSize.of(16, 2, 100, 2).steps_per_epoch(100) == 6
    with pytest.raises(RecipeError, match="16 is not a multiple of 5 rows a pass on 1 process"):
        BatchSize.of(16, 5, 100, 1)
    with pytest.raises(RecipeError, match="on 3 processes"):
        BatchSize.of(16, None, 100, 3)
    with pytest.raises(RecipeError, match="2 is not a multiple"):
        BatchSize.of(2, None, 100, 4)
    with pytest.raises(DataError, match="9 training rows are fewer") as caught:
        BatchSize.of(16, None, 9, 1)
    assert caught.value.hint.startswith("--batch-size 9")


def checkpoint(root, step, sealed=True):
    folder = root / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    (folder / "weights").write_bytes(b"x" * 100)
    if sealed:
        checkpoints.seal(folder)
    return folder


def test_only_sealed_checkpoints_count_and_the_rest_goes(tmp_path):
    whole, truncated, torn = checkpoint(tmp_path, 2), checkpoint(tmp_path, 9), checkpoint(tmp_path, 10, sealed=False)
    (truncated / "weights").write_bytes(b"x" * 99)
    missing = checkpoint(tmp_path, 11)
    (missing / "weights").unlink()
    unreadable = checkpoint(tmp_path, 12)
    (unreadable / checkpoints.SEAL).write_text("{")
    assert checkpoints.latest(tmp_path).step == 2
    assert [folder for folder in (whole, truncated, torn, missing, unreadable) if folder.exists()] == [whole]
    assert checkpoints.latest(tmp_path / "none") is None


def test_a_checkpoint_with_other_content_is_passed_over_and_told(tmp_path, capsys):
    for step in (1, 2, 3):
        checkpoint(tmp_path, step)
    weights = tmp_path / "checkpoint-3" / "weights"
    weights.write_bytes(b"y" * 100)
    assert checkpoints.latest(tmp_path).step == 2
    told = capsys.readouterr().err
    assert "checkpoint-3: changed since it was written: weights" in told
    assert "goes on from step 2" in told
    assert not weights.exists()


def test_damaged_checkpoints_alone_are_an_error_and_stay(tmp_path):
    for step in (1, 2):
        (checkpoint(tmp_path, step) / "weights").write_bytes(b"y" * 100)
    with pytest.raises(TrainingError, match="every checkpoint") as caught:
        checkpoints.latest(tmp_path)
    assert len(caught.value.problems) == 2
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoints.at_step(tmp_path, 1).step == 1, "the state of a training is no part of its result"
    (checkpoint(tmp_path, 3) / "adapter_model.safetensors").write_bytes(b"a")
    checkpoints.seal(tmp_path / "checkpoint-3")
    (tmp_path / "checkpoint-3" / "adapter_model.safetensors").write_bytes(b"b")
    for damaged_or_missing in (3, 4):
        with pytest.raises(TrainingError, match="missing or damaged"):
            checkpoints.at_step(tmp_path, damaged_or_missing)


def test_a_seal_from_before_hashes_were_kept_knows_sizes(tmp_path):
    folder = checkpoint(tmp_path, 1)
    (folder / checkpoints.SEAL).write_text('{"weights": 100}')
    assert checkpoints.latest(tmp_path).step == 1
    (folder / checkpoints.SEAL).write_text('{"weights": 101}')
    assert checkpoints.latest(tmp_path) is None


def test_a_checkpoint_is_on_the_disk_before_it_is_sealed(tmp_path, monkeypatch):
    """Its files, their names and its own: whatever a power cut leaves of it, older ones may go after that."""
    folder = checkpoint(tmp_path, 1, sealed=False)
    real, events = os.fsync, []

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append((path.name, (folder / checkpoints.SEAL).exists()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    checkpoints.seal(folder)
    assert {("weights", False), (folder.name, False), (tmp_path.name, False)} <= set(events)
    assert events[-1] == (folder.name, True)


def test_checkpoints_are_ordered_by_number(tmp_path):
    for step in (10, 9, 100):
        checkpoint(tmp_path, step)
    assert [c.step for c in checkpoints.sealed_checkpoints(tmp_path)] == [9, 10, 100]
    assert checkpoints.at_step(tmp_path, 9).step == 9
    with pytest.raises(TrainingError, match="of step 8, is missing"):
        checkpoints.at_step(tmp_path, 8)


def test_rotation_keeps_the_newest_and_the_best(tmp_path):
    for step in range(1, 7):
        checkpoint(tmp_path, step)
    checkpoints.rotate(tmp_path, 2, best_step=3)
    assert [c.step for c in checkpoints.sealed_checkpoints(tmp_path)] == [3, 5, 6]


def test_records_are_cut_where_training_goes_on(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for step in (1, 2, 3):
        metrics_file.append(path, "step", step, {"loss": 1.0 / step})
    with path.open("a") as file:
        file.write('{"event": "st')  # killed while writing
    metrics_file.cut_after(path, 2)
    metrics_file.append(path, "step", 3, {"loss": 0.5})
    assert [(e["step"], e["loss"]) for e in metrics_file.read(path)] == [(1, 1.0), (2, 0.5), (3, 0.5)]
    assert metrics_file.read(tmp_path / "none") == []


def test_energy_is_read_and_wraps(tmp_path):
    zone = tmp_path / "intel-rapl:0"
    zone.mkdir()
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text("9000000\n")
    (zone / "max_energy_range_uj").write_text("10000000\n")
    platform = tmp_path / "intel-rapl:1"  # of laptops: the whole machine, with the package in it
    platform.mkdir()
    (platform / "name").write_text("psys\n")
    (platform / "energy_uj").write_text("1\n")
    core = tmp_path / "intel-rapl:0:0"  # a part of the package: counted in it already
    core.mkdir()
    (core / "name").write_text("core\n")
    (core / "energy_uj").write_text("1\n")
    meter = EnergyMeter(tmp_path)
    (zone / "energy_uj").write_text("9500000\n")
    assert meter.joules() == pytest.approx(0.5)
    (zone / "energy_uj").write_text("500000\n")
    assert meter.joules() == pytest.approx(1.5)


def test_no_energy_says_why(tmp_path):
    meter = EnergyMeter(tmp_path)
    assert meter.joules() is None
    assert "no readable RAPL counter" in meter.missing


def test_the_picture_is_a_png(tmp_path):
    entries = [{"event": "step", "step": s, "loss": 1 / s, "learning_rate": 0.1} for s in (1, 2, 3)]
    plot_losses([*entries, {"event": "evaluation", "step": 2, "eval_loss": 0.4}], tmp_path / "loss.png", "token")
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir()] == ["loss.png"]


def test_too_little_memory_is_said_before_training(monkeypatch):
    model = torch.nn.Linear(100, 100, bias=False)
    assert memory.require_memory(model, torch.device("cpu")) == 100 * 100 * 12
    monkeypatch.setattr(memory, "available_memory", lambda _: 1000)
    with pytest.raises(ResourceError, match="more memory on cpu") as caught:
        memory.require_memory(model, torch.device("cpu"))
    assert "--method qlora" in caught.value.hint
    assert memory.peak_memory("cpu")["peak_rss"] > 10e6


@pytest.fixture
def _python_handles_ctrl_c():
    """As in a terminal: a shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_the_first_signal_asks_and_a_later_one_stops_at_once(capsys, monkeypatch):
    stop = stopping.Stop()
    with stop.on_signals():
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.signal == "SIGINT"
        os.kill(os.getpid(), signal.SIGINT)  # a launcher passing the same Ctrl-C on
        monkeypatch.setattr(stopping, "SAME_SIGNAL_SECONDS", -1.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capsys.readouterr().err.count("stopping") == 1
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.usefixtures("_python_handles_ctrl_c")
def test_signals_are_left_alone_outside_the_main_thread():
    seen = []

    def body():
        with stopping.Stop().on_signals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def test_lines_are_json(tmp_path):
    metrics_file.append(tmp_path / "m", "step", 1, {"energy_j": None})
    assert json.loads((tmp_path / "m").read_text()) == {"event": "step", "step": 1, "energy_j": None}
    with pytest.raises(ValueError, match="JSON"):
        metrics_file.append(tmp_path / "m", "step", 2, {"loss": math.nan})


def test_energy_and_peaks_are_of_all_sessions():
    now = {"energy_j": 5.0, "peak_rss": 100, "rows": 7}
    assert _of_all(None, now) == now
    before = {"energy_j": 90.0, "peak_rss": 300, "rows": 3}
    assert _of_all(before, now) == {"energy_j": 95.0, "peak_rss": 300, "rows": 7}
    assert _of_all({**before, "energy_j": None}, now)["energy_j"] is None, "a part of it is not known"
    assert _of_all(before, {**now, "energy_j": None})["energy_j"] is None
    ended = _peaks([{"event": "step", "peak_rss": 10**15}, {"event": "evaluation"}], "cpu")
    assert ended == {"peak_rss": 10**15}, "the last session only loaded"
    assert 10**6 < _peaks([], "cpu")["peak_rss"] < 10**15


@pytest.mark.parametrize(
    ("settings", "rows", "every"),
    [
        ({"epochs": 3}, 1000, 30),
        ({"epochs": 3, "max_minutes": 2}, 1000, 10),
        ({"epochs": 1000, "max_minutes": 2}, 8000, 80),
        ({"epochs": 0.5, "max_minutes": 2}, 100, 1),
        ({"max_steps": 50, "max_minutes": 2}, 8000, 5),
        ({"epochs": 1000, "max_minutes": 2, "evaluate_every": 500}, 8000, 500),
    ],
)
def test_a_training_that_time_ends_is_looked_at_by_its_rows(settings, rows, every):
    assert Steps.of(TrainSettings(batch_size=10, **settings), rows, 1).evaluate_every == every
