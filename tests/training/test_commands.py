"""Training from the command line, in processes of its own: Ctrl-C, and two processes together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
import torch
from tinytraining import weights, write_recipe

from edgetune import training
from edgetune.run import open_run
from edgetune.training import metrics_file

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def accelerate(folder, resolved, *arguments):
    # Not --cpu: with it, accelerate starts a single process, however many are asked for.
    command = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["--main_process_port", str(free_port()), "-m", "edgetune", "train", str(resolved.path)]
    command += ["--output", str(folder), *arguments]
    return subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=False, timeout=300)


def test_ctrl_c_saves_and_prints_the_command_that_goes_on(tmp_path, base):
    resolved = write_recipe(tmp_path, base, train={"max_steps": 10**5, "save_every": 10**5, "evaluate_every": 10**5})
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "edgetune", "train", str(resolved.path), "--output", str(folder)]
    child = subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 120
    while not (folder / "metrics.jsonl").exists():
        assert child.poll() is None, child.stderr.read()
        assert time.monotonic() < until
        time.sleep(0.1)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert out == ""
    assert "error: stopped by SIGINT after step" in err
    assert f"hint: edgetune train --resume {folder}" in err
    assert "Traceback" not in err
    assert "Warning" not in err
    run = open_run(folder)
    assert run.manifest.state == "training"
    (checkpoint,) = (p for p in run.checkpoints_folder.iterdir() if (p / "seal.json").exists())
    assert f"after step {checkpoint.name.rpartition('-')[2]};" in err


def steps(run):
    return [e["loss"] for e in metrics_file.read(run.metrics_file) if e["event"] == "step"]


def evaluations(run):
    return [e["eval_loss"] for e in metrics_file.read(run.metrics_file) if e["event"] == "evaluation"]


@pytest.fixture(scope="module")
def together(tmp_path_factory, base):
    folder = tmp_path_factory.mktemp("together")
    resolved = write_recipe(folder, base, train={"micro_batch_size": 1, "max_minutes": 30})
    return accelerate(folder / "run", resolved), folder / "run"


def test_two_processes_learn_what_one_does(together, tmp_path, base):
    done, folder = together
    assert done.returncode == 0, done.stderr
    run = open_run(folder)
    alone = training.train(write_recipe(tmp_path, base), tmp_path / "run")
    assert steps(run) == pytest.approx(steps(alone), rel=1e-5)
    assert evaluations(run) == pytest.approx(evaluations(alone), rel=1e-5)
    expected = weights(alone)
    for name, tensor in weights(run).items():
        torch.testing.assert_close(tensor, expected[name], atol=1e-6, rtol=0, msg=name)
    tokens = [[e["tokens"] for e in metrics_file.read(r.metrics_file)] for r in (run, alone)]
    assert tokens[0] == tokens[1]


def test_two_processes_speak_once(together):
    done, folder = together
    for line in (f"run: {folder}", "packing: prefix", "best evaluation loss"):
        assert done.stderr.count(line) == 1, done.stderr


def test_two_processes_with_one_error_say_it_once(tmp_path, base):
    resolved = write_recipe(tmp_path, base, train={"batch_size": 3})
    done = accelerate(tmp_path / "run", resolved)
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert "on 2 processes" in errors[0]
