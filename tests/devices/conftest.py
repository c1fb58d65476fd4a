from __future__ import annotations

import os
from pathlib import Path

import pytest
from fakephone import FakePhone, write_runner
from tinygguf import write_tiny_gguf

from edgetune.artifact import Artifact


@pytest.fixture
def phone(tmp_path, monkeypatch):
    """A phone behind an adb that comes first on PATH."""
    made = FakePhone(tmp_path / "fake")
    monkeypatch.setenv("PATH", f"{made.bin}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKEPHONE", str(Path(__file__).parent.parent / "helpers"))
    return made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny model as an artifact."""
    return Artifact(write_tiny_gguf(tmp_path_factory.mktemp("tiny") / "model.gguf"), None)


@pytest.fixture
def runner(tmp_path):
    """A llama-bench that works; what it was told lies in ``runner.log`` beside its folder."""
    return write_runner(tmp_path / "runner" / "llama-bench", tmp_path / "runner.log")
