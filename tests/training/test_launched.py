"""What two processes say, and how they end, when something goes wrong. torchrun's launcher, no training."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Each process does its part of a case as a command, and writes down its exit code.
PROCESS = """
import os, signal, sys, time
from pathlib import Path
import click
from edgetune import console
from edgetune.cli import edgetune, main
from edgetune.errors import DataError
from edgetune.training.processes import any_process
from edgetune.training.session import session

case, folder = sys.argv[1], Path(sys.argv[2])
first = os.environ["RANK"] == "0"
if first and case == "killed":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # or the launcher may end this one before it can say anything


def boom():
    if case == "before they meet":
        raise DataError("all of us", hint="edgetune doctor")
    with session(folder / "run", lambda: fail_if(case == "while preparing", "only I prepare"), cpu=True):
        console.note("all is well")
        fail_if(case == "in each", "all of us")
        if not first:
            fail_if(case == "in the second", "only I know")
            if case == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        any_process(False)
        time.sleep(case == "in the second" and 60)


def fail_if(failing, message):
    if failing:
        raise DataError(message)


edgetune.add_command(click.Command("boom", callback=boom))
code = main(["boom"])
(folder / os.environ["RANK"]).write_text(str(code))
sys.exit(code)
"""


@pytest.fixture
def launch(tmp_path):
    (tmp_path / "process.py").write_text(PROCESS)

    def launched(case):
        command = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2"]
        command += [str(tmp_path / "process.py"), case, str(tmp_path)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=900)
        codes = {rank: (tmp_path / rank).read_text() for rank in "01" if (tmp_path / rank).exists()}
        return [line for line in done.stderr.splitlines() if line.startswith("error: ")], codes, done.stderr

    return launched


@pytest.mark.parametrize(
    ("case", "message"),
    [("before they meet", "all of us"), ("while preparing", "only I prepare"), ("in each", "all of us")],
)
def test_an_error_of_all_is_told_once_and_all_end_alike(launch, case, message):
    errors, codes, err = launch(case)
    assert errors == [f"error: {message}"], err
    assert codes == {"0": "4", "1": "4"}
    assert "a bug in edgetune" not in err
    assert err.count("all is well") == (case == "in each")


def test_an_error_of_one_is_told_by_that_one(launch):
    errors, codes, err = launch("in the second")
    assert "error: only I know" in errors, err
    assert codes["1"] == "4"
    assert "a bug in edgetune" not in err


def test_a_process_that_vanishes_is_missed(launch):
    errors, codes, err = launch("killed")
    assert errors == ["error: another process of this training has ended"], err
    assert codes == {"0": "6"}
    assert "a bug in edgetune" not in err
