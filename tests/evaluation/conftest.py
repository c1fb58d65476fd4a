from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from tinyruns import write_adapter, write_artifact, write_base, write_run

from edgetune.evaluation import subjects


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture
def make_run(tmp_path, base_folder):
    """``make_run(source, base_sha256=…)``: a trained run with a random adapter."""
    return partial(write_run, tmp_path / "run", base_folder)


@pytest.fixture
def other_adapter(tmp_path) -> bytes:
    """Weights of another adapter of the same shape."""
    return (write_adapter(tmp_path / "other", seed=1) / "adapter_model.safetensors").read_bytes()


@pytest.fixture
def add_artifact():
    """``add_artifact(run, name)``: a tiny GGUF among the run's exports."""
    return lambda run, name="q8_0", seed=0: write_artifact(run.exports_folder / name, f"tiny-{name}", seed)


@pytest.fixture
def counted(monkeypatch):
    """The names of what was really evaluated, not taken from a file."""
    seen: list[str] = []
    real = subjects.evaluate

    def evaluate(subject, conversations, basis):
        seen.append(subject.name)
        return real(subject, conversations, basis)

    monkeypatch.setattr(subjects, "evaluate", evaluate)
    return seen
