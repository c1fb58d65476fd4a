"""A tiny classifier to be trained, in this process: so that a test takes seconds."""

from __future__ import annotations

import pytest
import tinyclassifier
import torch

from edgetune import training
from edgetune.evaluation import evaluate_run
from edgetune.methods import child, trainings
from edgetune.trials import with_settings


@pytest.fixture(scope="session")
def base(tmp_path_factory):
    return tinyclassifier.write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def resolved(tmp_path, base):
    return tinyclassifier.write_recipe(tmp_path / "recipe", base)


@pytest.fixture
def trained(monkeypatch):
    """What is trained, in this process: (name of the recipe, seed) in their order."""
    torch.set_num_threads(1)
    seen = []

    def run_trial(trial, *, allow_scripts, evaluate=True):
        run = training.train(trial.resolved, trial.folder, allow_scripts=allow_scripts)
        if evaluate:
            evaluate_run(run, "tuned")
        seen.append((trial.resolved.recipe.name, run.manifest.seed))
        return run

    monkeypatch.setattr(trainings, "run_trial", run_trial)
    monkeypatch.setattr(trainings, "in_fresh_process", lambda module, job, log: child.look(job))
    return seen


@pytest.fixture
def short(resolved):
    return with_settings(resolved, {"train.max_steps": 12, "train.evaluate_every": 6})
