"""``kill -9`` at any moment, then the same command: the same adapter, tensor for tensor."""

from __future__ import annotations

import multiprocessing
import random
import signal
import time

import pytest
import torch
from tinytraining import train_and_die, weights, write_recipe

from edgetune import training
from edgetune.run import is_run, open_run
from edgetune.training import metrics_file

#: Children start from a process that has imported all this, and nothing of the test's.
PRELOADED = ["tinytraining", "edgetune.training.train", "peft", "transformers.trainer", "matplotlib.figure"]
NEVER = 10**9


@pytest.fixture(scope="module")
def processes():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


@pytest.fixture(scope="module")
def resolved(tmp_path_factory, base):
    return write_recipe(tmp_path_factory.mktemp("recipe"), base, method={"dropout": 0.1})


@pytest.fixture(scope="module")
def expected(tmp_path_factory, resolved):
    torch.set_num_threads(1)
    return weights(training.train(resolved, tmp_path_factory.mktemp("whole") / "run"))


def require_same(run, expected):
    found = weights(run)
    assert found.keys() == expected.keys()
    assert [name for name in found if not torch.equal(found[name], expected[name])] == []
    lines = [(e["event"], e["step"]) for e in metrics_file.read(run.metrics_file)]
    assert sorted(lines) == sorted([*(("step", n) for n in range(1, 7)), *(("evaluation", n) for n in (2, 4, 6))])


@pytest.mark.parametrize(
    ("place", "times"),
    [
        ("while preparing", 1),
        ("while preparing", 2),
        ("in a step", 1),
        ("in a step", 6),
        ("half a weight file", 1),
        ("half a weight file", 4),
        ("before the optimiser is saved", 3),
        ("while rotating", 2),
        ("before the result", 1),
    ],
)
def test_killed_at_a_bad_moment(processes, tmp_path, resolved, expected, place, times):
    folder = tmp_path / "run"
    child = processes.Process(target=train_and_die, args=(resolved.path, folder, place, times))
    child.start()
    child.join(120)
    assert child.exitcode == -signal.SIGKILL
    assert open_run(folder).manifest.state != "trained"
    assert not (folder / "adapter").exists()
    require_same(training.train(resolved, folder), expected)
    assert list(tmp_path.rglob(".*")) == [], "neither locks nor half-written files are left"


def test_killed_again_and_again_at_random_moments(processes, tmp_path, resolved, expected):
    folder, chance, killed = tmp_path / "run", random.Random(7), 0
    for _ in range(12):
        child = processes.Process(target=train_and_die, args=(resolved.path, folder, "in a step", NEVER))
        child.start()
        time.sleep(chance.uniform(0.3, 1.2))
        child.kill()
        child.join(60)
        killed += child.exitcode == -signal.SIGKILL
        if is_run(folder) and open_run(folder).manifest.state == "trained":
            break
    assert killed >= 1
    require_same(training.train(resolved, folder), expected)
    assert list(tmp_path.rglob(".*")) == [], "neither locks nor half-written files are left"
